//! `kill -9` in mid-traffic: what was acknowledged is there, live trips go on, clients resume.
//!
//! The server is the real program with its private PostgreSQL; both die with the kill.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::json;

use crate::harness::{CAIRO, Outside, Person, Socket, far_from};

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_comes_back_with_every_acknowledged_change() {
    let dir = Folder::new();
    let program = Program::start(&dir.0).await;
    let server = Outside::new(program.address);
    create_admin(&dir.0);
    let admin = Person::log_in(&server, ADMIN, "tahrir99").await;
    let driver = crate::harness::online_driver(&server, &admin, CAIRO).await;
    let (rider, waiting) = (Person::rider(&server).await, Person::rider(&server).await);
    let mut wheel = Socket::open(&server, &driver).await;

    let trip = rider.request_trip(CAIRO).await.data()["tripId"].clone();
    let mut seat = Socket::open(&server, &rider).await;
    seat.ok("trip.subscribe", json!({"tripId": trip})).await;
    let mut seen = seat.next("snapshot").await["seq"].as_u64().expect("a number");
    wheel.next("offer").await;
    wheel.ok("offer.respond", json!({"tripId": trip, "action": "accept"})).await;
    seen = seat.event("accepted").await["seq"].as_u64().unwrap_or(seen);
    // Acknowledged to the driver; the rider may not have heard of it yet.
    wheel.ok("trip.status", json!({"tripId": trip, "status": "arrived"})).await;
    let unmatched = waiting.request_trip(far_from(CAIRO, 500.0)).await.data()["tripId"].clone();

    program.kill();
    drop((seat, wheel));
    let program = Program::start_at(&dir.0, server.address).await;

    let mut seat = Socket::open(&server, &rider).await;
    seat.ok("trip.subscribe", json!({"tripId": trip, "afterSeq": seen})).await;
    let missed = seat.next("trip.event").await;
    assert_eq!((&missed["seq"], &missed["data"]["event"]), (&json!(seen + 1), &json!("arrived")));

    let mut wheel = Socket::open(&server, &driver).await;
    driver.report(CAIRO).await.data();
    for status in ["started", "completed"] {
        wheel.ok("trip.status", json!({"tripId": trip, "status": status})).await;
        let event = seat.event(status).await;
        seen += 1;
        assert_eq!(event["seq"], seen + 1, "{event}");
    }
    // The other trip is searched again: it ends by a driver or by its own deadline, not by the
    // crash.
    let id = unmatched.as_str().expect("an id");
    assert_eq!(waiting.trip(id).await["status"], "requested");
    waiting.post(&format!("/trips/{id}/cancel"), json!({"reason": "changed_mind"})).await.data();
    program.stop();
}

const ADMIN: &str = "01055555555";

fn create_admin(dir: &Path) {
    use std::io::Write;
    let mut child = Command::new(binary())
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
struct Program {
    child: Child,
    address: SocketAddr,
}

impl Program {
    async fn start(dir: &Path) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = free.local_addr().expect("it has an address");
        drop(free);
        Self::start_at(dir, address).await
    }

    /// Returns once the program says that it is ready.
    async fn start_at(dir: &Path, address: SocketAddr) -> Self {
        let mut child = Command::new(binary())
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

    fn kill(mut self) {
        self.child.kill().expect("it was running");
        self.child.wait().expect("it ends");
    }

    fn stop(mut self) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).expect("a pid"));
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("it was running");
        assert!(self.child.wait().expect("it ends").success(), "a clean stop");
    }
}

/// The program beside this test's own binary.
fn binary() -> PathBuf {
    let own = std::env::current_exe().expect("tests are programs");
    let folder = own.parent().and_then(Path::parent).expect("target/<profile>/deps/it");
    let program = folder.join("smartline");
    assert!(program.exists(), "build the program first: cargo build -p app");
    program
}

/// A data directory that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let name = format!("smartline-crash-{}", std::process::id());
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
