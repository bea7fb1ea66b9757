//! Operators who revoke without a pause, each over a connection that is opened again when it breaks.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

use gatepass_engine::position::Position;
use gatepass_tests::kit::desk::Desk;
use gatepass_tests::kit::wire::Connection;
use serde_json::{Value, json};

use super::asking::PATIENCE;
use crate::gated::pause;

pub(super) struct Publishing {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    admin: SocketAddr,
    token: String,
    done: AtomicU64,
    newest: Mutex<Option<Position>>,
    stop: AtomicBool,
}

impl Publishing {
    pub(super) fn start(desk: &Desk) -> Self {
        let shared = Arc::new(Shared {
            admin: desk.admin(),
            token: desk.token().to_owned(),
            done: AtomicU64::new(0),
            newest: Mutex::new(None),
            stop: AtomicBool::new(false),
        });
        let threads = (0..OPERATORS).map(|operator| {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || shared.revoke(operator))
        });
        Self { threads: threads.collect(), shared }
    }

    /// Waits for so many publishes more than there are now; where they led.
    pub(super) fn wait(&self, publishes: u64) -> Position {
        let start = Instant::now();
        let enough = self.shared.done.load(Ordering::SeqCst) + publishes;
        while self.shared.done.load(Ordering::SeqCst) < enough {
            assert!(start.elapsed() < PATIENCE, "{publishes} publishes took too long");
            pause();
        }
        self.shared.newest.lock().unwrap().unwrap()
    }

    pub(super) fn end(self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        for thread in self.threads {
            thread.join().unwrap();
        }
    }
}

impl Shared {
    fn revoke(&self, operator: u64) {
        let mut connection = None;
        let mut number = 0_u64;
        while !self.stop.load(Ordering::SeqCst) {
            let Some(open) = connection.as_mut() else {
                // Nobody listens between two lives of the control plane.
                connection = Connection::open(self.admin).ok();
                pause();
                continue;
            };
            number += 1;
            match self.post(open, &format!("never-issued-{operator}-{number}")) {
                Some(position) => {
                    let mut newest = self.newest.lock().unwrap();
                    *newest = (*newest).max(Some(position));
                    drop(newest);
                    self.done.fetch_add(1, Ordering::SeqCst);
                }
                None => connection = None,
            }
        }
    }

    /// `None` when the connection broke.
    fn post(&self, connection: &mut Connection, jti: &str) -> Option<Position> {
        let body = json!({ "kind": "credential", "id": jti, "reason": "a test" }).to_string();
        let request = format!(
            "POST /v1/revocations HTTP/1.1\r\nhost: desk\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.token,
            body.len()
        );
        let answer = connection.exchange(request.as_bytes()).ok()?;
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(answer.status, 200, "{body}");
        Some(body["position"].as_str().unwrap().parse().unwrap())
    }
}

/// Together they fill the groups that the control plane commits.
const OPERATORS: u64 = 4;
