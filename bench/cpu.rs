//! Meters of a process: CPU time and resident memory, of this one or another by its number.
//!
//! CPU time is the kernel's own clock of the process: user and system time of all its threads,
//! also of those that ended, in nanoseconds. Children are not in it: see [`Cpu::tree`].

use std::fs;
use std::time::Duration;

use anyhow::Context;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{Pid, SysconfVar, sysconf};

/// CPU time used so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cpu;

impl Cpu {
    /// Of the calling thread alone.
    pub fn thread() -> anyhow::Result<Duration> {
        Ok(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?.into())
    }

    /// Of another process.
    pub fn of(pid: u32) -> anyhow::Result<Duration> {
        let clock = ClockId::pid_cpu_clock_id(raw(pid)).with_context(|| gone(pid))?;
        Ok(clock_gettime(clock).with_context(|| gone(pid))?.into())
    }

    /// Of a process and all that live below it. A child that ends between two readings is missing
    /// from the second: take both while the same children run.
    pub fn tree(pid: u32) -> anyhow::Result<Duration> {
        let mut sum = Self::of(pid)?;
        for child in children(pid) {
            // One that ended just now used next to nothing since.
            sum += Self::tree(child).unwrap_or_default();
        }
        Ok(sum)
    }
}

/// Bytes of the process that are in memory.
pub(crate) fn resident(pid: u32) -> anyhow::Result<u64> {
    let path = format!("/proc/{pid}/statm");
    let text = fs::read_to_string(&path).with_context(|| gone(pid))?;
    let pages: u64 = text.split(' ').nth(1).context("statm has a second field")?.parse()?;
    let page = sysconf(SysconfVar::PAGE_SIZE)?.context("the page size is known")?;
    Ok(pages * u64::try_from(page)?)
}

/// Processes that it started and that still run.
pub(crate) fn children(pid: u32) -> Vec<u32> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    tasks
        .filter_map(Result::ok)
        .filter_map(|task| fs::read_to_string(task.path().join("children")).ok())
        .flat_map(|text| text.split(' ').filter_map(|n| n.parse().ok()).collect::<Vec<_>>())
        .collect()
}

fn raw(pid: u32) -> Pid {
    Pid::from_raw(pid.cast_signed())
}

fn gone(pid: u32) -> String {
    format!("process {pid} can't be measured: has it ended?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_shows_on_every_clock_and_sleep_on_none() -> anyhow::Result<()> {
        let pid = std::process::id();
        let readings = || -> anyhow::Result<[Duration; 2]> { Ok([Cpu::thread()?, Cpu::of(pid)?]) };
        let before = readings()?;
        let mut sum = 0u64;
        while Cpu::thread()? - before[0] < Duration::from_millis(20) {
            sum = (0..10_000u64).fold(sum, |sum, n| sum ^ std::hint::black_box(n));
        }
        for (after, before) in readings()?.into_iter().zip(before) {
            assert!(after - before >= Duration::from_millis(20), "{sum}");
        }
        let before = Cpu::thread()?;
        std::thread::sleep(Duration::from_millis(50));
        assert!(Cpu::thread()? - before < Duration::from_millis(20));
        assert!(resident(pid)? > 100_000);
        Ok(())
    }
}
