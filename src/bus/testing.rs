//! A real `redis-server` for tests: on a Unix socket of its own, nothing on disk, gone with its
//! handle.

use std::process::Stdio;

use secrecy::SecretString;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

pub struct RedisServer {
    child: Child,
    home: TempDir,
}

impl RedisServer {
    /// When this returns it takes connections.
    pub async fn start() -> Self {
        let home = tempfile::Builder::new().prefix("smartline-redis-").tempdir();
        let home = home.expect("a place for tests");
        let mut child = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"])
            .arg(home.path().join("redis"))
            .current_dir(home.path())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("tests need the package redis-server");
        let told = child.stdout.take().expect("its output is piped");
        let mut lines = BufReader::new(told).lines();
        loop {
            let line = lines.next_line().await.expect("its log is text");
            let line = line.expect("redis-server ended before it was ready");
            if line.to_ascii_lowercase().contains("ready to accept connections") {
                return Self { child, home };
            }
        }
    }

    pub fn url(&self) -> SecretString {
        SecretString::from(format!("redis+unix://{}", self.home.path().join("redis").display()))
    }

    /// Ends it at once, and waits until it is gone.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("it runs until it is killed");
    }
}
