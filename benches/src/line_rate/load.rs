//! The load: one thread that keeps connections busy, with requests that were made before.
//!
//! Closed: each free place sends the next request at once, which finds the most that Envoy can do.
//! Open: requests fall due at a constant rate whether or not answers come, and times count from when
//! a request fell due, so that a stall is seen in all the requests that it delayed.

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};
use rustix::fd::OwnedFd;

use super::Failed;
use super::http1::Http1;
use super::http2::Http2;
use super::request::Asked;

/// What is asked of whom.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load<'a> {
    pub(crate) address: SocketAddr,
    /// Over HTTP/2 only [`super::request::READ`] is known.
    pub(crate) asked: &'a Asked,
    pub(crate) http: Http,
    pub(crate) pace: Pace,
    pub(crate) lasting: Duration,
    pub(crate) expected: &'a Expected,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Http {
    One,
    Two,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    Closed,
    /// Requests a second.
    Open(f64),
}

/// Every answer must be this; one that is not voids the row.
#[derive(Clone, Debug)]
pub(crate) struct Expected {
    pub(crate) status: u16,
    /// Somewhere in the body.
    pub(crate) text: &'static str,
}

/// One answer, its bytes as they came.
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    pub(crate) body: &'a [u8],
}

pub(crate) struct Outcome {
    pub(crate) answered: u64,
    pub(crate) unexpected: u64,
    /// The first answer that was not expected.
    pub(crate) example: Option<String>,
    /// Until the last answer.
    pub(crate) lasted: Duration,
    /// Of each request.
    pub(crate) times: Vec<Duration>,
}

/// What is presented, one after the other; `None` when there is no more.
pub(crate) trait Credentials {
    fn next(&mut self) -> Option<Option<&str>>;
}

impl Load<'_> {
    pub(crate) fn run(&self, credentials: &mut dyn Credentials) -> Result<Outcome, Failed> {
        let mut driver = Driver::open(self)?;
        let start = Instant::now();
        let end = start + self.lasting;
        let mut sent: u64 = 0;
        let mut last = start;
        loop {
            let now = Instant::now();
            while now < end && !driver.exhausted {
                let due = match self.pace {
                    Pace::Closed => now,
                    Pace::Open(rate) => start + Duration::from_secs_f64(sent as f64 / rate),
                };
                if due > now || !driver.send(due, self.asked, credentials)? {
                    break;
                }
                sent += 1;
            }
            let over = now >= end || driver.exhausted;
            if over && driver.waiting == 0 {
                break;
            }
            if now > end + PATIENCE {
                return Err(format!("{} requests were never answered", driver.waiting).into());
            }
            let wake = match self.pace {
                Pace::Open(rate) if !over && !driver.free.is_empty() => {
                    let due = start + Duration::from_secs_f64(sent as f64 / rate);
                    due.saturating_duration_since(Instant::now())
                }
                Pace::Open(_) | Pace::Closed => Duration::from_millis(50),
            };
            if driver.wait(wake, self.expected)? {
                last = Instant::now();
            }
        }
        let mut outcome = driver.outcome;
        outcome.lasted = last - start;
        outcome.times.sort_unstable();
        Ok(outcome)
    }
}

struct Driver {
    epoll: OwnedFd,
    connections: Vec<Connection>,
    /// Places that wait for nothing, by connection.
    free: VecDeque<usize>,
    waiting: usize,
    exhausted: bool,
    outcome: Outcome,
}

struct Connection {
    stream: TcpStream,
    protocol: Protocol,
    unread: Vec<u8>,
    unsent: Vec<u8>,
}

enum Protocol {
    One(Http1),
    Two(Box<Http2>),
}

impl Driver {
    fn open(load: &Load<'_>) -> Result<Self, Failed> {
        let (connections, places) = match load.http {
            Http::One => (PLACES, 1),
            Http::Two => (PLACES / STREAMS, STREAMS),
        };
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let opened: Result<Vec<Connection>, Failed> = (0..connections)
            .map(|at| {
                let stream = TcpStream::connect(load.address)?;
                stream.set_nodelay(true)?;
                stream.set_nonblocking(true)?;
                let data = epoll::EventData::new_u64(at as u64);
                epoll::add(&epoll, &stream, data, epoll::EventFlags::IN)?;
                let protocol = match load.http {
                    Http::One => Protocol::One(Http1::default()),
                    Http::Two => Protocol::Two(Box::default()),
                };
                let mut out = Connection {
                    stream,
                    protocol,
                    unread: Vec::with_capacity(1 << 16),
                    unsent: Vec::new(),
                };
                if let Protocol::Two(http) = &mut out.protocol {
                    http.greet(&mut out.unsent);
                }
                out.flush()?;
                Ok(out)
            })
            .collect();
        Ok(Self {
            epoll,
            connections: opened?,
            free: (0..places).flat_map(|_| 0..connections).collect(),
            waiting: 0,
            exhausted: false,
            outcome: Outcome {
                answered: 0,
                unexpected: 0,
                example: None,
                lasted: Duration::ZERO,
                times: Vec::new(),
            },
        })
    }

    /// False when no place is free, or there is no credential left.
    fn send(
        &mut self,
        due: Instant,
        asked: &Asked,
        credentials: &mut dyn Credentials,
    ) -> Result<bool, Failed> {
        let Some(&at) = self.free.front() else { return Ok(false) };
        let Some(credential) = credentials.next() else {
            self.exhausted = true;
            return Ok(false);
        };
        let Some(connection) = self.connections.get_mut(at) else { return Ok(false) };
        match &mut connection.protocol {
            Protocol::One(http) => http.request(asked, credential, due, &mut connection.unsent),
            Protocol::Two(http) => http.request(credential, due, &mut connection.unsent),
        }
        connection.flush()?;
        self.free.pop_front();
        self.waiting += 1;
        Ok(true)
    }

    /// Reads what came; whether anything was answered.
    fn wait(&mut self, most: Duration, expected: &Expected) -> Result<bool, Failed> {
        let timeout = Timespec::try_from(most)?;
        let mut events = Vec::with_capacity(PLACES);
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&timeout))
        {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        let before = self.outcome.answered;
        for event in events {
            let at = usize::try_from(event.data.u64())?;
            let Some(connection) = self.connections.get_mut(at) else { continue };
            connection.read()?;
            let Connection { protocol, unread, unsent, .. } = connection;
            let (free, waiting, outcome) = (&mut self.free, &mut self.waiting, &mut self.outcome);
            let mut take = |due: Instant, answer: &Answer<'_>| {
                outcome.note(due.elapsed(), answer, expected);
                free.push_back(at);
                *waiting -= 1;
            };
            match protocol {
                Protocol::One(http) => http.answers(unread, &mut take)?,
                Protocol::Two(http) => http.answers(unread, unsent, &mut take)?,
            }
            connection.flush()?;
        }
        Ok(self.outcome.answered > before)
    }
}

impl Connection {
    fn read(&mut self) -> Result<(), Failed> {
        let mut buffer = [0; 1 << 16];
        match self.stream.read(&mut buffer) {
            Ok(0) => Err("Envoy closed a connection".into()),
            Ok(count) => {
                self.unread.extend(buffer.iter().take(count));
                Ok(())
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Most requests are small beside a socket's buffer: one that does not take them is given time.
    fn flush(&mut self) -> Result<(), Failed> {
        let mut rest = self.unsent.as_slice();
        while !rest.is_empty() {
            match self.stream.write(rest) {
                Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    std::thread::yield_now();
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.unsent.clear();
        Ok(())
    }
}

impl Outcome {
    fn note(&mut self, took: Duration, answer: &Answer<'_>, expected: &Expected) {
        self.answered += 1;
        self.times.push(took);
        let text = expected.text.as_bytes();
        let said = text.is_empty() || answer.body.windows(text.len()).any(|part| part == text);
        if answer.status != expected.status || !said {
            self.unexpected += 1;
            self.example.get_or_insert_with(|| {
                format!("{} {}", answer.status, String::from_utf8_lossy(answer.body))
            });
        }
    }

    /// The time that so many of a thousand requests took at most.
    pub(crate) fn per_mille(&self, per_mille: usize) -> Duration {
        let at = self.times.len().saturating_mul(per_mille) / 1000;
        self.times.get(at.min(self.times.len().saturating_sub(1))).copied().unwrap_or_default()
    }
}

/// Requests in flight at most.
const PLACES: usize = 32;
/// Of one HTTP/2 connection.
const STREAMS: usize = 8;
const PATIENCE: Duration = Duration::from_secs(5);
