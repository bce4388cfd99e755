//! A real `redis-server` of our own, and just enough of its protocol to keep it busy.
//!
//! The server listens on a Unix socket in a directory of its own, keeps nothing on disk, and ends
//! when the handle is dropped. Commands are encoded before the clock starts and sent many at once,
//! and answers are only walked over, so that the client is never what Redis waits for.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tempfile::TempDir;

const START_WITHIN: Duration = Duration::from_secs(10);

pub(crate) struct Redis {
    child: Child,
    socket: PathBuf,
    version: String,
    /// Removed after the server is gone.
    _home: TempDir,
}

impl Redis {
    pub fn start() -> anyhow::Result<Self> {
        let home = tempfile::Builder::new().prefix("smartline-bench-").tempdir()?;
        let socket = home.path().join("redis");
        let child = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"])
            .arg(&socket)
            .current_dir(home.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let child = match child {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                bail!("redis-server is missing: install the package `redis-server`")
            }
            child => child.context("redis-server can't be started")?,
        };
        let mut redis = Self { child, socket, version: String::new(), _home: home };
        redis.version = redis.ready()?;
        Ok(redis)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// As in `7.0.15`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Where it listens, for clients of their own.
    pub fn socket(&self) -> &std::path::Path {
        &self.socket
    }

    pub fn connect(&self) -> anyhow::Result<Connection> {
        let stream = UnixStream::connect(&self.socket)?;
        Ok(Connection { write: stream.try_clone()?, read: BufReader::new(stream) })
    }

    fn ready(&mut self) -> anyhow::Result<String> {
        let asked = Instant::now();
        let mut connection = loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("redis-server ended at once: {status}");
            }
            match self.connect() {
                Ok(connection) => break connection,
                Err(error) if asked.elapsed() > START_WITHIN => return Err(error),
                Err(_) => sleep(Duration::from_millis(10)),
            }
        };
        let mut commands = Commands::default();
        commands.push(&[b"INFO", b"server"]);
        connection.write.write_all(&commands.bytes)?;
        let info = connection.answer()?.context("INFO answers with text")?;
        let info = String::from_utf8_lossy(&info).into_owned();
        let version = info.lines().find_map(|line| line.strip_prefix("redis_version:"));
        Ok(version.context("INFO names the version")?.trim().to_owned())
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

/// Commands as they go over the wire, one after another.
#[derive(Default)]
pub(crate) struct Commands {
    bytes: Vec<u8>,
    count: usize,
}

impl Commands {
    pub fn push(&mut self, words: &[&[u8]]) {
        self.bytes.extend(format!("*{}\r\n", words.len()).bytes());
        for word in words {
            self.bytes.extend(format!("${}\r\n", word.len()).bytes());
            self.bytes.extend(*word);
            self.bytes.extend(b"\r\n");
        }
        self.count += 1;
    }
}

pub(crate) struct Connection {
    write: UnixStream,
    read: BufReader<UnixStream>,
}

impl Connection {
    /// Sends them in one write and reads every answer; an error answer is an error.
    pub fn pipeline(&mut self, commands: &Commands) -> anyhow::Result<()> {
        // Redis never stops reading for want of room to answer, so this can't lock up.
        self.write.write_all(&commands.bytes)?;
        for _ in 0..commands.count {
            self.skip()?;
        }
        Ok(())
    }

    /// Sends one command and gives back the bulk strings of its answer.
    pub fn ask(&mut self, words: &[&[u8]]) -> anyhow::Result<Vec<Vec<u8>>> {
        let mut commands = Commands::default();
        commands.push(words);
        self.write.write_all(&commands.bytes)?;
        let (kind, count) = self.head()?;
        if kind != b'*' {
            bail!("Redis answered with {:?}, not with a list", char::from(kind));
        }
        (0..count).map(|_| self.answer()?.context("a list of texts")).collect()
    }

    /// One bulk string.
    fn answer(&mut self) -> anyhow::Result<Option<Vec<u8>>> {
        let (kind, size) = self.head()?;
        if kind != b'$' || size < 0 {
            return Ok(None);
        }
        let mut text = vec![0; usize::try_from(size)? + 2];
        self.read.read_exact(&mut text)?;
        text.truncate(text.len() - 2);
        Ok(Some(text))
    }

    fn skip(&mut self) -> anyhow::Result<()> {
        let mut left = 1;
        while left > 0 {
            left -= 1;
            match self.head()? {
                (b'*', count) => left += count.max(0),
                (b'$', size) if size >= 0 => {
                    let mut text = self.read.by_ref().take(size.unsigned_abs() + 2);
                    std::io::copy(&mut text, &mut std::io::sink())?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The kind of the next answer, and its number where it has one.
    fn head(&mut self) -> anyhow::Result<(u8, i64)> {
        let mut line = [0u8; 128];
        let mut used = 0;
        loop {
            let ready = self.read.fill_buf()?;
            if ready.is_empty() {
                bail!("redis-server closed the connection");
            }
            let end = ready.iter().position(|byte| *byte == b'\n');
            let taken = end.map_or(ready.len(), |at| at + 1);
            let kept = taken.min(line.len() - used);
            line[used..used + kept].copy_from_slice(&ready[..kept]);
            used += kept;
            self.read.consume(taken);
            if end.is_some() {
                break;
            }
        }
        let text = std::str::from_utf8(&line[1..used])?.trim_end();
        match line[0] {
            b'-' => bail!("Redis refused a command: {text}"),
            b'+' => Ok((b'+', 0)),
            kind => Ok((kind, text.parse()?)),
        }
    }
}
