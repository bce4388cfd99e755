//! The peer a user would pick: node with socket.io, and Redis GEO for the live map.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use tempfile::TempDir;

use super::process::{Process, Says};
use crate::cpu::{Cpu, resident};
use crate::redis::Redis;

/// The peer's files, so that the bench runs from anywhere.
const FILES: [(&str, &str); 3] = [
    ("package.json", include_str!("../peers/socketio/package.json")),
    ("package-lock.json", include_str!("../peers/socketio/package-lock.json")),
    ("server.js", include_str!("../peers/socketio/server.js")),
];

/// An installed copy of the peer.
pub(crate) struct Installed(TempDir);

/// The peer at work; ends with its handle.
pub(crate) struct SocketIo {
    node: Process,
    redis: Redis,
    /// `127.0.0.1:PORT`.
    pub address: String,
}

impl Installed {
    /// Installs the exact versions of the lock file.
    pub fn new() -> anyhow::Result<Self> {
        let home = tempfile::Builder::new().prefix("smartline-bench-").tempdir()?;
        for (name, text) in FILES {
            fs::write(home.path().join(name), text)?;
        }
        let status = Command::new("npm")
            .args(["ci", "--silent", "--no-audit", "--no-fund"])
            .current_dir(home.path())
            .stdout(Stdio::null())
            .status()
            .context("npm is missing: install nodejs and npm")?;
        ensure!(status.success(), "npm could not install socket.io");
        Ok(Self(home))
    }

    pub fn start(&self) -> anyhow::Result<SocketIo> {
        let redis = Redis::start()?;
        let mut command = Command::new("node");
        command
            .arg("server.js")
            .current_dir(self.0.path())
            .env("NODE_ENV", "production")
            .env("REDIS_SOCKET", redis.socket());
        let (node, line) = Process::start(&mut command, Says::Out, "ready")?;
        let port = line.split_whitespace().nth(1).context("it names its port")?;
        Ok(SocketIo { node, redis, address: format!("127.0.0.1:{port}") })
    }
}

impl SocketIo {
    /// Of node and Redis together.
    pub fn cpu(&self) -> anyhow::Result<Duration> {
        Ok(Cpu::of(self.node.pid())? + Cpu::of(self.redis.pid())?)
    }

    /// Of node alone, bytes.
    pub fn resident(&self) -> anyhow::Result<u64> {
        resident(self.node.pid())
    }
}
