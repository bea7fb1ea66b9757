//! One connection: handshake, protocol, and the ends that it can come to.

use core::pin::pin;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::server::TlsStream;

use super::guard::{Guard, InProgress};
use super::identity::PeerIdentity;
use super::limits::Limits;
use super::stall::Progressing;
use super::tls::Certificates;
use super::turns::Turns;
use super::{Peer, stopped};

/// What all connections of a listener share.
pub(super) struct Server {
    name: &'static str,
    certificates: Option<Certificates>,
    guard: Arc<Guard>,
    handshakes: Turns,
    http: auto::Builder<TokioExecutor>,
    stop: watch::Receiver<bool>,
}

impl Server {
    pub(super) fn new(
        name: &'static str,
        certificates: Option<Certificates>,
        guard: Guard,
        stop: watch::Receiver<bool>,
    ) -> Self {
        let http = protocol(&guard.limits);
        let handshakes = Turns::new(guard.limits.handshakes);
        Self { name, certificates, guard: Arc::new(guard), handshakes, http, stop }
    }

    pub(super) const fn name(&self) -> &'static str {
        self.name
    }

    /// Serves one connection to its end. How it ends is the peer's affair: nothing is returned.
    pub(super) async fn serve(&self, stream: TcpStream, address: SocketAddr) {
        let Some(certificates) = &self.certificates else {
            let stream = Progressing::new(stream, self.guard.limits.stall_time);
            return self.speak(stream, Peer { address, identity: None }).await;
        };
        let handshake = self.shake_hands(certificates, stream);
        let accepted = tokio::select! {
            accepted = tokio::time::timeout(self.guard.limits.handshake_time, handshake) => accepted,
            () = stopped(self.stop.clone()) => return,
        };
        let stream = match accepted {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                tracing::debug!(listener = self.name, %address, %error, "a handshake failed");
                return;
            }
            Err(_) => {
                tracing::debug!(listener = self.name, %address, "a handshake took too long");
                return;
            }
        };
        let leaf = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let identity = match leaf.map(PeerIdentity::of).transpose() {
            Ok(identity) => identity.map(Arc::new),
            Err(what) => {
                // To serve it as if it had shown none would turn a mistake of the CA's into a
                // puzzle of the caller's.
                tracing::warn!(listener = self.name, %address, "a client certificate {what}");
                return;
            }
        };
        self.speak(stream, Peer { address, identity }).await;
    }

    /// A peer that says nothing has no turn, and costs what a socket costs; one that gave up while it
    /// waited has none either.
    async fn shake_hands(
        &self,
        certificates: &Certificates,
        stream: TcpStream,
    ) -> std::io::Result<TlsStream<Progressing<TcpStream>>> {
        stream.readable().await?;
        let begun = async {
            if stream.ready(Interest::READABLE).await?.is_read_closed() {
                return Err(std::io::ErrorKind::ConnectionAborted.into());
            }
            let stream = Progressing::new(stream, self.guard.limits.stall_time);
            certificates.acceptor().accept(stream).await
        };
        self.handshakes.take(begun).await
    }

    async fn speak<S>(&self, stream: S, peer: Peer)
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let limits = &self.guard.limits;
        let in_progress = Arc::new(watch::Sender::new(0));
        let idle = idled(in_progress.subscribe(), limits.first_time, limits.idle_time);
        let guard = Arc::clone(&self.guard);
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            let (guard, peer) = (Arc::clone(&guard), peer.clone());
            let in_progress = Arc::clone(&in_progress);
            async move {
                let _counted = InProgress::begin(&in_progress);
                guard.answer(request, peer).await
            }
        });
        let mut http = pin!(self.http.serve_connection(TokioIo::new(stream), service));
        tokio::select! {
            _ = http.as_mut() => return,
            () = stopped(self.stop.clone()) => {}
            () = idle => {}
            () = tokio::time::sleep(limits.age) => {}
        }
        http.as_mut().graceful_shutdown();
        // When the listener stops, it cuts this short.
        let _ = tokio::time::timeout(limits.drain, http).await;
    }
}

fn protocol(limits: &Limits) -> auto::Builder<TokioExecutor> {
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_time)
        .max_buf_size(limits.header_bytes.max(LEAST_BUFFER))
        .max_headers(limits.headers);
    http.http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
        .keep_alive_interval(limits.ping_every)
        .keep_alive_timeout(limits.ping_time);
    http
}

/// Ends when no request was in progress for `time`, or none at all came in the `first`. This also ends a connection that never says
/// which protocol it speaks, for which hyper-util has no time of its own.
async fn idled(mut in_progress: watch::Receiver<usize>, first: Duration, time: Duration) {
    let mut patience = first.min(time);
    loop {
        // A request that came and went between two looks counts too: a change is seen as such.
        let is_idle = *in_progress.borrow_and_update() == 0;
        let changed = in_progress.changed();
        let changed = if is_idle {
            match tokio::time::timeout(patience, changed).await {
                Ok(changed) => changed,
                Err(_) => return,
            }
        } else {
            changed.await
        };
        if changed.is_err() {
            return;
        }
        patience = time;
    }
}

/// hyper panics with less.
const LEAST_BUFFER: usize = 8 * 1024;
