//! Who runs where: Envoy and what helps it decide on the first cores, the load on the last, so that
//! they do not take each other's time. And how long a process has run.

use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_setaffinity, set_current_timer_slack};

use super::Failed;

/// The cores of an Envoy with so many workers. A server that it asks runs on the same.
pub(crate) fn of_envoy(workers: u32) -> Vec<usize> {
    (0..usize::try_from(workers).unwrap_or(1)).collect()
}

/// The load's own: the last.
pub(crate) fn of_load() -> Vec<usize> {
    vec![count().saturating_sub(1)]
}

pub(crate) fn count() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Sets the load up: on its core, and woken when it asked to be.
pub(crate) fn settle() -> Result<(), Failed> {
    set_current_timer_slack(core::num::NonZero::new(1))?;
    pin(std::process::id(), &of_load())
}

/// All threads that a process has now.
pub(crate) fn pin(process: u32, cores: &[usize]) -> Result<(), Failed> {
    let mut set = CpuSet::new();
    cores.iter().for_each(|core| set.set(*core));
    for thread in threads(process)? {
        sched_setaffinity(Pid::from_raw(thread), &set)?;
    }
    Ok(())
}

/// Microseconds that all threads of a process have run, user and system (proc(5), `schedstat`).
pub(crate) fn run_time(process: u32) -> Result<f64, Failed> {
    let mut nanoseconds = 0_f64;
    for thread in threads(process)? {
        let path = format!("/proc/{process}/task/{thread}/schedstat");
        let text = std::fs::read_to_string(path)?;
        nanoseconds += text.split(' ').next().ok_or("no time")?.parse::<f64>()?;
    }
    Ok(nanoseconds / 1000.0)
}

fn threads(process: u32) -> Result<Vec<i32>, Failed> {
    let mut out = Vec::new();
    for entry in std::fs::read_dir(format!("/proc/{process}/task"))? {
        out.push(entry?.file_name().to_string_lossy().parse()?);
    }
    Ok(out)
}
