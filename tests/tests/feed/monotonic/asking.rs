//! Clients that ask every worker all the time, and remember when they asked, when the answer was there
//! and where the worker was.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use gatepass_engine::position::Position;
use gatepass_envoy::Envoy;
use gatepass_tests::kit::seen::Seen;
use gatepass_tests::kit::wire::{Connection, Response, WireError};

use super::{IN, WORKERS, request};
use crate::gated::{each_of, pause};

/// One client to each worker.
pub(super) struct Asking {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    /// Of each client, oldest first; the last are of those who ask late.
    seen: Vec<Mutex<Vec<Seen>>>,
    verdicts: Mutex<BTreeMap<String, usize>>,
    /// What they ask.
    request: Mutex<Vec<u8>>,
    stop: AtomicBool,
}

/// What all clients saw together.
pub(super) struct Told {
    pub(super) seen: Vec<Seen>,
    /// How many answers said what.
    pub(super) verdicts: BTreeMap<String, usize>,
    /// The most publishes of an epoch between two answers of one worker to the same client.
    pub(super) widest_jump: u64,
}

impl Asking {
    /// Comes back when every worker allows `gatepass`.
    pub(super) fn start(envoy: &Envoy, gatepass: &str) -> Self {
        let seen = (0..=WORKERS).map(|_| Mutex::default()).collect();
        let request = request(gatepass);
        let shared = Arc::new(Shared {
            seen,
            verdicts: Mutex::default(),
            request: Mutex::new(request.clone()),
            stop: AtomicBool::new(false),
        });
        let threads = each_of(envoy, IN, WORKERS as usize).into_iter().enumerate().map(
            |(client, mut connection)| {
                let start = Instant::now();
                while connection.exchange(&request).unwrap().verdict() != "200" {
                    assert!(start.elapsed() < PATIENCE, "a worker hears nothing");
                    pause();
                }
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || shared.ask(client, connection))
            },
        );
        let threads = threads.collect();
        Self { shared, threads }
    }

    /// From the next request on.
    pub(super) fn ask_with(&self, gatepass: &str) {
        *self.shared.request.lock().unwrap() = request(gatepass);
    }

    pub(super) fn count(&self) -> usize {
        self.shared.seen.iter().map(|seen| seen.lock().unwrap().len()).sum()
    }

    /// Waits until one worker has answered from there.
    pub(super) fn until(&self, position: Position) {
        self.wait("no worker gets there", |reached| reached.iter().any(|at| *at >= Some(position)));
    }

    /// Waits until every worker has.
    pub(super) fn until_all(&self, position: Position) {
        self.wait("a worker does not get there", |reached| {
            reached.iter().all(|at| *at >= Some(position))
        });
    }

    /// Waits for so many answers more.
    pub(super) fn until_more(&self, answers: u64) {
        let enough = self.count() + usize::try_from(answers).unwrap();
        self.wait("nobody answers", |_| self.count() >= enough);
    }

    fn wait(&self, otherwise: &str, is: impl Fn(&[Option<Position>]) -> bool) {
        let start = Instant::now();
        let last = |seen: &Mutex<Vec<Seen>>| seen.lock().unwrap().last().and_then(|s| s.position);
        let clients = WORKERS as usize;
        loop {
            let reached: Vec<_> = self.shared.seen.iter().take(clients).map(last).collect();
            if is(&reached) {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "{otherwise}: {reached:?}");
            pause();
        }
    }

    pub(super) fn add(&self, late: Vec<(Seen, String)>) {
        for (seen, verdict) in late {
            self.shared.keep(WORKERS as usize, seen, verdict);
        }
    }

    pub(super) fn end(self) -> Told {
        self.shared.stop.store(true, Ordering::SeqCst);
        for thread in self.threads {
            thread.join().unwrap();
        }
        let each = self.shared.seen.iter().map(|seen| seen.lock().unwrap().clone());
        let each: Vec<Vec<Seen>> = each.collect();
        let jump = |before: &Seen, after: &Seen| match (before.position, after.position) {
            (Some(before), Some(after)) if before.epoch == after.epoch => {
                after.sequence.saturating_sub(before.sequence)
            }
            _ => 0,
        };
        let pairs = each.iter().take(WORKERS as usize).flat_map(|seen| seen.windows(2));
        Told {
            widest_jump: pairs.map(|pair| jump(&pair[0], &pair[1])).max().unwrap_or(0),
            seen: each.into_iter().flatten().collect(),
            verdicts: self.shared.verdicts.lock().unwrap().clone(),
        }
    }
}

impl Shared {
    fn ask(&self, client: usize, mut connection: Connection) {
        while !self.stop.load(Ordering::SeqCst) {
            let request = self.request.lock().unwrap().clone();
            let started = Instant::now();
            connection.send(&request).unwrap();
            let (seen, verdict) = answer(&mut connection, started);
            self.keep(client, seen, verdict);
            std::thread::sleep(BETWEEN);
        }
    }

    fn keep(&self, client: usize, seen: Seen, verdict: String) {
        self.seen[client].lock().unwrap().push(seen);
        *self.verdicts.lock().unwrap().entry(verdict).or_default() += 1;
    }
}

/// Requests that were sent after the newest answers had been read, to workers of which some may stand
/// still.
pub(super) struct Late {
    sent: Vec<(Connection, Instant)>,
}

impl Late {
    /// New connections: the system hands them out over all workers, also over those that stand still.
    pub(super) fn ask(envoy: &Envoy, gatepass: &str) -> Self {
        let (listener, request) = (envoy.address(IN).unwrap(), request(gatepass));
        let sent = (0..LATE * WORKERS).map(|_| {
            let mut connection = Connection::open(listener).unwrap();
            let started = Instant::now();
            connection.send(&request).unwrap();
            (connection, started)
        });
        Self { sent: sent.collect() }
    }

    pub(super) fn answers(self) -> Vec<(Seen, String)> {
        let sent = self.sent.into_iter();
        sent.map(|(mut connection, started)| answer(&mut connection, started)).collect()
    }
}

/// However long it takes: its worker may stand still.
fn answer(connection: &mut Connection, started: Instant) -> (Seen, String) {
    let received: Response = loop {
        match connection.receive() {
            Ok(received) => break received,
            Err(WireError::Io(error)) if error.kind() == std::io::ErrorKind::WouldBlock => {
                assert!(started.elapsed() < PATIENCE, "never answered");
            }
            Err(error) => panic!("{error}"),
        }
    };
    let ended = Instant::now();
    let seen = Seen::of(started, ended, &received).expect("the gate says where it is");
    (seen, received.verdict())
}

/// Between two requests of a client: enough of them, and a core left for who publishes.
const BETWEEN: Duration = Duration::from_micros(500);
/// Late requests for each worker.
const LATE: u32 = 6;
/// More than a debug build takes for a thousand publishes on a busy machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);
