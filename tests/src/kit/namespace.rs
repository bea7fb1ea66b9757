//! A network namespace of its own, joined to this one by a cable (veth) that can lose packets.
//!
//! One thread has it (`unshare(2)`), and whatever that thread starts is in it; with the last of them it is
//! gone, so nothing is left behind by a test that is killed. It takes root and iproute2.
//!
//! The cable is cut by a wrong address of the peer's in the table of neighbours: packets leave, and whoever
//! gets them drops them as another's. Nobody is told anything, unlike with an interface that is down.

use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use nix::sched::{CloneFlags, unshare};
use nix::unistd::gettid;

use super::relay::Lost;
use super::world::Failed;

/// Ends with everything in it.
#[derive(Debug)]
pub struct Namespace {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    cable: Cable,
}

type Job = Box<dyn FnOnce() + Send>;

#[derive(Clone, Debug)]
struct Cable {
    /// Interfaces: ours and the one inside.
    near: String,
    far: String,
    near_address: Ipv4Addr,
    far_address: Ipv4Addr,
}

impl Namespace {
    /// # Errors
    /// Why this machine does not let us.
    pub fn start() -> Result<Self, Failed> {
        let (jobs, todo) = channel::<Job>();
        let (tell, told) = channel();
        let thread = std::thread::spawn(move || {
            let apart = unshare(CloneFlags::CLONE_NEWNET);
            let known = apart.map(|()| gettid().as_raw());
            if tell.send(known).is_ok() && known.is_ok() {
                todo.iter().for_each(|job| job());
            }
        });
        let thread_id = told.recv()??;
        let space = Self { jobs: Some(jobs), thread: Some(thread), cable: Cable::new()? };
        space.connect(thread_id)?;
        Ok(space)
    }

    fn connect(&self, thread_id: i32) -> Result<(), Failed> {
        let Cable { near, far, near_address, far_address } = &self.cable;
        ip(&format!(
            "link add {near} address {NEAR_MAC} type veth peer name {far} address {FAR_MAC}"
        ))?;
        ip(&format!("link set {far} netns {thread_id}"))?;
        ip(&format!("addr add {near_address}/30 dev {near}"))?;
        ip(&format!("link set {near} up"))?;
        let (address, far) = (*far_address, far.clone());
        self.run(move || {
            ip("link set lo up")?;
            ip(&format!("addr add {address}/30 dev {far}"))?;
            ip(&format!("link set {far} up"))
        })??;
        self.lose(Lost::Nothing)
    }

    /// Runs something inside: what it starts and what it listens on stays there.
    ///
    /// # Errors
    /// It panicked.
    pub fn run<T: Send + 'static>(
        &self,
        what: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Failed> {
        let (tell, told) = channel();
        let job: Job = Box::new(move || {
            let _ = tell.send(what());
        });
        let jobs = self.jobs.as_ref().ok_or("the namespace is gone")?;
        jobs.send(job).map_err(|_| "the namespace is gone")?;
        Ok(told.recv()?)
    }

    /// Where we are, seen from inside.
    #[must_use]
    pub const fn outside(&self) -> IpAddr {
        IpAddr::V4(self.cable.near_address)
    }

    /// What of the packets is lost from now on; requests are those from inside.
    ///
    /// # Errors
    /// What `ip` says.
    pub fn lose(&self, lost: Lost) -> Result<(), Failed> {
        let (requests, answers) = match lost {
            Lost::Nothing => (false, false),
            Lost::Requests => (true, false),
            Lost::Answers => (false, true),
            Lost::Both => (true, true),
        };
        let Cable { near, far, near_address, far_address } = self.cable.clone();
        let mac = |lost, right| if lost { NOBODYS_MAC } else { right };
        let inside = neighbour(near_address, mac(requests, NEAR_MAC), &far);
        self.run(move || ip(&inside))??;
        ip(&neighbour(far_address, mac(answers, FAR_MAC), &near))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        // Gone with the other end, unless that is still held.
        let _ = ip(&format!("link del {}", self.cable.near));
    }
}

impl Cable {
    /// Names and addresses that no other test has: by process and number.
    fn new() -> Result<Self, Failed> {
        static NEXT: AtomicU8 = AtomicU8::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        if number >= MOST {
            return Err(format!("more than {MOST} namespaces").into());
        }
        let process = std::process::id();
        let [.., second, third] = process.to_be_bytes();
        let address = |last| Ipv4Addr::new(10, second, third, number * 4 + last);
        Ok(Self {
            near: format!("g{process}n{number}"),
            far: format!("g{process}f{number}"),
            near_address: address(1),
            far_address: address(2),
        })
    }
}

fn neighbour(address: Ipv4Addr, mac: &str, interface: &str) -> String {
    format!("neigh replace {address} lladdr {mac} dev {interface} nud permanent")
}

fn ip(arguments: &str) -> Result<(), Failed> {
    let output = Command::new("ip").args(arguments.split(' ')).output()?;
    match output.status.success() {
        true => Ok(()),
        false => {
            let said = String::from_utf8_lossy(&output.stderr);
            Err(format!("ip {arguments}: {}", said.trim()).into())
        }
    }
}

/// Of one process: subnets of four addresses in 256.
const MOST: u8 = 64;
/// Locally administered.
const NEAR_MAC: &str = "02:00:00:00:00:01";
const FAR_MAC: &str = "02:00:00:00:00:02";
const NOBODYS_MAC: &str = "02:00:00:00:00:99";
