//! The rules of the house, checked by reading the tree: who may depend on whom, what may be called
//! where, how files look. A rule that changes is changed here, in a commit of its own that says
//! why.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Rooms by layer. A room may use `base`, and rooms of lower layers.
const LAYERS: &[(u8, &[&str])] = &[
    (0, &["base"]),
    (1, &["ops", "storage", "rooms", "events", "bus"]),
    (2, &["geo", "routing", "pricing", "ledger", "promo", "identity"]),
    (3, &["fleet", "trips", "notify", "payments", "fraud", "books", "demand", "analytics"]),
    (4, &["dispatch"]),
    (5, &["flows"]),
    (6, &["api", "realtime", "worker"]),
    (7, &["app"]),
];

/// Edges inside a layer that are allowed all the same.
const SIDEWAYS: &[(&str, &str)] = &[
    ("storage", "ops"),
    ("rooms", "ops"),
    ("bus", "ops"),
    ("events", "ops"),
    ("events", "storage"),
    ("pricing", "geo"),
    ("routing", "geo"),
];

/// Words that may stand only in the named places, each with the reason it is fenced.
const FENCES: &[Fence] = &[
    Fence { word: "Utc::now", home: &["src/base/clock.rs"] },
    Fence { word: "Timestamp::now", home: &["src/base/clock.rs"] },
    Fence { word: "SystemTime::now", home: &["src/base/clock.rs"] },
    Fence { word: "rand::", home: &["src/base/dice.rs"] },
    Fence { word: "env::var", home: &["src/app/config.rs"] },
    Fence { word: "tokio::spawn(", home: &["src/ops/tasks.rs"] },
    Fence { word: "unbounded_channel", home: &[] },
    Fence { word: "#[allow", home: &[] },
    Fence { word: "#[ignore", home: &[] },
    Fence { word: "todo!(", home: &[] },
    Fence { word: "unimplemented!(", home: &[] },
];

/// Crates that only the named rooms may know.
const KNOWN_BY: &[(&str, &[&str])] = &[
    ("axum", &["api", "realtime", "app"]),
    ("tower-http", &["api"]),
    ("rust-embed", &["api"]),
    ("rstar", &["geo"]),
    ("osmpbf", &["routing"]),
    // Notify signs what it shows to the push services.
    ("jsonwebtoken", &["identity", "notify"]),
    ("lettre", &["notify"]),
    ("argon2", &["identity"]),
    ("clap", &["app"]),
    ("redis", &["bus"]),
];

const FORBIDDEN_NAMES: &[&str] = &["utils", "helpers", "common", "manager", "service"];
const LINES_MAX: usize = 600;
const WIDTH_MAX: usize = 100;
const FUNCTION_LINES_MAX: usize = 70;

struct Fence {
    word: &'static str,
    home: &'static [&'static str],
}

struct Source {
    /// From the root of the repository, with `/`.
    path: String,
    text: String,
}

impl Source {
    fn is_test(&self) -> bool {
        self.path.starts_with("tests/")
            || self.path.ends_with("tests.rs")
            || self.path.contains("/tests/")
    }

    /// The lines before the unit tests at the end of the file.
    fn code(&self) -> &str {
        self.text.split("#[cfg(test)]\nmod ").next().unwrap_or(&self.text)
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the root").to_owned()
}

fn sources(folders: &[&str]) -> Vec<Source> {
    let mut found = Vec::new();
    for folder in folders {
        collect(&root(), &root().join(folder), &mut found);
    }
    assert!(!found.is_empty(), "no sources found");
    found
}

fn collect(root: &Path, folder: &Path, found: &mut Vec<Source>) {
    for entry in fs::read_dir(folder).expect("a folder of the house is readable") {
        let path = entry.expect("an entry is readable").path();
        if path.is_dir() {
            collect(root, &path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let name = path.strip_prefix(root).expect("below the root").to_string_lossy();
            let text = fs::read_to_string(&path).expect("sources are text");
            found.push(Source { path: name.into_owned(), text });
        }
    }
}

fn report(rule: &str, broken: Vec<String>) {
    assert!(broken.is_empty(), "{rule}:\n  {}", broken.join("\n  "));
}

#[test]
fn rooms_use_only_lower_rooms() {
    let layer: BTreeMap<&str, u8> =
        LAYERS.iter().flat_map(|(n, rooms)| rooms.iter().map(|room| (*room, *n))).collect();
    let mut broken = Vec::new();
    for entry in fs::read_dir(root().join("src")).expect("src is readable") {
        let room = entry.expect("entry").file_name().into_string().expect("plain names");
        let Some(own) = layer.get(room.as_str()) else {
            broken.push(format!("{room} is in no layer of tests/tidy"));
            continue;
        };
        for used in dependencies(&room) {
            let Some(theirs) = layer.get(used.as_str()) else { continue };
            let sideways = SIDEWAYS.contains(&(room.as_str(), used.as_str()));
            if theirs >= own && !sideways {
                broken.push(format!("{room} (layer {own}) uses {used} (layer {theirs})"));
            }
        }
    }
    report("a room may use lower layers only", broken);
}

#[test]
fn outside_crates_stay_behind_their_fences() {
    let mut broken = Vec::new();
    for (_, rooms) in LAYERS {
        for room in *rooms {
            let used = dependencies(room);
            for (name, allowed) in KNOWN_BY {
                if used.iter().any(|u| u == name) && !allowed.contains(room) {
                    broken.push(format!("{room} knows {name}"));
                }
            }
        }
    }
    report("some crates are known by few rooms", broken);
}

/// Names under `[dependencies]` of a room.
fn dependencies(room: &str) -> Vec<String> {
    let manifest = fs::read_to_string(root().join("src").join(room).join("Cargo.toml"))
        .expect("every room has a manifest");
    manifest
        .lines()
        .skip_while(|line| *line != "[dependencies]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split(" =").next())
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

#[test]
fn fenced_words_stay_home() {
    let mut broken = Vec::new();
    for source in sources(&["src"]) {
        for fence in FENCES {
            let at_home = fence.home.contains(&source.path.as_str());
            if !at_home && !source.is_test() && source.code().contains(fence.word) {
                broken.push(format!("{} in {}", fence.word, source.path));
            }
        }
    }
    report("fenced words", broken);
}

#[test]
fn sql_stays_in_storage_and_stores() {
    let mut broken = Vec::new();
    for source in sources(&["src"]) {
        let allowed = source.path.starts_with("src/storage/") || source.path.ends_with("/store.rs");
        if !allowed && !source.is_test() && source.code().contains("sqlx::query") {
            broken.push(source.path);
        }
    }
    report("SQL only in storage and */store.rs", broken);
}

#[test]
fn files_are_short_and_open_with_their_contract() {
    let mut broken = Vec::new();
    for source in sources(&["src", "standins", "tests", "loadtest", "bench"]) {
        if !source.text.starts_with("//!") {
            broken.push(format!("{} doesn't open with //!", source.path));
        }
        let lines = source.text.lines().count();
        if lines > LINES_MAX {
            broken.push(format!("{} has {lines} lines", source.path));
        }
        let stem = source.path.rsplit('/').next().unwrap_or_default().trim_end_matches(".rs");
        if FORBIDDEN_NAMES.contains(&stem) {
            broken.push(format!("{} says nothing by its name", source.path));
        }
        for (number, line) in source.text.lines().enumerate() {
            // A long literal can't be broken without hurting it.
            let literal = line.contains('"');
            if line.chars().count() > WIDTH_MAX && !literal {
                broken.push(format!("{}:{} is wider than {WIDTH_MAX}", source.path, number + 1));
            }
        }
    }
    report("files", broken);
}

#[test]
fn functions_fit_on_a_screen() {
    let mut broken = Vec::new();
    for source in sources(&["src", "standins", "loadtest", "bench"]) {
        let mut open: Option<(usize, usize, String)> = None;
        for (number, line) in source.code().lines().enumerate() {
            let indent = line.len() - line.trim_start().len();
            let starts = [
                "fn ",
                "pub fn ",
                "async fn ",
                "pub async fn ",
                "pub(crate) fn ",
                "pub(crate) async fn ",
            ];
            if open.is_none() && starts.iter().any(|s| line.trim_start().starts_with(s)) {
                open = Some((number, indent, line.trim().to_owned()));
            } else if let Some((start, depth, head)) = &open
                && indent == *depth
                && (line.trim_start().starts_with('}') || line.trim_end().ends_with(';'))
            {
                let length = number - start + 1;
                if length > FUNCTION_LINES_MAX {
                    broken.push(format!("{}:{} {length} lines: {head}", source.path, start + 1));
                }
                open = None;
            }
        }
    }
    report("functions of at most 70 lines", broken);
}

#[test]
fn every_migration_can_be_taken_back() {
    let folder = root().join("migrations");
    let mut broken = Vec::new();
    for entry in fs::read_dir(&folder).expect("migrations are readable") {
        let name = entry.expect("entry").file_name().into_string().expect("plain names");
        if let Some(stem) = name.strip_suffix(".up.sql")
            && !folder.join(format!("{stem}.down.sql")).exists()
        {
            broken.push(name);
        }
    }
    report("an up has a down", broken);
}
