//! The thread that holds the PostgreSQL process: starts it, waits for it, starts it again when it
//! dies unasked.
//!
//! The kernel sends the parent-death signal when the *thread* that spawned ends, so this thread
//! lives exactly as long as its child is wanted; a pool's worker thread would not do.

use std::fs::OpenOptions;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getpid, getppid, setsid};
use parking_lot::Mutex;
use tokio::sync::watch;
use tracing::{error, info};

use crate::home::RunAs;

const BEFORE_RESTART: Duration = Duration::from_millis(500);

/// How the server is started.
pub(crate) struct Launch {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<String>,
    pub(crate) log: PathBuf,
    pub(crate) run_as: Option<RunAs>,
    /// What the server gets when this program dies.
    pub(crate) last_will: Signal,
}

/// What the server is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Run {
    Starting,
    Running(Pid),
    Ended(String),
}

/// What the keeper does when the server ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wish {
    /// The first start hasn't succeeded: an end is reported, not repaired.
    Trial,
    Keep,
    Stop,
}

pub(crate) struct Keeper {
    run: watch::Receiver<Run>,
    wish: Arc<Mutex<Wish>>,
}

impl Keeper {
    pub(crate) fn start(launch: Launch) -> std::io::Result<Self> {
        let (tell, run) = watch::channel(Run::Starting);
        let wish = Arc::new(Mutex::new(Wish::Trial));
        let shared = Arc::clone(&wish);
        std::thread::Builder::new()
            .name("pg keeper".to_owned())
            .spawn(move || keep(&launch, &tell, &shared))?;
        Ok(Self { run, wish })
    }

    pub(crate) fn run(&self) -> Run {
        self.run.borrow().clone()
    }

    /// The first start has succeeded: from now on the server is started again when it dies.
    pub(crate) fn hold(&self) {
        *self.wish.lock() = Wish::Keep;
    }

    /// Asks the server to end; it is not started again.
    pub(crate) fn signal(&self, signal: Signal) {
        *self.wish.lock() = Wish::Stop;
        if let Run::Running(pid) = self.run() {
            // It may have ended by itself in this moment: fine.
            let _gone = kill(pid, signal);
        }
    }

    pub(crate) async fn ended(&mut self) {
        // A closed channel means that the thread is gone, and with it the server.
        let _closed = self.run.wait_for(|run| matches!(run, Run::Ended(_))).await;
    }
}

fn keep(launch: &Launch, tell: &watch::Sender<Run>, wish: &Mutex<Wish>) {
    loop {
        let end = match spawn(launch) {
            Ok(mut child) => {
                let pid = i32::try_from(child.id()).expect("process ids fit in an i32");
                tell.send_replace(Run::Running(Pid::from_raw(pid)));
                // A stop that came before the process existed had nobody to signal.
                if *wish.lock() == Wish::Stop {
                    let _gone = kill(Pid::from_raw(pid), Signal::SIGINT);
                }
                child.wait().map_or_else(|e| e.to_string(), |status| status.to_string())
            }
            Err(error) => format!("{}: {error}", launch.program.display()),
        };
        if *wish.lock() != Wish::Keep {
            tell.send_replace(Run::Ended(end));
            return;
        }
        error!(end, "PostgreSQL ended unasked, starting it again");
        tell.send_replace(Run::Starting);
        std::thread::sleep(BEFORE_RESTART);
        info!("starting PostgreSQL again");
    }
}

fn spawn(launch: &Launch) -> std::io::Result<std::process::Child> {
    let log = OpenOptions::new().create(true).append(true).open(&launch.log)?;
    let mut command = Command::new(&launch.program);
    command
        .args(&launch.arguments)
        .env("LC_ALL", "C.UTF-8")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    if let Some(user) = launch.run_as {
        command.uid(user.uid).gid(user.gid);
    }
    let (parent, will) = (getpid(), launch.last_will);
    let in_child = move || {
        // A session of its own: Ctrl-C in the terminal is for the program, which then stops the
        // server itself, last.
        setsid()?;
        // The kernel forgets the parent-death signal when the user changes, so it is set here,
        // after that. If the parent died in between nobody would ever send it.
        set_pdeathsig(will)?;
        if getppid() != parent {
            return Err(std::io::ErrorKind::Interrupted.into());
        }
        Ok(())
    };
    #[expect(unsafe_code, reason = "the parent-death signal can only be set in the child itself")]
    // SAFETY: the closure makes four system calls and allocates nothing, which is allowed between
    // fork and exec.
    unsafe {
        command.pre_exec(in_child);
    }
    command.spawn()
}
