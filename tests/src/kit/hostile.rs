//! A feed that says what the test chooses, poll by poll, and keeps what it was asked: an HTTP/1.1
//! server on plain sockets, so that it can hang, break off, or answer what no server would.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use gatepass_engine::position::Position;

/// Serves on a port of the system's choice until the process ends.
#[derive(Clone)]
pub struct HostileFeed {
    address: SocketAddr,
    shared: Arc<Shared>,
}

/// What one poll is answered. It is asked again every few milliseconds while it says
/// [`Answer::Later`], and after another conduct was chosen.
pub type Conduct = dyn Fn(&Poll) -> Answer + Send + Sync;

/// One poll as it arrived.
#[derive(Clone, Debug)]
pub struct Poll {
    pub at: Instant,
    /// Path and query.
    pub target: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
}

/// One answer.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Nothing yet.
    Later,
    /// 200 with this body.
    Body(Vec<u8>),
    /// These bytes as they are, then the connection is closed.
    Raw(Vec<u8>),
    /// The connection is reset (RST) without an answer.
    Reset,
    /// Never, on this connection, whatever is chosen later.
    Hang,
}

struct Shared {
    conduct: Mutex<Arc<Conduct>>,
    chosen: Condvar,
    polls: Mutex<Vec<Poll>>,
}

impl HostileFeed {
    /// Starts with a conduct.
    ///
    /// # Errors
    /// No port could be had.
    pub fn start(
        conduct: impl Fn(&Poll) -> Answer + Send + Sync + 'static,
    ) -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let feed = Self {
            address: listener.local_addr()?,
            shared: Arc::new(Shared {
                conduct: Mutex::new(Arc::new(conduct)),
                chosen: Condvar::new(),
                polls: Mutex::default(),
            }),
        };
        let shared = Arc::clone(&feed.shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || serve(stream, &shared));
            }
        });
        Ok(feed)
    }

    /// From now on polls are answered like this, those that wait included.
    pub fn conduct(&self, conduct: impl Fn(&Poll) -> Answer + Send + Sync + 'static) {
        *lock(&self.shared.conduct) = Arc::new(conduct);
        self.shared.chosen.notify_all();
    }

    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The polls that arrived since then, oldest first.
    #[must_use]
    pub fn polls(&self, since: Instant) -> Vec<Poll> {
        let polls = lock(&self.shared.polls);
        polls.iter().filter(|poll| poll.at >= since).cloned().collect()
    }

    /// The most polls that arrived within `span` of each other since then.
    #[must_use]
    pub fn most_within(&self, span: Duration, since: Instant) -> usize {
        let times: Vec<Instant> = self.polls(since).iter().map(|poll| poll.at).collect();
        let within = |first: &Instant| {
            let after = times.iter().filter(|time| *time >= first);
            after.filter(|time| time.duration_since(*first) < span).count()
        };
        times.iter().map(within).max().unwrap_or(0)
    }
}

impl Poll {
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value.as_str())
    }

    /// A parameter of the query, as it stands there.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let (_, query) = self.target.split_once('?')?;
        query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
    }

    /// What the gate says it has.
    #[must_use]
    pub fn after(&self) -> Option<Position> {
        self.parameter("after")?.parse().ok()
    }

    /// How long the gate is ready to wait.
    #[must_use]
    pub fn wait(&self) -> Duration {
        let seconds = self.parameter("wait").and_then(|wait| wait.parse().ok());
        Duration::from_secs(seconds.unwrap_or(0))
    }

    /// Since the poll arrived.
    #[must_use]
    pub fn waited(&self) -> Duration {
        self.at.elapsed()
    }
}

impl Answer {
    /// A status with this body.
    #[must_use]
    pub fn status(status: u16, body: &[u8]) -> Self {
        let length = body.len();
        let head = format!("HTTP/1.1 {status} Said\r\ncontent-length: {length}\r\n\r\n");
        Self::Raw([head.as_bytes(), body].concat())
    }
}

/// Ends with the connection; an error on it is the peer's.
fn serve(mut stream: TcpStream, shared: &Shared) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    loop {
        let head = peeked_head(&stream)?;
        let poll = read_poll(&head)?;
        if poll.target == "/v1/decisions" {
            // Records of decisions are taken and not looked at: conducts are about polls.
            let body = poll.header("content-length").parse::<usize>().ok()?;
            stream.read_exact(&mut vec![0; head.len().checked_add(body)?]).ok()?;
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").ok()?;
            continue;
        }
        lock(&shared.polls).push(poll.clone());
        let answer = decided(&poll, shared);
        if let Answer::Reset = answer {
            // Closed with the request unread, which the kernel answers with a reset.
            return None;
        }
        stream.read_exact(&mut vec![0; head.len()]).ok()?;
        match answer {
            Answer::Body(body) => {
                let length = body.len();
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
                stream.write_all(&[head.as_bytes(), &body].concat()).ok()?;
            }
            Answer::Raw(bytes) => {
                stream.write_all(&bytes).ok()?;
                return None;
            }
            Answer::Hang => {
                // Until the peer gives up.
                stream.read_exact(&mut [0]).ok()?;
                return None;
            }
            Answer::Later | Answer::Reset => return None,
        }
    }
}

/// Asks the conduct until it has an answer. A peer that gives up meanwhile is found out when it is
/// written to.
fn decided(poll: &Poll, shared: &Shared) -> Answer {
    loop {
        let conduct = Arc::clone(&lock(&shared.conduct));
        match conduct(poll) {
            Answer::Later => {}
            answer => return answer,
        }
        let chosen = lock(&shared.conduct);
        drop(shared.chosen.wait_timeout(chosen, ASK_AGAIN));
    }
}

fn peeked_head(stream: &TcpStream) -> Option<Vec<u8>> {
    let mut buffer = vec![0; MAX_HEAD_BYTES];
    loop {
        let count = stream.peek(&mut buffer).ok().filter(|count| *count > 0)?;
        let seen = buffer.get(..count)?;
        if let Some(at) = seen.windows(4).position(|end| end == b"\r\n\r\n") {
            return seen.get(..at.checked_add(4)?).map(<[u8]>::to_vec);
        }
        if count == MAX_HEAD_BYTES {
            return None;
        }
        std::thread::yield_now();
    }
}

fn read_poll(head: &[u8]) -> Option<Poll> {
    let head = String::from_utf8_lossy(head).into_owned();
    let mut lines = head.lines();
    let target = lines.next()?.split(' ').nth(1)?.to_owned();
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    Some(Poll { at: Instant::now(), target, headers })
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const MAX_HEAD_BYTES: usize = 16 * 1024;
const ASK_AGAIN: Duration = Duration::from_millis(5);
