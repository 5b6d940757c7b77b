//! What processes and the kernel use, read from the kernel.

use nix::{time::clock_getcpuclockid, unistd::Pid};
use serde::Serialize;
use std::time::Duration;

/// Nanoseconds on the monotonic clock, which all processes of a machine share.
pub fn now() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000
        + u64::try_from(time.tv_nsec).unwrap_or(0)
}

/// CPU time of a process, user and system, exact: `/proc/PID/stat` counts in steps of 10 ms. Zero for one that is gone.
pub fn cpu(pid: u32) -> Duration {
    let Ok(pid) = i32::try_from(pid) else {
        return Duration::ZERO;
    };
    clock_getcpuclockid(Pid::from_raw(pid))
        .and_then(|clock| clock.now())
        .map(Duration::from)
        .unwrap_or_default()
}

/// CPU time of several.
pub fn cpu_of(pids: &[u32]) -> Duration {
    pids.iter().map(|pid| cpu(*pid)).sum()
}

/// Bytes of memory that processes hold.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Memory {
    /// Resident and their own (RssAnon): heap and stacks, without the program's text.
    pub user: u64,
    /// Resident in all (VmRSS).
    pub resident: u64,
}

/// Memory of these processes, added up.
pub fn memory(pids: &[u32]) -> Memory {
    let mut sum = Memory::default();
    for pid in pids {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        sum.user += kib(&status, "RssAnon:");
        sum.resident += kib(&status, "VmRSS:");
    }
    sum
}

/// Memory of the machine.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Kernel {
    /// Buffers of TCP sockets (`mem` of /proc/net/sockstat).
    pub tcp_buffers: u64,
    /// The kernel's own objects, sockets among them.
    pub slab: u64,
    /// What could still be had.
    pub available: u64,
}

pub fn kernel() -> Kernel {
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let sockstat = std::fs::read_to_string("/proc/net/sockstat").unwrap_or_default();
    let pages = sockstat
        .lines()
        .find(|line| line.starts_with("TCP:"))
        .and_then(|line| line.split_whitespace().last()?.parse::<u64>().ok());
    Kernel {
        // Pages of 4 KiB on every machine this has run on.
        tcp_buffers: pages.unwrap_or(0) * 4096,
        slab: kib(&meminfo, "Slab:"),
        available: kib(&meminfo, "MemAvailable:"),
    }
}

fn kib(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// What the machine is, for whoever reads the figures later.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    pub name: String,
    pub cpu: String,
    pub cores: usize,
    pub memory_gib: u64,
    pub linux: String,
    /// Load average when the run began: figures of a busy machine are good as ratios only.
    pub load_average: f64,
    /// Whether this program was built with optimisation.
    pub release: bool,
}

impl Machine {
    pub fn this() -> Machine {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let cpuinfo = read("/proc/cpuinfo");
        let model = cpuinfo.lines().find(|line| line.starts_with("model name"));
        let model = model.and_then(|line| Some(line.split_once(':')?.1.trim().to_owned()));
        Machine {
            name: read("/proc/sys/kernel/hostname").trim().to_owned(),
            cpu: model.unwrap_or_else(|| "unknown".to_owned()),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory_gib: kib(&read("/proc/meminfo"), "MemTotal:") >> 30,
            linux: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            load_average: read("/proc/loadavg")
                .split(' ')
                .next()
                .and_then(|word| word.parse().ok())
                .unwrap_or(0.0),
            release: !cfg!(debug_assertions),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_works_uses_cpu_and_one_that_is_gone_none() {
        let own = std::process::id();
        let before = cpu(own);
        let mut sum = 0u64;
        while cpu(own) - before < Duration::from_millis(1) {
            sum = std::hint::black_box(sum + 1);
        }
        assert!(cpu_of(&[own, own]) >= before * 2);
        assert_eq!(cpu(u32::MAX), Duration::ZERO);
    }

    #[test]
    fn memory_is_told() {
        let own = memory(&[std::process::id()]);
        assert!(own.user > 0 && own.resident >= own.user);
        assert!(kernel().slab > 0);
    }
}
