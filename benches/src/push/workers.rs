//! One kept-alive connection to each worker, all asked at once.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use gatepass_tests::kit::seen::Seen;
use gatepass_tests::kit::wire::{Connection, Response};
use gatepass_tests::kit::world::bearing;

pub(crate) struct Workers {
    connections: Vec<Connection>,
    /// Every answer so far.
    pub(crate) seen: Vec<Seen>,
}

impl Workers {
    /// Opens connections until each of `count` workers has one, and waits until all of them allow
    /// `gatepass`.
    pub(crate) fn reach(listener: SocketAddr, count: usize, gatepass: &str) -> Self {
        let request = bearing("GET", "/orders", Some(gatepass));
        let start = Instant::now();
        let mut found: Vec<(String, Connection)> = Vec::new();
        while found.len() < count {
            assert!(start.elapsed() < PATIENCE, "{} of {count} workers were reached", found.len());
            let mut connection = Connection::open(listener).unwrap();
            let answer = connection.exchange(&request).unwrap();
            let vm = answer.header("x-gatepass-vm").unwrap_or_default();
            if answer.status == 200 && !found.iter().any(|(known, _)| known == vm) {
                found.push((vm.to_owned(), connection));
            }
        }
        let connections = found.into_iter().map(|(_, connection)| connection).collect();
        Self { connections, seen: Vec::new() }
    }

    pub(crate) const fn count(&self) -> usize {
        self.connections.len()
    }

    /// How many workers allow this request.
    pub(crate) fn allowing(&mut self, request: &[u8]) -> usize {
        let all: Vec<usize> = (0..self.connections.len()).collect();
        self.ask(&all, request).into_iter().filter(|(_, answer, _)| answer.status == 200).count()
    }

    /// Asks those workers that have not refused yet, round by round, until none is left. From now to
    /// the first worker's first refusal, and to the last's.
    pub(crate) fn until_refused(&mut self, request: &[u8]) -> (Duration, Duration) {
        let start = Instant::now();
        let (mut first, mut last) = (None, start);
        let mut pending: Vec<usize> = (0..self.connections.len()).collect();
        loop {
            let round = Instant::now();
            let mut left = Vec::new();
            for (worker, answer, ended) in self.ask(&pending, request) {
                match answer.verdict().as_str() {
                    "200" => left.push(worker),
                    "401 revoked_credential" => {
                        first.get_or_insert(ended);
                        last = ended;
                    }
                    other => panic!("worker {worker} said `{other}`"),
                }
            }
            if left.is_empty() {
                return (first.unwrap_or(last) - start, last - start);
            }
            assert!(start.elapsed() < PATIENCE, "workers {left:?} still allow it");
            pending = left;
            // Bounded, or the client would be the load that it measures.
            std::thread::sleep(ROUND.saturating_sub(round.elapsed()));
        }
    }

    /// The request goes to all of them before any answer is read.
    fn ask(&mut self, workers: &[usize], request: &[u8]) -> Vec<(usize, Response, Instant)> {
        let mut started = Vec::with_capacity(workers.len());
        for worker in workers {
            started.push(Instant::now());
            self.connections[*worker].send(request).unwrap();
        }
        let mut out = Vec::with_capacity(workers.len());
        for (worker, started) in workers.iter().zip(started) {
            let answer = self.connections[*worker].receive().unwrap();
            let ended = Instant::now();
            self.seen.extend(Seen::of(started, ended, &answer));
            out.push((*worker, answer, ended));
        }
        out
    }
}

/// From one round of questions to the next.
pub(crate) const ROUND: Duration = Duration::from_millis(1);
const PATIENCE: Duration = Duration::from_secs(20);
