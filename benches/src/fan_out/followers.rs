//! Followers as the feed sees them: each polls over a TLS connection of its own, states what it has, asks
//! again at once after news, and after a failure waits as the filter does (its own code: [`Pace`]).

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use gatepass::roots::PinnedRoots;
use gatepass_engine::batch::{Batch, Feed};
use gatepass_engine::clock::{Milliseconds, Now, UnixSeconds};
use gatepass_engine::envelope::Unverified;
use gatepass_engine::{Gate, Mode, Position, Settings};
use gatepass_filter::pace::Pace;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::kit::Site;
use crate::secure;

pub(crate) struct Followers(Arc<Shared>);

struct Shared {
    feed: SocketAddr,
    trust: TlsConnector,
    start: Instant,
    /// How many begin at once; who comes back after a failure is not asked to wait for it.
    begin: Semaphore,
    each: Vec<Follower>,
    waiting: AtomicI64,
    polls: AtomicU64,
    tries: AtomicU64,
    refused: AtomicU64,
    newest: AtomicU64,
    verifying: usize,
}

#[derive(Default)]
struct Follower {
    /// The newest sequence that it has read.
    sequence: AtomicU64,
    /// Nanoseconds from the start to when it read that.
    at: AtomicU64,
    /// To when the first answer of its newest connection was read.
    back: AtomicU64,
}

/// Waits for all followers to get to a sequence.
pub(crate) struct Heard<'f> {
    shared: &'f Shared,
    sequence: u64,
}

/// Waits for all followers to be answered over a new connection.
pub(crate) struct Returned<'f> {
    shared: &'f Shared,
    since: u64,
    tries: u64,
}

impl Followers {
    pub(crate) fn start(site: &Site, feed: SocketAddr, trust: &TlsConnector, count: usize) -> Self {
        let pinned: PinnedRoots = serde_json::from_str(&site.pinned()).unwrap();
        let shared = Arc::new(Shared {
            feed,
            trust: trust.clone(),
            start: Instant::now(),
            begin: Semaphore::new(AT_ONCE),
            each: (0..count).map(|_| Follower::default()).collect(),
            waiting: AtomicI64::new(0),
            polls: AtomicU64::new(0),
            tries: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            newest: AtomicU64::new(0),
            verifying: count.div_ceil(VERIFIES),
        });
        for number in 0..count {
            let shared = Arc::clone(&shared);
            let gate = number.is_multiple_of(VERIFIES).then(|| gate(&pinned));
            tokio::spawn(async move { shared.follow(number, gate).await });
        }
        Self(shared)
    }

    pub(crate) fn until_all_wait(&self) {
        let all = i64::try_from(self.0.each.len()).unwrap();
        self.0.until("not all wait", |shared| shared.waiting.load(Ordering::SeqCst) == all);
        // What they sent is still to be read at the other end.
        std::thread::sleep(SETTLES);
        self.0.until("not all wait", |shared| shared.waiting.load(Ordering::SeqCst) == all);
    }

    pub(crate) fn until_none_waits(&self) {
        self.0.until("some still wait", |shared| shared.waiting.load(Ordering::SeqCst) == 0);
    }

    /// From here on the next step of the feed counts.
    pub(crate) fn listen(&self) -> Heard<'_> {
        Heard { shared: &self.0, sequence: self.0.newest.load(Ordering::SeqCst) + 1 }
    }

    /// From here on who is answered over a new connection counts.
    pub(crate) fn returns(&self) -> Returned<'_> {
        let tries = self.0.tries.load(Ordering::SeqCst);
        Returned { shared: &self.0, since: self.0.elapsed(), tries }
    }

    /// So many connect at once, and each anew as soon as it has.
    pub(crate) fn storm(&self, at_once: usize) -> Storm {
        let shaken = Arc::new(AtomicU64::new(0));
        let each = (0..at_once).map(|_| {
            let (shared, shaken) = (Arc::clone(&self.0), Arc::clone(&shaken));
            tokio::spawn(async move {
                loop {
                    let opened = tokio::time::timeout(CONNECT_TIMEOUT, shared.open()).await;
                    match opened {
                        Ok(Some(_)) => {
                            shaken.fetch_add(1, Ordering::SeqCst);
                        }
                        // Out of ports, perhaps.
                        Ok(None) | Err(_) => tokio::time::sleep(TICK).await,
                    }
                }
            })
        });
        Storm { each: each.collect(), shaken }
    }

    pub(crate) fn polls(&self) -> u64 {
        self.0.polls.load(Ordering::SeqCst)
    }

    /// Answers other than 200.
    pub(crate) fn refused(&self) -> u64 {
        self.0.refused.load(Ordering::SeqCst)
    }

    pub(crate) fn verifying(&self) -> usize {
        self.0.verifying
    }
}

/// Strangers who connect again and again.
pub(crate) struct Storm {
    shaken: Arc<AtomicU64>,
    each: Vec<tokio::task::JoinHandle<()>>,
}

impl Storm {
    /// Handshakes that came to their end.
    pub(crate) fn shaken(&self) -> u64 {
        self.shaken.load(Ordering::SeqCst)
    }

    pub(crate) fn end(self) {
        self.each.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

impl Heard<'_> {
    /// How long after `since` each had it, sorted.
    pub(crate) fn all(&self, since: Instant) -> Vec<Duration> {
        let has = |one: &Follower| one.sequence.load(Ordering::SeqCst) >= self.sequence;
        self.shared.until("not all heard of it", |shared| shared.each.iter().all(has));
        self.shared.sorted(since, |one| one.at.load(Ordering::SeqCst))
    }
}

impl Returned<'_> {
    pub(crate) fn all(&self, since: Instant) -> Vec<Duration> {
        let is = |one: &Follower| one.back.load(Ordering::SeqCst) > self.since;
        self.shared.until("not all came back", |shared| shared.each.iter().all(is));
        self.shared.sorted(since, |one| one.back.load(Ordering::SeqCst))
    }

    /// Connections tried since.
    pub(crate) fn tries(&self) -> u64 {
        self.shared.tries.load(Ordering::SeqCst) - self.tries
    }
}

impl Shared {
    async fn follow(&self, number: usize, mut gate: Option<Gate>) {
        let mut pace = Pace::default();
        let mut at = None;
        let mut begins = true;
        loop {
            let place = match begins {
                true => Some(self.begin.acquire().await.unwrap()),
                false => None,
            };
            begins = false;
            self.tries.fetch_add(1, Ordering::SeqCst);
            // As Envoy's cluster has it: TCP and TLS together.
            let opened = tokio::time::timeout(CONNECT_TIMEOUT, self.open()).await;
            if let Ok(Some(stream)) = opened {
                let _ = self.polls_on(stream, number, &mut at, &mut gate, &mut pace, place).await;
            }
            pace.failed(self.milliseconds(), random(number, self.elapsed()));
            // The filter looks at its ticks.
            while !pace.may_poll(self.milliseconds()) {
                tokio::time::sleep(TICK).await;
            }
        }
    }

    async fn open(&self) -> Option<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.feed).await.ok()?;
        stream.set_nodelay(true).ok()?;
        let name = ServerName::try_from(secure::NAME).ok()?;
        self.trust.connect(name, stream).await.ok()
    }

    /// Ends with the connection.
    async fn polls_on(
        &self,
        mut stream: TlsStream<TcpStream>,
        number: usize,
        at: &mut Option<Position>,
        gate: &mut Option<Gate>,
        pace: &mut Pace,
        mut begins: Option<tokio::sync::SemaphorePermit<'_>>,
    ) -> Option<()> {
        let mut is_first = true;
        let mut was_whole = false;
        let mut unread = Vec::new();
        loop {
            let after = at.map(|at| format!("&after={at}")).unwrap_or_default();
            // As the filter: a proof of freshness at once after a failure and after a snapshot.
            let wait = if pace.failures() > 0 || was_whole { 0 } else { WAIT_SECONDS };
            was_whole = at.is_none();
            let request = format!(
                "GET /v1/feed?audience=prod{after}&wait={wait}&formats=batch.v1,root.v1 HTTP/1.1\r\nhost: gatepass\r\naccept: {}\r\nx-gatepass-node: node-{number:05}\r\nx-gatepass-version: {}\r\nx-gatepass-mode: enforce\r\nx-gatepass-position: {}\r\nx-gatepass-vms: 5\r\nx-gatepass-refusal: \r\n\r\n",
                Feed::CONTENT_TYPE,
                env!("CARGO_PKG_VERSION"),
                at.map(|at| at.to_string()).unwrap_or_default(),
            );
            stream.write_all(request.as_bytes()).await.ok()?;
            stream.flush().await.ok()?;
            self.waiting.fetch_add(1, Ordering::SeqCst);
            let answer = receive(&mut stream, &mut unread).await;
            self.waiting.fetch_sub(1, Ordering::SeqCst);
            let (status, body) = answer?;
            let now = self.elapsed();
            if status != 200 {
                self.refused.fetch_add(1, Ordering::SeqCst);
                return None;
            }
            self.polls.fetch_add(1, Ordering::SeqCst);
            let position = read(&body, gate.as_mut());
            let follower = &self.each[number];
            // Else it is a checkpoint: it had this before.
            if position.sequence > follower.sequence.load(Ordering::SeqCst) {
                follower.at.store(now, Ordering::SeqCst);
                follower.sequence.store(position.sequence, Ordering::SeqCst);
            }
            self.newest.fetch_max(position.sequence, Ordering::SeqCst);
            if core::mem::take(&mut is_first) {
                follower.back.store(now, Ordering::SeqCst);
            }
            *at = Some(position);
            pace.succeeded();
            drop(begins.take());
        }
    }

    fn until(&self, otherwise: &str, is: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while !is(self) {
            assert!(
                start.elapsed() < PATIENCE,
                "{otherwise}: {} wait, {} refused",
                self.waiting.load(Ordering::SeqCst),
                self.refused.load(Ordering::SeqCst)
            );
            std::thread::sleep(LOOK);
        }
    }

    fn sorted(&self, since: Instant, of: impl Fn(&Follower) -> u64) -> Vec<Duration> {
        let since = since.duration_since(self.start);
        let times = self.each.iter().map(|one| Duration::from_nanos(of(one)).saturating_sub(since));
        let mut times: Vec<Duration> = times.collect();
        times.sort();
        times
    }

    fn elapsed(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap()
    }

    fn milliseconds(&self) -> Milliseconds {
        Milliseconds(self.elapsed() / 1_000_000)
    }
}

/// Where an answer leads; a gate verifies and applies all of it.
fn read(body: &[u8], gate: Option<&mut Gate>) -> Position {
    let told = Feed::decode(body).unwrap();
    if let Some(gate) = gate {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let now = Now { unix: UnixSeconds(unix), monotonic: Milliseconds(0) };
        gate.take_roots(&told.roots, now.unix).unwrap();
        for batch in &told.batches {
            gate.apply(batch, now.monotonic, now).unwrap();
        }
    }
    let last = Unverified::from_postcard(told.batches.last().unwrap()).unwrap();
    Batch::decode(last.unverified_payload()).unwrap().header.position()
}

async fn receive(
    stream: &mut TlsStream<TcpStream>,
    unread: &mut Vec<u8>,
) -> Option<(u16, Vec<u8>)> {
    let head_end = loop {
        if let Some(at) = unread.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        more(stream, unread).await?;
    };
    let head = String::from_utf8_lossy(&unread[..head_end]).to_ascii_lowercase();
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"))?;
    let whole = head_end + length.trim().parse::<usize>().ok()?;
    while unread.len() < whole {
        more(stream, unread).await?;
    }
    let body = unread[head_end..whole].to_vec();
    unread.drain(..whole);
    // Ten thousand of them.
    unread.shrink_to_fit();
    Some((status, body))
}

async fn more(stream: &mut TlsStream<TcpStream>, unread: &mut Vec<u8>) -> Option<()> {
    match stream.read_buf(unread).await {
        Ok(0) | Err(_) => None,
        Ok(_) => Some(()),
    }
}

fn gate(pinned: &PinnedRoots) -> Gate {
    let settings = Settings {
        environment: "prod".to_owned(),
        feed_audience: "prod".to_owned(),
        mode: Mode::Enforce,
    };
    Gate::new(settings, pinned.pinned("prod").unwrap())
}

/// Any number, another for each follower and time (splitmix64).
fn random(number: usize, now: u64) -> u64 {
    let mut mixed = (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ now;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// One in so many verifies.
const VERIFIES: usize = 100;
const AT_ONCE: usize = 64;
/// Seconds; the control plane grants a third of the smallest bound.
const WAIT_SECONDS: u64 = 30;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(50);
const LOOK: Duration = Duration::from_millis(2);
const SETTLES: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(120);
