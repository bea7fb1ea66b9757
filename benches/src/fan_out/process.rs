//! What the system counts of a process, and lets it have.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::kit::Served;

/// As many file descriptors as the hard limit allows; how many that is.
pub(crate) fn raise_descriptors() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, ..limit };
    setrlimit(Resource::Nofile, raised).unwrap();
    limit.maximum.unwrap_or(u64::MAX)
}

/// Seconds that the server has run on any core, user and system (proc(5): fields 14 and 15, in
/// hundredths on every Linux).
pub(crate) fn cpu(served: &Served) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{}/stat", served.child.id())).unwrap();
    // The name before may hold spaces.
    let fields: Vec<&str> = text.rsplit_once(')').unwrap().1.split_ascii_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    ticks / 100.0
}

/// What the server has in memory now, in KiB.
pub(crate) fn memory(served: &Served) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/status", served.child.id())).unwrap();
    let resident = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    resident.trim().trim_end_matches(" kB").parse().unwrap()
}
