//! The bounds of a listener, and what they are unless told otherwise.

use std::time::Duration;

/// What a listener bears. Each field is a bound on something that a peer chooses.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections at once; more wait to be accepted.
    pub connections: usize,
    /// Connections of one address at once; more are closed. Loopback has no such limit.
    pub connections_of_one: usize,
    /// Requests in progress at once, over all connections; more are answered 503. HTTP/2 would
    /// else multiply the connections by their streams.
    pub requests: usize,
    /// For a TLS handshake, and for the turns that it waits for.
    pub handshake_time: Duration,
    /// Steps of handshakes that are worked on at once; others wait their turn. Fewer than there are
    /// cores, so that whoever is connected is served while thousands come back.
    pub handshakes: usize,
    /// From when a connection could be spoken over to its first request.
    pub first_time: Duration,
    /// In which a peer takes some of what waits for it, however little, or its connection ends.
    pub stall_time: Duration,
    /// To send all headers of an HTTP/1.1 request, counted from when it could begin.
    pub header_time: Duration,
    /// Of all headers of a request together. HTTP/1.1 cannot do with less than 8 KiB.
    pub header_bytes: usize,
    pub headers: usize,
    pub body_bytes: usize,
    /// To send a whole body, counted from when a handler first waits for it.
    pub body_time: Duration,
    /// To answer, body included. A handler that takes longer is dropped where it stands.
    pub request_time: Option<Duration>,
    /// Paths, exactly so written, to which `request_time` does not apply: the long-poll.
    pub untimed_paths: &'static [&'static str],
    /// HTTP/2 streams of one connection at once.
    pub streams: u32,
    /// HTTP/2: how often the peer is asked whether it is still there, and how long it may take.
    pub ping_every: Duration,
    pub ping_time: Duration,
    /// Without any request in progress, before the connection is closed.
    pub idle_time: Duration,
    /// After this a connection is closed, so that certificates are looked at again.
    pub age: Duration,
    /// For what is in progress when a connection is closed for being idle or old.
    pub drain: Duration,
    /// For what is in progress when the listener stops.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 2048,
            connections_of_one: 256,
            requests: 4096,
            handshake_time: Duration::from_secs(10),
            handshakes: spare_cores(),
            first_time: Duration::from_secs(10),
            stall_time: Duration::from_secs(20),
            header_time: Duration::from_secs(30),
            header_bytes: 16 * 1024,
            headers: 64,
            body_bytes: 1024 * 1024,
            body_time: Duration::from_secs(20),
            request_time: Some(Duration::from_secs(30)),
            untimed_paths: &[],
            streams: 64,
            ping_every: Duration::from_secs(20),
            ping_time: Duration::from_secs(20),
            idle_time: Duration::from_secs(60),
            age: Duration::from_secs(60 * 60),
            drain: Duration::from_secs(120),
            grace: Duration::from_secs(5),
        }
    }
}

/// All but one, where there are more.
fn spare_cores() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().saturating_sub(1).max(1))
}
