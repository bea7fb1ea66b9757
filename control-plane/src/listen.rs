//! A bounded listener under an [`axum::Router`]: TCP or TLS, HTTP/1.1 and HTTP/2.
//!
//! `axum::serve` bounds neither connections nor headers nor the time that either takes, so the
//! accept loop is ours. Every bound is a field of [`Limits`]. What a handler learns of who is
//! calling is a [`Peer`] in the request's extensions, put there by this module only.
//!
//! It refuses to listen in clear on anything but loopback, to read a key that others can read,
//! and to serve a client whose certificate names nobody. It authenticates; it authorises nothing.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

mod body;
mod connection;
mod files;
mod guard;
mod identity;
mod limits;
mod places;
mod stall;
mod tls;
mod turns;

pub use identity::{PeerIdentity, PeerName};
pub use limits::Limits;
pub use tls::TlsFiles;

use connection::Server;
use guard::Guard;
use places::Places;
use tls::Certificates;

/// Where to listen, and how.
#[derive(Clone, Debug)]
pub struct Listen {
    pub address: SocketAddr,
    /// `None` is for loopback only.
    pub tls: Option<TlsFiles>,
    pub limits: Limits,
}

/// A bound listener that does not serve yet; connections wait in the system's queue.
pub struct Bound {
    name: &'static str,
    address: SocketAddr,
    listener: TcpListener,
    certificates: Option<Certificates>,
    limits: Limits,
}

/// Who sent a request; in the extensions of each.
#[derive(Clone, Debug)]
pub struct Peer {
    pub address: SocketAddr,
    /// From a client certificate that was verified; `None` when none was presented.
    pub identity: Option<Arc<PeerIdentity>>,
}

impl Listen {
    /// Binds, and reads the certificate files. `name` is what logs and errors call the listener.
    ///
    /// # Errors
    /// [`ListenError`]; each says what to do.
    pub async fn bind(&self, name: &'static str) -> Result<Bound, ListenError> {
        if self.tls.is_none() && !self.address.ip().is_loopback() {
            return Err(ListenError::InClear { name, address: self.address });
        }
        let certificates =
            self.tls.clone().map(|files| Certificates::load(name, files)).transpose()?;
        let unbound = |source| ListenError::Bind { name, address: self.address, source };
        let listener = listener(self.address).map_err(unbound)?;
        let address = listener.local_addr().map_err(unbound)?;
        Ok(Bound { name, address, listener, certificates, limits: self.limits.clone() })
    }
}

impl Bound {
    /// With the port that the system chose, if 0 was asked for.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` holds `true` or its sender is gone, then lets requests in progress
    /// finish for [`Limits::grace`] and ends. Aborting the handle ends every connection at once.
    /// Must be called within a tokio runtime.
    pub fn serve(self, router: Router, stop: watch::Receiver<bool>) -> JoinHandle<()> {
        tokio::spawn(self.run(router, stop))
    }

    async fn run(self, router: Router, stop: watch::Receiver<bool>) {
        let Self { name, listener, certificates, limits, .. } = self;
        let grace = limits.grace;
        let places = Places::new(limits.connections, limits.connections_of_one);
        // One number counts: ours, which a route's own layer can lower. axum's would be a second.
        let router = router.layer(DefaultBodyLimit::disable());
        let guard = Guard::new(router, limits);
        let server = Arc::new(Server::new(name, certificates, guard, stop.clone()));
        let mut connections = JoinSet::new();
        tokio::select! {
            () = accept(&listener, &places, &server, &mut connections) => {}
            () = stopped(stop) => {}
        }
        // Whoever connects from here on is told at once that nobody listens.
        drop(listener);
        let all = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(grace, all).await.is_err() {
            tracing::warn!(
                listener = name,
                connections = connections.len(),
                "connections were still busy at the end of the grace period and are cut"
            );
        }
        connections.shutdown().await;
    }
}

/// Connections have its buffer: without a bound the system keeps megabytes for a peer that reads slowly,
/// and tells of progress only once a third of them has gone.
fn listener(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // As the standard library does.
    socket.set_reuseaddr(true)?;
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Accepts forever. A connection beyond the limit waits in the system's queue.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Places>,
    server: &Arc<Server>,
    connections: &mut JoinSet<()>,
) {
    let mut complained = false;
    loop {
        let Some(place) = places.open().await else {
            return;
        };
        while connections.try_join_next().is_some() {}
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, most likely: give others time to close. Said once, or
                // the log would grow twenty lines a second.
                if !complained {
                    tracing::error!(listener = server.name(), %error, "connections cannot be accepted");
                }
                complained = true;
                tokio::time::sleep(AFTER_ACCEPT_ERROR).await;
                continue;
            }
        };
        complained = false;
        // Waiting would keep the others out as well, so this one is closed.
        let Some(place) = places.take(place, address.ip()) else {
            tracing::debug!(listener = server.name(), %address, "an address has too many connections");
            continue;
        };
        prepare(&stream);
        let server = Arc::clone(server);
        connections.spawn(async move {
            server.serve(stream, address).await;
            drop(place);
        });
    }
}

/// An answer is one small write; waiting to fill a packet would only delay it.
fn prepare(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
}

/// A sender that is gone can never say stop, so its absence says it.
async fn stopped(mut stop: watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Why a listener cannot start, or a changed certificate was not taken.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error(
        "`{name}` has no TLS, so it listens on loopback only, not on {address}: use 127.0.0.1, or name a certificate and its key"
    )]
    InClear { name: &'static str, address: SocketAddr },
    #[error("`{name}` cannot listen on {address}: {source}")]
    Bind { name: &'static str, address: SocketAddr, source: std::io::Error },
    #[error("`{}` has mode {mode:04o}, so others can reach the key: run `chmod 600 {}`", .path.display(), .path.display())]
    Readable { path: PathBuf, mode: u32 },
    #[error("`{}`: {what}", .path.display())]
    Malformed { path: PathBuf, what: String },
    #[error("`{}` and `{}` are not a certificate and its key: {source}", .certificate.display(), .key.display())]
    Mismatched { certificate: PathBuf, key: PathBuf, source: rustls::Error },
    #[error("the TLS settings of `{name}` are not accepted: {what}")]
    Settings { name: &'static str, what: String },
    #[error("`{}`: {source}", .path.display())]
    Io { path: PathBuf, source: std::io::Error },
}

/// What the system holds of what was sent and not taken yet, for each connection; Linux doubles it.
const SEND_BUFFER_BYTES: u32 = 256 * 1024;
/// Connections that wait to be accepted, if the system allows so many: of one that does not fit the peer
/// hears nothing, and tries again after a second.
const BACKLOG: u32 = 16_384;
const AFTER_ACCEPT_ERROR: Duration = Duration::from_millis(50);

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;
