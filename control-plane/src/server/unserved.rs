//! The control plane without listeners: the same database, routers and rules, asked in process. For
//! simulations, which have no sockets and a time of their own.
//!
//! What listeners bring is missing: TLS, bounds on bodies, headers and time. Nothing here runs by itself;
//! who holds it tidies.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt as _;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use std::sync::Arc;
use tokio::sync::watch;

use super::{ServerError, Shared, tidy_once};
use crate::api;
use crate::config::Config;
use crate::db::{Db, DbError};
use crate::feed::Clock;
use crate::filter_file::FilterFile;
use crate::keychain::Keychain;
use crate::listen::Peer;

/// An open control plane that no socket leads to.
pub struct Unserved {
    shared: Arc<Shared>,
    admin: TowerToHyperService<Router>,
    agents: TowerToHyperService<Router>,
    feed: TowerToHyperService<Router>,
    /// Dropped with the rest: a poll that waits ends.
    _stop: watch::Sender<bool>,
}

/// For whom an endpoint is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    Admin,
    Agents,
    Feed,
}

/// What was answered.
#[derive(Clone, Debug)]
pub struct Answered {
    pub status: u16,
    pub body: Vec<u8>,
}

impl Unserved {
    /// # Errors
    /// As [`super::Server::start`], without what is said of listeners.
    pub async fn open(config: Config, clock: Clock) -> Result<Self, ServerError> {
        let keys = Arc::new(Keychain::open(&config.dir)?);
        let filter = config.filter.as_deref().map(FilterFile::read).transpose()?;
        let (stop, stopped) = watch::channel(false);
        let shared = Shared::open(config, keys, filter, clock, stopped).await?;
        Ok(Self {
            admin: TowerToHyperService::new(api::admin(Arc::clone(&shared))),
            agents: TowerToHyperService::new(api::agents(Arc::clone(&shared))),
            feed: TowerToHyperService::new(api::feed(Arc::clone(&shared))),
            shared,
            _stop: stop,
        })
    }

    /// One request. One that is none is answered with 400, one whose answer breaks off with 500.
    pub async fn ask(
        &self,
        door: Door,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Answered {
        let none = |status| Answered { status, body: Vec::new() };
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let Ok(mut request) = request.body(Body::from(body)) else {
            return none(400);
        };
        let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
        request.extensions_mut().insert(Peer { address, identity: None });
        let router = match door {
            Door::Admin => &self.admin,
            Door::Agents => &self.agents,
            Door::Feed => &self.feed,
        };
        let Ok(response) = router.call(request).await;
        let status = response.status().as_u16();
        match response.into_body().collect().await {
            Ok(body) => Answered { status, body: body.to_bytes().to_vec() },
            Err(_) => none(500),
        }
    }

    #[must_use]
    pub fn db(&self) -> &Db {
        &self.shared.db
    }

    /// What a control plane that is served does each minute.
    ///
    /// # Errors
    /// What the database says.
    pub async fn tidy(&self) -> Result<(), DbError> {
        tidy_once(&self.shared).await
    }

    /// Writes what waits and closes the database.
    pub async fn close(self) {
        self.shared.db.close().await;
    }
}
