//! A program of its own beside the bench: started, waited for, measured by its number, ended.
//!
//! Guarantees: it ends with its handle, politely first; what it prints never blocks it.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A first start makes a database.
const READY_WITHIN: Duration = Duration::from_secs(60);
const END_WITHIN: Duration = Duration::from_secs(15);

pub(crate) struct Process(Child);

/// Where a program says that it is ready.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Says {
    Out,
    Error,
}

impl Process {
    /// Starts `command`; returns with the first line that holds `word`.
    pub fn start(
        command: &mut Command,
        says: Says,
        word: &'static str,
    ) -> anyhow::Result<(Self, String)> {
        let name = command.get_program().to_string_lossy().into_owned();
        // What it complains about beside is for whoever runs the bench.
        let (out, error) = match says {
            Says::Out => (Stdio::piped(), Stdio::inherit()),
            Says::Error => (Stdio::null(), Stdio::piped()),
        };
        let child = command
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(error)
            .spawn()
            .with_context(|| format!("{name} can't be started: is it installed?"))?;
        let mut process = Self(child);
        let output: Option<Box<dyn Read + Send>> = match says {
            Says::Out => process.0.stdout.take().map(|out| Box::new(out) as _),
            Says::Error => process.0.stderr.take().map(|error| Box::new(error) as _),
        };
        let output = output.context("a pipe was asked for")?;
        let (found, ready) = mpsc::sync_channel(1);
        thread::spawn(move || read(BufReader::new(output), word, &found));
        match ready.recv_timeout(READY_WITHIN) {
            Ok(Ok(line)) => Ok((process, line)),
            Ok(Err(last)) => bail!("{name} ended before it was ready: {last}"),
            Err(_) => bail!("{name} is not ready after {READY_WITHIN:?}"),
        }
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Asks it to end, and waits.
    pub fn end(&mut self) -> anyhow::Result<()> {
        if self.0.try_wait()?.is_some() {
            return Ok(());
        }
        kill(Pid::from_raw(self.pid().cast_signed()), Signal::SIGTERM)?;
        let asked = Instant::now();
        while asked.elapsed() < END_WITHIN {
            if self.0.try_wait()?.is_some() {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Err(anyhow!("process {} did not end in {END_WITHIN:?}", self.pid()))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.end().is_err() {
            let _ended = self.0.kill();
            let _status = self.0.wait();
        }
    }
}

fn read(mut lines: impl BufRead, word: &str, found: &mpsc::SyncSender<Result<String, String>>) {
    let (mut line, mut last, mut ready) = (String::new(), String::new(), false);
    while matches!(lines.read_line(&mut line), Ok(1..)) {
        if !ready && line.contains(word) {
            ready = true;
            let _nobody_waits = found.send(Ok(line.clone()));
        }
        std::mem::swap(&mut line, &mut last);
        line.clear();
    }
    if !ready {
        let _nobody_waits = found.send(Err(last));
    }
}
