//! The other traffic: so many requests a second that are allowed, over connections of their own, each
//! sent when it is due whatever became of the last.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use gatepass_tests::kit::seen::Seen;
use gatepass_tests::kit::wire::Connection;
use gatepass_tests::kit::world::bearing;

pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Vec<Seen>>>,
}

impl Load {
    /// [`RATE`] requests a second in all.
    pub(crate) fn start(listener: SocketAddr, gatepass: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let request = bearing("GET", "/orders", Some(gatepass));
        let threads = (0..CONNECTIONS).map(|number| {
            let (stop, request) = (Arc::clone(&stop), request.clone());
            let connection = Connection::open(listener).unwrap();
            std::thread::spawn(move || ask(connection, number, &request, &stop))
        });
        Self { threads: threads.collect(), stop }
    }

    /// Every answer. All of them must have been allowed.
    pub(crate) fn end(self) -> Vec<Seen> {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    }
}

fn ask(mut connection: Connection, number: u32, request: &[u8], stop: &AtomicBool) -> Vec<Seen> {
    let every = Duration::from_secs(1) * CONNECTIONS / RATE;
    let mut due = Instant::now() + every * number / CONNECTIONS;
    let mut seen = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        due += every;
        let started = Instant::now();
        let answer = connection.exchange(request).unwrap();
        let ended = Instant::now();
        assert_eq!(answer.verdict(), "200", "of the load");
        seen.extend(Seen::of(started, ended, &answer));
    }
    seen
}

/// A second.
const RATE: u32 = 200;
const CONNECTIONS: u32 = 8;
