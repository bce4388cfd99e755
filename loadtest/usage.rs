//! CPU time and memory of processes, read from `/proc`.
//!
//! Owns the parsing of `/proc/<pid>/{stat,status}`. On a system without it every reading is
//! `None`, which is a line less in the report, never an error.

use std::collections::HashMap;

use crate::stats::Usage;

/// Clock ticks per second of `/proc` on every Linux in use.
const TICKS: f64 = 100.0;

/// One process as `/proc/<pid>/stat` shows it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Process {
    parent: u32,
    /// User and system time of the process itself, seconds.
    own_s: f64,
    /// The same of children that ended and were waited for, seconds.
    reaped_s: f64,
}

/// Reads the server's usage and our own.
pub fn read(server: u32) -> Option<Usage> {
    let process = process(server)?;
    let own = std::process::id();
    Some(Usage {
        cpu_s: process.own_s,
        children_cpu_s: process.reaped_s + descendants_s(server),
        rss_mib: rss_mib(server).unwrap_or(0.0),
        own_cpu_s: self::process(own).map_or(0.0, |process| process.own_s),
    })
}

/// CPU time of all living descendants and of those they waited for.
fn descendants_s(root: u32) -> f64 {
    let Ok(entries) = std::fs::read_dir("/proc") else { return 0.0 };
    let all: HashMap<u32, Process> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, process(pid)?)))
        .collect();
    let descends = |mut pid: u32| {
        // A chain of parents is short; a cycle can't be, but a bound costs nothing.
        for _ in 0..64 {
            match all.get(&pid) {
                Some(process) if process.parent == root => return true,
                Some(process) => pid = process.parent,
                None => return false,
            }
        }
        false
    };
    all.iter().filter(|(pid, _)| descends(**pid)).map(|(_, p)| p.own_s + p.reaped_s).sum()
}

fn process(pid: u32) -> Option<Process> {
    parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn parse(stat: &str) -> Option<Process> {
    // The name is in brackets and may hold anything, brackets too.
    let fields: Vec<&str> = stat.get(stat.rfind(')')? + 1..)?.split_whitespace().collect();
    let ticks = |index: usize| fields.get(index)?.parse::<f64>().ok().map(|t| t / TICKS);
    Some(Process {
        parent: fields.get(1)?.parse().ok()?,
        own_s: ticks(11)? + ticks(12)?,
        reaped_s: ticks(13)? + ticks(14)?,
    })
}

fn rss_mib(pid: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: f64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib / 1_024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_is_read_whatever_the_name() {
        let line = "42 (smart) line (x) S 7 42 42 0 -1 4194560 100 0 0 0 250 50 300 100 20 0 9 0";
        let expected = Process { parent: 7, own_s: 3.0, reaped_s: 4.0 };
        assert_eq!(parse(line), Some(expected));
        assert_eq!(parse("nonsense"), None);
    }

    #[test]
    fn a_process_that_is_not_there_has_no_usage() {
        assert!(read(u32::MAX).is_none());
    }
}
