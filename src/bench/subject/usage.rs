//! What processes use, by `/proc`.

use std::fs;
use std::ops::{AddAssign, Sub};
use std::time::Duration;

/// What a process, or several, used so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Processor time, in user and system.
    pub cpu: Duration,
    /// Resident memory.
    pub rss_bytes: u64,
}

impl Usage {
    /// What this process has used so far.
    pub fn of_this_process() -> Self {
        usage_of(std::process::id()).unwrap_or_default()
    }

    /// Resident memory in MiB.
    pub fn rss_mib(&self) -> f64 {
        self.rss_bytes as f64 / (1024.0 * 1024.0)
    }
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.cpu += other.cpu;
        self.rss_bytes += other.rss_bytes;
    }
}

/// What was used since: processor time is a difference, memory is what it is now.
impl Sub for Usage {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self { cpu: self.cpu.saturating_sub(before.cpu), rss_bytes: self.rss_bytes }
    }
}

/// A process of somebody else's that is looked at: a server, with all its children.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// What it is called in the report.
    pub name: String,
    /// Its id.
    pub pid: u32,
}

impl Watched {
    /// Reads `NAME=PID`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (name, pid) = text.split_once('=').ok_or("it is written NAME=PID")?;
        let pid = pid.parse().map_err(|_| format!("`{pid}` is no process id"))?;
        if usage_of(pid).is_none() {
            return Err(format!("there is no process {pid}"));
        }
        Ok(Self { name: name.to_owned(), pid })
    }

    /// [`Watched::usage`], with its name.
    pub fn look(&self) -> (String, Usage) {
        (self.name.clone(), self.usage())
    }

    /// What it and its children have used so far, those that have ended among them. Memory that several share counts in
    /// parts where the system tells, else once for each.
    pub fn usage(&self) -> Usage {
        let mut sum = Usage::default();
        let mut unseen = vec![self.pid];
        while let Some(pid) = unseen.pop() {
            let Some(mut used) = usage_of(pid) else { continue };
            used.rss_bytes = proportional_memory(pid).unwrap_or(used.rss_bytes);
            sum += used;
            sum.cpu += cpu_of_ended_children(pid).unwrap_or_default();
            unseen.extend(children(pid));
        }
        sum
    }
}

/// What a process has used so far; `None` where there is none.
pub fn usage_of(pid: u32) -> Option<Usage> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    Some(Usage { cpu: cpu(pid, 11)?, rss_bytes: kib(&status, "VmRSS:")? * 1024 })
}

fn cpu_of_ended_children(pid: u32) -> Option<Duration> {
    cpu(pid, 13)
}

/// User and system time are two fields, one behind the other.
fn cpu(pid: u32, first: usize) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let ticks = ticks(&stat, first)?;
    Some(Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
}

/// Fields count from the one behind the command's name, which is in parentheses and may hold anything.
fn ticks(stat: &str, first: usize) -> Option<u64> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    Some(fields.get(first)?.parse::<u64>().ok()? + fields.get(first + 1)?.parse::<u64>().ok()?)
}

fn proportional_memory(pid: u32) -> Option<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    Some(kib(&rollup, "Pss:")? * 1024)
}

fn kib(text: &str, field: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(field))?;
    value.trim().trim_end_matches(" kB").parse().ok()
}

fn children(pid: u32) -> Vec<u32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let of_thread = |thread: fs::DirEntry| fs::read_to_string(thread.path().join("children")).ok();
    let lists: Vec<String> = threads.flatten().filter_map(of_thread).collect();
    lists.iter().flat_map(|list| list.split_whitespace()).filter_map(|pid| pid.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_command_may_be_called_anything() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194304 100 0 0 0 12 30 5 6 20 0 1 0 99 1 2";
        assert_eq!(ticks(stat, 11), Some(42));
        assert_eq!(ticks(stat, 13), Some(11));
        assert_eq!(ticks("7 (a) S 1", 11), None);
    }

    #[test]
    fn a_server_is_looked_at_with_its_children() {
        let mut child = Command::new("sleep").arg("60").stdout(Stdio::null()).spawn().expect("starts");
        let us = Watched::parse(&format!("us={}", std::process::id())).expect("there is one");
        assert_eq!(us.name, "us");
        assert!(children(us.pid).contains(&child.id()));
        assert!(us.usage().rss_bytes > 0);
        child.kill().expect("it is ours");
        child.wait().expect("it ends");
        assert!(Watched::parse(&format!("gone={}", child.id())).is_err());
        assert!(Watched::parse("12").is_err() && Watched::parse("x=y").is_err());
    }
}
