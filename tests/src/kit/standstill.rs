//! One thread of another process that stands still while its siblings go on: what a long call, a page
//! fault on a slow disk or a scheduler with no core to spare does to it.
//!
//! By ptrace, because every signal stops the whole process and a cgroup freezes one: the thread is
//! seized and interrupted, and goes on where it stood when this is dropped. Linux asks the same of
//! every call for one tracee: that it comes from the thread that seized it, so there is one for each.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

use super::world::Failed;

/// A thread that stands still until this is dropped.
#[derive(Debug)]
pub struct Standstill {
    release: Option<Sender<()>>,
    tracer: Option<JoinHandle<()>>,
}

impl Standstill {
    /// Comes back when the thread of that id (`/proc/<pid>/task`) stands still, wherever it was.
    ///
    /// # Errors
    /// The system does not let us trace it, or it is gone.
    pub fn of(thread: i32) -> Result<Self, Failed> {
        Self::when(thread, |_| true)
    }

    /// The same of a thread with an event loop, between two events: elsewhere it may hold a lock, and its
    /// siblings would stand still too.
    ///
    /// # Errors
    /// As [`Standstill::of`].
    pub fn between_events(thread: i32) -> Result<Self, Failed> {
        Self::when(thread, waits_for_events)
    }

    fn when(thread: i32, fits: fn(i32) -> bool) -> Result<Self, Failed> {
        let (tell, told) = channel();
        let (release, released) = channel();
        let tracer = std::thread::spawn(move || hold(thread, fits, &tell, &released));
        let out = Self { release: Some(release), tracer: Some(tracer) };
        told.recv()??;
        Ok(out)
    }
}

impl Drop for Standstill {
    fn drop(&mut self) {
        drop(self.release.take());
        if let Some(tracer) = self.tracer.take() {
            let _ = tracer.join();
        }
    }
}

fn hold(
    thread: i32,
    fits: fn(i32) -> bool,
    tell: &Sender<nix::Result<()>>,
    released: &Receiver<()>,
) {
    let traced = Pid::from_raw(thread);
    let stop = || {
        ptrace::seize(traced, ptrace::Options::empty())?;
        ptrace::interrupt(traced)?;
        waitpid(traced, Some(WaitPidFlag::__WALL)).map(|_| ())
    };
    let mut stopped = stop();
    while stopped.is_ok() && !fits(thread) {
        stopped = ptrace::detach(traced, None).and_then(|()| stop());
    }
    let holds = stopped.is_ok();
    if tell.send(stopped).is_ok() && holds {
        // An error: whoever held the other end let go.
        let _ = released.recv();
        // Fails only for a thread that has ended.
        let _ = ptrace::detach(traced, None);
    }
}

/// Whether a thread that stands still was waiting in epoll (proc(5), `syscall`).
fn waits_for_events(thread: i32) -> bool {
    let text = std::fs::read_to_string(format!("/proc/{thread}/syscall")).unwrap_or_default();
    let number = text.split(' ').next().and_then(|number| number.parse().ok());
    number.is_some_and(|number: i64| WAITS.contains(&number))
}

/// The threads of a process whose names begin like this, by id.
///
/// # Errors
/// The process is gone.
pub fn threads(process: u32, named: &str) -> std::io::Result<Vec<i32>> {
    let mut out = Vec::new();
    for entry in std::fs::read_dir(format!("/proc/{process}/task"))? {
        let entry = entry?;
        let name = std::fs::read_to_string(entry.path().join("comm"))?;
        if name.starts_with(named) {
            out.extend(entry.file_name().to_string_lossy().parse::<i32>());
        }
    }
    out.sort_unstable();
    Ok(out)
}

/// Old and new: some architectures have the second alone.
const WAITS: &[i64] = &[
    #[cfg(target_arch = "x86_64")]
    nix::libc::SYS_epoll_wait,
    nix::libc::SYS_epoll_pwait,
];

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    fn state(thread: i32) -> char {
        let text = std::fs::read_to_string(format!("/proc/{thread}/stat")).unwrap();
        text.rsplit_once(") ").unwrap().1.chars().next().unwrap()
    }

    #[test]
    fn a_thread_stands_still_until_it_is_let_go_and_its_process_lives() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let thread = i32::try_from(child.id()).unwrap();
        assert_eq!(threads(child.id(), "").unwrap(), [thread]);
        let held = Standstill::of(thread).unwrap();
        assert_eq!(state(thread), 't');
        drop(held);
        assert_ne!(state(thread), 't');
        drop(child.stdin.take());
        assert!(child.wait().unwrap().success());
        assert!(Standstill::of(thread).is_err());
    }
}
