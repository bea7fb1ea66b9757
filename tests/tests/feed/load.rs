//! Clients that ask all the time while a test changes things, and hold each answer against what it
//! must be.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use gatepass_tests::kit::wire::Connection;
use gatepass_tests::kit::world::bearing;

use crate::gated::pause;

/// Stops when it is dropped.
pub(crate) struct Load {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    cases: Mutex<Vec<Case>>,
    /// Counts each time that a client has asked everything in its list.
    rounds: [AtomicU64; CLIENTS],
    answers: AtomicU64,
    wrong: Mutex<Vec<String>>,
    stop: AtomicBool,
}

#[derive(Clone)]
struct Case {
    token: String,
    expected: &'static str,
}

impl Load {
    pub(crate) fn start(address: SocketAddr, path: &'static str) -> Self {
        let shared = Arc::new(Shared::default());
        let client = |number: usize| {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || shared.ask(number, address, path))
        };
        let clients = (0..CLIENTS).map(client).collect();
        Self { shared, clients }
    }

    /// From now on a gatepass must be answered this, by every worker; the oldest of as many as are
    /// asked with gives way.
    pub(crate) fn expect(&self, token: &str, expected: &'static str) {
        let mut cases = lock(&self.shared.cases);
        cases.retain(|case| case.token != token);
        let of_kind = cases.iter().filter(|case| case.expected == expected).count();
        if of_kind >= MOST_OF_A_KIND
            && let Some(oldest) = cases.iter().position(|case| case.expected == expected)
        {
            cases.remove(oldest);
        }
        cases.push(Case { token: token.to_owned(), expected });
    }

    /// Asks no more with those that had to be answered this, and returns when nobody does.
    pub(crate) fn forget(&self, expected: &'static str) {
        lock(&self.shared.cases).retain(|case| case.expected != expected);
        let before = self.rounds();
        // The round in progress had the old list.
        self.wait("clients go on", || {
            self.rounds().iter().zip(&before).all(|(now, before)| *now >= before + 2)
        });
    }

    /// Waits until so many more answers have come.
    pub(crate) fn grow(&self, answers: u64) {
        let goal = self.shared.answers.load(Ordering::SeqCst) + answers;
        self.wait("answers come", || self.shared.answers.load(Ordering::SeqCst) >= goal);
    }

    /// How many answers there were, and those that were wrong.
    pub(crate) fn stop(mut self) -> (u64, Vec<String>) {
        self.shared.stop.store(true, Ordering::SeqCst);
        for client in self.clients.drain(..) {
            client.join().unwrap();
        }
        (self.shared.answers.load(Ordering::SeqCst), lock(&self.shared.wrong).clone())
    }

    fn rounds(&self) -> Vec<u64> {
        self.shared.rounds.iter().map(|rounds| rounds.load(Ordering::SeqCst)).collect()
    }

    fn wait(&self, what: &str, is: impl Fn() -> bool) {
        let start = Instant::now();
        while !is() {
            assert!(self.clients.iter().all(|client| !client.is_finished()), "a client ended");
            assert!(start.elapsed() < LONG, "not yet: {what}");
            pause();
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
    }
}

impl Shared {
    fn ask(&self, number: usize, address: SocketAddr, path: &str) {
        let mut connection = Connection::open(address).unwrap();
        while !self.stop.load(Ordering::SeqCst) {
            let cases = lock(&self.cases).clone();
            if cases.is_empty() {
                pause();
            }
            for Case { token, expected } in cases {
                let response = connection.exchange(&bearing("GET", path, Some(&token))).unwrap();
                let verdict = response.verdict();
                if verdict != expected {
                    lock(&self.wrong).push(format!("`{verdict}` instead of `{expected}`"));
                }
                self.answers.fetch_add(1, Ordering::SeqCst);
            }
            self.rounds[number].fetch_add(1, Ordering::SeqCst);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const CLIENTS: usize = 4;
const MOST_OF_A_KIND: usize = 8;
/// Of a condition that comes in seconds where nothing else runs.
pub(crate) const LONG: Duration = Duration::from_secs(60);
