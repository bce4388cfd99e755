//! A real `osrm-routed` of our own on the extract that ours is built from, and just enough HTTP to
//! ask it.
//!
//! `OSRM_ROUTED` names the program; `osrm-extract` and `osrm-contract` lie beside it. Its data is
//! prepared here with its own car profile, less what turns and obstacles cost, which ours doesn't
//! know either. Requests are encoded before the clock starts and answers are read after it stopped.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};
use std::{env, fs};

use anyhow::{Context, bail, ensure};
use base::Point;
use tempfile::TempDir;

const START_WITHIN: Duration = Duration::from_secs(20);

/// What of the profile is changed, and to what.
const TURN_FREE: [(&str, &str); 4] = [
    ("u_turn_penalty                 = 20,", "u_turn_penalty                 = 0,"),
    ("turn_penalty              = 7.5,", "turn_penalty              = 0,"),
    ("oncoming_turn_penalty     = 2.0,", "oncoming_turn_penalty     = 0,"),
    ("turn.duration = turn.duration + obs.duration", "turn.duration = turn.duration"),
];

pub(crate) struct Osrm {
    child: Child,
    port: u16,
    version: String,
    /// Removed after the server is gone.
    _home: TempDir,
}

impl Osrm {
    /// `None` without `OSRM_ROUTED`.
    pub fn start(extract: &Path) -> anyhow::Result<Option<Self>> {
        let Some(routed) = env::var_os("OSRM_ROUTED").map(PathBuf::from) else { return Ok(None) };
        let home = tempfile::Builder::new().prefix("smartline-bench-").tempdir()?;
        let tool = |name: &str| Command::new(routed.with_file_name(name));
        let profile = profile(&routed, home.path())?;
        let map = home.path().join("map.osm.pbf");
        fs::copy(extract, &map).context("the extract can't be copied")?;
        finished(tool("osrm-extract").arg("-p").arg(profile).arg(map))?;
        let data = home.path().join("map.osrm");
        finished(tool("osrm-contract").arg(&data))?;
        let version = finished(tool("osrm-routed").arg("--version"))?.trim().to_owned();
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let child = Command::new(&routed)
            .args(["--ip", "127.0.0.1", "--algorithm", "ch", "--max-table-size", "1000"])
            // It would say a line for each answer.
            .args(["--verbosity", "ERROR", "--port", &port.to_string()])
            .arg(data)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("{} can't be started", routed.display()))?;
        let mut osrm = Self { child, port, version, _home: home };
        osrm.ready()?;
        Ok(Some(osrm))
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn version(&self) -> &str {
        &self.version
    }

    pub fn connect(&self) -> anyhow::Result<Connection> {
        Connection::open(self.port)
    }

    fn ready(&mut self) -> anyhow::Result<()> {
        let asked = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("osrm-routed ended at once: {status}");
            }
            match self.connect() {
                Ok(_) => return Ok(()),
                Err(error) if asked.elapsed() > START_WITHIN => return Err(error),
                Err(_) => sleep(Duration::from_millis(20)),
            }
        }
    }
}

impl Drop for Osrm {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

/// The profile of the installation without penalties, in a copy of its folder: it reads its parts
/// from beside it.
fn profile(routed: &Path, home: &Path) -> anyhow::Result<PathBuf> {
    let whose = || format!("no car.lua for {}: set OSRM_PROFILES to its folder", routed.display());
    let folder = match env::var_os("OSRM_PROFILES").map(PathBuf::from) {
        Some(folder) => folder,
        None => {
            let root = routed.parent().and_then(Path::parent).with_context(whose)?;
            root.join("share/profiles")
        }
    };
    let mut car = fs::read_to_string(folder.join("car.lua")).with_context(whose)?;
    for (with, without) in TURN_FREE {
        ensure!(car.matches(with).count() == 1, "car.lua of another version: it lacks `{with}`");
        car = car.replace(with, without);
    }
    let lib = home.join("lib");
    fs::create_dir(&lib)?;
    for entry in fs::read_dir(folder.join("lib")).with_context(whose)? {
        let part = entry?;
        fs::copy(part.path(), lib.join(part.file_name()))?;
    }
    let changed = home.join("car.lua");
    fs::write(&changed, car)?;
    Ok(changed)
}

fn finished(command: &mut Command) -> anyhow::Result<String> {
    let named = format!("{}", Path::new(command.get_program()).display());
    let done = command.output().with_context(|| format!("{named} can't be started"))?;
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    ensure!(done.status.success(), "{named}: {}\n{said}", done.status);
    Ok(said)
}

/// One kept connection; the server ends it after some hundred answers, and then it is a new one.
pub(crate) struct Connection {
    port: u16,
    write: TcpStream,
    read: BufReader<TcpStream>,
}

impl Connection {
    fn open(port: u16) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        Ok(Self { port, write: stream.try_clone()?, read: BufReader::new(stream) })
    }

    /// Sends a request and takes the whole answer's body.
    pub fn ask(&mut self, request: &[u8], body: &mut Vec<u8>) -> anyhow::Result<()> {
        if self.write.write_all(request).is_err()
            || self.read.fill_buf().map_or(true, <[u8]>::is_empty)
        {
            *self = Self::open(self.port)?;
            self.write.write_all(request)?;
        }
        let mut length = None;
        let mut line = String::new();
        loop {
            line.clear();
            ensure!(self.read.read_line(&mut line)? > 0, "osrm-routed closed the connection");
            let Some((name, value)) = line.split_once(':') else {
                if line == "\r\n" {
                    break;
                }
                continue;
            };
            if name.eq_ignore_ascii_case("content-length") {
                length = Some(value.trim().parse()?);
            }
        }
        body.resize(length.context("an answer says its length")?, 0);
        self.read.read_exact(body)?;
        Ok(())
    }
}

/// The times from each place to one.
pub(crate) fn table(from: &[Point], to: Point) -> Vec<u8> {
    let sources: Vec<String> = (0..from.len()).map(|place| place.to_string()).collect();
    let query = format!("sources={}&destinations={}", sources.join(";"), from.len());
    request("table", from.iter().copied().chain([to]), &query)
}

/// One way with its whole line.
pub(crate) fn route(from: Point, to: Point) -> Vec<u8> {
    request("route", [from, to].into_iter(), "overview=full")
}

fn request(service: &str, places: impl Iterator<Item = Point>, query: &str) -> Vec<u8> {
    let places: Vec<String> =
        places.map(|place| format!("{:.6},{:.6}", place.lng(), place.lat())).collect();
    let places = places.join(";");
    format!("GET /{service}/v1/driving/{places}?{query} HTTP/1.1\r\nHost: osrm\r\n\r\n")
        .into_bytes()
}
