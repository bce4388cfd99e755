//! The real program with its private PostgreSQL, as its own process: to be killed.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

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

/// `smartline serve` as its own process.
pub struct Program {
    child: Child,
    pub address: SocketAddr,
}

impl Program {
    pub async fn start(dir: &Path) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = free.local_addr().expect("it has an address");
        drop(free);
        Self::start_at(dir, address).await
    }

    /// Returns once the program says that it is ready.
    pub async fn start_at(dir: &Path, address: SocketAddr) -> Self {
        let mut child = Command::new(program())
            .arg("serve")
            .env("SMARTLINE_DATA_DIR", dir)
            .env("SMARTLINE_LISTEN", address.to_string())
            .env("SMARTLINE_OPS_LISTEN", "127.0.0.1:0")
            .env("SMARTLINE_RATE_LIMITS", "off")
            .env("SMARTLINE_COOLDOWN_S", "1")
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
        tokio::task::spawn_blocking(move || {
            let ready = lines.any(|line| line.is_ok_and(|line| line.contains("ready at")));
            assert!(ready, "the program ended before it was ready");
            // Keeps the pipe empty, so that the program never waits for us.
            std::thread::spawn(move || lines.for_each(drop));
        })
        .await
        .expect("it gets ready");
        Self { child, address }
    }

    pub fn kill(mut self) {
        self.child.kill().expect("it was running");
        self.child.wait().expect("it ends");
    }

    pub fn stop(mut self) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).expect("a pid"));
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("it was running");
        assert!(self.child.wait().expect("it ends").success(), "a clean stop");
    }
}

/// A test that failed leaves nothing running.
impl Drop for Program {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
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
