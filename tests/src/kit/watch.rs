//! Asks the same of an Envoy all the time, and keeps when and what it was answered.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::wire::Connection;
use super::world::{Failed, bearing};

/// One client, until it is dropped.
#[derive(Debug)]
pub struct Watch {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    what: String,
    answers: Mutex<Vec<Told>>,
    over: AtomicBool,
}

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Before the request was sent: it was decided later than this.
    pub started: Instant,
    /// As [`super::wire::Response::verdict`]; what went wrong where there was no answer.
    pub verdict: String,
}

impl Told {
    fn is_allow(&self) -> bool {
        self.verdict == "200"
    }
}

impl Watch {
    /// `what` names it when a test fails. The connection is made where the calling thread is.
    #[must_use]
    pub fn start(what: &str, listener: SocketAddr, path: &str, gatepass: &str) -> Self {
        let shared = Arc::new(Shared {
            what: what.to_owned(),
            answers: Mutex::default(),
            over: AtomicBool::new(false),
        });
        let asking = Arc::clone(&shared);
        let request = bearing("GET", path, Some(gatepass));
        std::thread::spawn(move || asking.ask(listener, &request));
        Self { shared }
    }

    /// The first answer like this to a request that begins from now on.
    ///
    /// # Errors
    /// The time is over; the last answers are named.
    pub fn until(&self, verdict: &str, within: Duration) -> Result<Told, Failed> {
        let begun = Instant::now();
        loop {
            let since = self.since(begun);
            if let Some(told) = since.iter().find(|told| told.verdict == verdict) {
                return Ok(told.clone());
            }
            if begun.elapsed() > within {
                let last = since.last().map(|told| told.verdict.as_str());
                let what = &self.shared.what;
                return Err(format!("{what}: no `{verdict}` within {within:?}, {last:?}").into());
            }
            std::thread::sleep(BETWEEN);
        }
    }

    /// Answers to requests that began from then on.
    #[must_use]
    pub fn since(&self, begun: Instant) -> Vec<Told> {
        self.all().into_iter().filter(|told| told.started >= begun).collect()
    }

    /// Every answer so far, oldest first.
    #[must_use]
    pub fn all(&self) -> Vec<Told> {
        self.shared.answers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Of the requests that began from then on until `end`, how many were let through.
    #[must_use]
    pub fn allows_between(&self, begun: Instant, end: Instant) -> usize {
        self.since(begun).iter().filter(|told| told.started < end && told.is_allow()).count()
    }

    /// When the last request began that was let through.
    #[must_use]
    pub fn last_allow(&self) -> Option<Instant> {
        self.all().iter().rfind(|told| told.is_allow()).map(|told| told.started)
    }

    /// What it asks for, in a test's words.
    #[must_use]
    pub fn what(&self) -> &str {
        &self.shared.what
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
    }
}

impl Shared {
    fn ask(&self, listener: SocketAddr, request: &[u8]) {
        let mut connection = None;
        while !self.over.load(Ordering::SeqCst) {
            let started = Instant::now();
            let open = match connection.take() {
                Some(open) => Ok(open),
                None => Connection::open(listener),
            };
            let answered = open.and_then(|mut open: Connection| {
                let answer = open.exchange(request)?;
                Ok((answer, open))
            });
            let verdict = match answered {
                Ok((answer, open)) => {
                    connection = Some(open);
                    answer.verdict()
                }
                Err(error) => error.to_string(),
            };
            let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
            answers.push(Told { started, verdict });
            drop(answers);
            std::thread::sleep(BETWEEN);
        }
    }
}

/// Between two requests: dozens of clients share the machine with what they watch.
const BETWEEN: Duration = Duration::from_millis(50);
