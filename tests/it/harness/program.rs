//! The real program with its private PostgreSQL, as its own process: to be killed.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;

/// The operator of a program's city; his password is `tahrir99`.
pub const ADMIN: &str = "01055555555";

pub fn create_admin(dir: &Path) {
    use std::io::Write;
    let mut child = Command::new(program())
        .args(["admin", "--data-dir"])
        .arg(dir)
        .args(["create", "--phone", ADMIN, "--name", "Operator"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("the program starts");
    let mut input = child.stdin.take().expect("a pipe");
    input.write_all(b"tahrir99\n").expect("it reads");
    drop(input);
    assert!(child.wait().expect("it ends").success());
}

/// `smartline serve` as its own process; a test that fails does not leave it behind.
pub struct Program {
    child: Child,
    pub address: SocketAddr,
    /// Where it serves its metrics.
    pub operators: SocketAddr,
    /// Everything that it logs; ready when it has ended.
    log: Option<JoinHandle<String>>,
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to end.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Program {
    pub async fn start(dir: &Path) -> Self {
        Self::start_at(dir, free_address()).await
    }

    /// Returns once the program says that it is ready.
    pub async fn start_at(dir: &Path, address: SocketAddr) -> Self {
        Self::start_set(dir, address, &[]).await
    }

    /// With further settings.
    pub async fn start_set(dir: &Path, address: SocketAddr, more: &[(&str, String)]) -> Self {
        Self::start_with(dir, address, "info,sqlx=warn", more).await
    }

    /// One that logs all it has to say.
    pub async fn start_talkative(dir: &Path) -> Self {
        Self::start_with(dir, free_address(), "trace", &[]).await
    }

    async fn start_with(
        dir: &Path,
        address: SocketAddr,
        log: &str,
        more: &[(&str, String)],
    ) -> Self {
        let operators = free_address();
        let mut child = Command::new(program())
            .arg("serve")
            .env("SMARTLINE_DATA_DIR", dir)
            .env("SMARTLINE_LISTEN", address.to_string())
            .env("SMARTLINE_OPS_LISTEN", operators.to_string())
            .env("SMARTLINE_LOG", log)
            .env("SMARTLINE_RATE_LIMITS", "off")
            .env("SMARTLINE_COOLDOWN_S", "1")
            .envs(more.iter().map(|(name, value)| (*name, value.as_str())))
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
        let log = tokio::task::spawn_blocking(move || {
            let mut said = String::new();
            let ready = lines.by_ref().map_while(Result::ok).any(|line| {
                said = format!("{said}{line}\n");
                line.contains("ready at")
            });
            assert!(ready, "the program ended before it was ready: {said}");
            // Keeps the pipe empty, so that the program never waits for us.
            std::thread::spawn(move || {
                lines.map_while(Result::ok).fold(said, |said, line| said + &line + "\n")
            })
        });
        let log = Some(log.await.expect("it gets ready"));
        Self { child, address, operators, log }
    }

    pub fn kill(mut self) {
        self.child.kill().expect("it was running");
        self.child.wait().expect("it ends");
    }

    pub fn stop(mut self) {
        self.end();
    }

    /// Ends it; all that it logged.
    pub async fn stop_and_read(mut self) -> String {
        self.end();
        let log = self.log.take().expect("nobody has read it before");
        let read = tokio::task::spawn_blocking(|| log.join().expect("the log is read"));
        read.await.expect("the log is read")
    }

    fn end(&mut self) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).expect("a pid"));
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("it was running");
        assert!(self.child.wait().expect("it ends").success(), "a clean stop");
    }
}

pub fn free_address() -> SocketAddr {
    let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
    free.local_addr().expect("it has an address")
}

/// The program beside this test's own binary.
pub fn program() -> PathBuf {
    let own = std::env::current_exe().expect("tests are programs");
    let folder = own.parent().and_then(Path::parent).expect("target/<profile>/deps/it");
    let found = folder.join("smartline");
    assert!(found.exists(), "build the program first: cargo build -p app");
    found
}

/// A data directory that goes with the test.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Self {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("smartline-it-{}-{number}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&dir).expect("a folder");
        Self(dir)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}
