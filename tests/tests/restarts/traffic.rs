//! Clients that ask without a pause, and count what was not answered as it should be.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use gatepass_tests::kit::wire::Connection;
use gatepass_tests::kit::world::bearing;

/// Running clients.
pub(crate) struct Traffic {
    stop: Arc<AtomicBool>,
    answers: Arc<Mutex<BTreeMap<String, u64>>>,
    again: Arc<AtomicU64>,
    clients: Vec<JoinHandle<()>>,
}

impl Traffic {
    /// Each asks on a connection that it keeps until the server closes it.
    pub(crate) fn start(address: SocketAddr, asks: &[(&'static str, Option<String>)]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let answers: Arc<Mutex<BTreeMap<String, u64>>> = Arc::default();
        let again: Arc<AtomicU64> = Arc::default();
        let clients = asks.iter().cloned().map(|(path, gatepass)| {
            let (stop, answers) = (Arc::clone(&stop), Arc::clone(&answers));
            let again = Arc::clone(&again);
            std::thread::spawn(move || {
                let mut kept = None;
                while !stop.load(Ordering::Relaxed) {
                    let verdict = ask(&mut kept, &again, address, path, gatepass.as_deref());
                    let mut all = answers.lock().unwrap_or_else(PoisonError::into_inner);
                    *all.entry(format!("{path} {verdict}")).or_default() += 1;
                }
            })
        });
        let clients = clients.collect();
        Self { stop, answers, again, clients }
    }

    /// Requests that were sent again because a kept connection was closed under them.
    pub(crate) fn asked_again(&self) -> u64 {
        self.again.load(Ordering::Relaxed)
    }

    /// Answers so far, by path and verdict.
    pub(crate) fn answers(&self) -> BTreeMap<String, u64> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn end(self) -> BTreeMap<String, u64> {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.join().unwrap();
        }
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.clone()
    }
}

/// A server may close a kept connection between two requests, as one that drains does; then a client
/// asks again on a fresh one, which must answer.
fn ask(
    kept: &mut Option<Connection>,
    again: &AtomicU64,
    address: SocketAddr,
    path: &str,
    gatepass: Option<&str>,
) -> String {
    let request = bearing("GET", path, gatepass);
    if let Some(mut connection) = kept.take() {
        if let Ok(response) = connection.exchange(&request) {
            if response.header("connection") != Some("close") {
                *kept = Some(connection);
            }
            return response.verdict();
        }
        again.fetch_add(1, Ordering::Relaxed);
    }
    let fresh = Connection::open(address).and_then(|mut connection| {
        let response = connection.exchange(&request)?;
        Ok((connection, response))
    });
    match fresh {
        Ok((connection, response)) => {
            if response.header("connection") != Some("close") {
                *kept = Some(connection);
            }
            response.verdict()
        }
        Err(error) => error.to_string(),
    }
}
