//! Road files: built from an extract, and read when the server starts.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Subcommand;
use routing::RoadGraph;

const SUFFIX: &str = "roads";

#[derive(Subcommand, Clone, Debug)]
pub enum RoadsCommand {
    /// Build a city's road file from an OpenStreetMap extract. A file that is there is replaced
    /// once the new one is whole; servers read it when they start.
    Build {
        /// The extract (.osm.pbf), for example of one city.
        #[arg(long)]
        from: PathBuf,
        /// The road file, for example cairo.roads.
        #[arg(long)]
        to: PathBuf,
    },
}

#[expect(clippy::print_stdout, reason = "what was built is this command's answer")]
pub(crate) fn run(command: &RoadsCommand) -> anyhow::Result<()> {
    let RoadsCommand::Build { from, to } = command;
    let graph = build(from, to)?;
    let (roads, junctions) = (graph.roads(), graph.junctions());
    println!("{}: {roads} roads between {junctions} junctions", to.display());
    Ok(())
}

fn build(from: &Path, to: &Path) -> anyhow::Result<RoadGraph> {
    let extract = fs::read(from).with_context(|| format!("can't read {}", from.display()))?;
    let graph = RoadGraph::from_extract(&extract)
        .with_context(|| format!("no roads from {}", from.display()))?;
    // Beside it first: a server that starts meanwhile reads the old one or the new one.
    let mut part = to.as_os_str().to_owned();
    part.push(".part");
    fs::write(&part, graph.to_bytes())
        .and_then(|()| fs::rename(&part, to))
        .with_context(|| format!("can't write {}", to.display()))?;
    Ok(graph)
}

/// The road file, or all of a folder; none when no place is given.
pub(crate) fn load(place: Option<&Path>) -> anyhow::Result<Vec<RoadGraph>> {
    let Some(place) = place else { return Ok(Vec::new()) };
    if !place.is_dir() {
        return Ok(vec![read(place)?]);
    }
    let entries = fs::read_dir(place).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let mut files: Vec<PathBuf> = entries
        .with_context(|| format!("can't read {}", place.display()))?
        .into_iter()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|suffix| suffix == SUFFIX))
        .collect();
    anyhow::ensure!(!files.is_empty(), "there is no .{SUFFIX} file in {}", place.display());
    files.sort();
    files.iter().map(|file| read(file)).collect()
}

fn read(file: &Path) -> anyhow::Result<RoadGraph> {
    let bytes = fs::read(file).with_context(|| format!("can't read {}", file.display()))?;
    RoadGraph::from_bytes(&bytes)
        .with_context(|| format!("the road file {} can't be used", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_city_is_built_and_loaded_and_a_harmed_file_stops_the_start() {
        let folder = tempfile::tempdir().expect("a folder");
        let place = folder.path();
        let extract =
            Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../routing/data/monaco.osm.pbf"));
        let failed = |place: &Path| format!("{:#}", load(Some(place)).map(drop).expect_err("none"));
        assert!(load(None).expect("nothing is asked for").is_empty());
        assert!(failed(place).contains("no .roads file"));

        let file = place.join("monaco.roads");
        let built = build(extract, &file).expect("built");
        fs::write(place.join("notes.txt"), "of no interest").expect("written");
        for place in [place, &file] {
            let loaded = load(Some(place)).expect("loaded");
            assert_eq!(loaded.len(), 1);
            assert_eq!(loaded[0].to_bytes(), built.to_bytes());
        }
        assert_eq!(fs::read_dir(place).expect("a folder").count(), 2, "nothing else is left");

        let mut bytes = fs::read(&file).expect("the file");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&file, &bytes).expect("written");
        let error = failed(place);
        assert!(error.contains("monaco.roads") && error.contains("damaged"), "{error}");
        let error = format!("{:#}", build(&file, &file).map(drop).expect_err("no extract"));
        assert!(error.contains("no roads from"), "{error}");
        assert_eq!(fs::read(&file).expect("the file"), bytes, "left as it was");
    }
}
