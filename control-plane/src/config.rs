//! The working directory and its one configuration file, `gatepass.toml`.
//!
//! Unknown members are refused: a misspelt limit that is silently ignored is a hole.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::listen::{Limits, Listen, TlsFiles};

/// A working directory as its file describes it.
#[derive(Clone, Debug)]
pub struct Config {
    pub dir: PathBuf,
    pub admin: Listener,
    pub agents: Listener,
    pub feed: FeedListener,
    pub metrics: Listener,
    /// The filter to hand out.
    pub filter: Option<PathBuf>,
    /// Gatepasses that one agent may ask for in a minute.
    pub issued_per_minute: u32,
    pub decisions: Retention,
}

/// How long decisions are kept, and how many entries of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    #[serde(default = "retained_days")]
    pub days: u32,
    #[serde(default = "retained_rows")]
    pub rows: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Self { days: retained_days(), rows: retained_rows() }
    }
}

const fn retained_days() -> u32 {
    30
}

/// Some 6 GB.
const fn retained_rows() -> u64 {
    10_000_000
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    admin: Listener,
    agents: Listener,
    feed: FeedFile,
    metrics: Listener,
    #[serde(default)]
    filter: Option<PathBuf>,
    #[serde(default = "issued_per_minute")]
    issued_per_minute: u32,
    #[serde(default)]
    decisions: Retention,
}

/// One listener.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    pub address: SocketAddr,
    #[serde(default)]
    pub tls: Option<Tls>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// Who signs client certificates.
    #[serde(default)]
    pub client_ca: Option<PathBuf>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FeedFile {
    address: SocketAddr,
    #[serde(default)]
    tls: Option<Tls>,
    followers: Followers,
}

#[derive(Clone, Debug)]
pub struct FeedListener {
    pub listener: Listener,
    pub followers: Followers,
}

/// How followers of the feed say who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Followers {
    /// A client certificate: the strong way.
    Certificate,
    /// A certificate, or a fleet's join token.
    JoinToken,
    /// Not at all: for a feed on loopback, where whoever runs here may follow.
    Anyone,
}

impl Config {
    /// Reads `gatepass.toml` in `dir`. Paths in it are relative to `dir`.
    ///
    /// # Errors
    /// Names the member, line and column.
    pub fn read(dir: &Path) -> Result<Self, ConfigError> {
        let path = dir.join(FILE);
        let text = std::fs::read_to_string(&path)
            .map_err(|source| ConfigError::Io { path: path.clone(), source })?;
        let file: File = toml::from_str(&text)
            .map_err(|error| ConfigError::Wrong { path, what: error.to_string() })?;
        let listener = |listener: Listener| Listener {
            tls: listener.tls.map(|tls| tls.within(dir)),
            ..listener
        };
        let config = Self {
            dir: dir.to_owned(),
            admin: listener(file.admin),
            agents: listener(file.agents),
            metrics: listener(file.metrics),
            feed: FeedListener {
                listener: listener(Listener { address: file.feed.address, tls: file.feed.tls }),
                followers: file.feed.followers,
            },
            filter: file.filter.map(|filter| dir.join(filter)),
            issued_per_minute: file.issued_per_minute,
            decisions: file.decisions,
        };
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let refuse = |what: &str| {
            Err(ConfigError::Wrong { path: self.dir.join(FILE), what: what.to_owned() })
        };
        let feed = &self.feed.listener;
        if self.feed.followers == Followers::Anyone && !feed.address.ip().is_loopback() {
            return refuse(
                "`feed.followers = \"anyone\"` is for loopback only: use \"join_token\"",
            );
        }
        if self.feed.followers == Followers::Certificate
            && feed.tls.as_ref().is_none_or(|tls| tls.client_ca.is_none())
        {
            return refuse("`feed.followers = \"certificate\"` needs `feed.tls.client_ca`");
        }
        if self.issued_per_minute == 0 {
            return refuse("`issued_per_minute` is at least 1");
        }
        if self.decisions.days == 0 || self.decisions.rows < 1_000 {
            return refuse("`decisions` are kept for at least 1 of `days` and 1000 of `rows`");
        }
        Ok(())
    }
}

impl Listener {
    pub(crate) fn listen(&self, limits: Limits) -> Listen {
        let tls = self.tls.as_ref().map(|tls| TlsFiles {
            certificate: tls.certificate.clone(),
            key: tls.key.clone(),
            client_ca: tls.client_ca.clone(),
            require_client: false,
        });
        Listen { address: self.address, tls, limits }
    }
}

impl Tls {
    fn within(self, dir: &Path) -> Self {
        Self {
            certificate: dir.join(self.certificate),
            key: dir.join(self.key),
            client_ca: self.client_ca.map(|file| dir.join(file)),
        }
    }
}

const fn issued_per_minute() -> u32 {
    600
}

/// Why a working directory cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("`{}`: {source}: make the directory with `gatepass init`", .path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error("`{}`: {what}", .path.display())]
    Wrong { path: PathBuf, what: String },
}

pub const FILE: &str = "gatepass.toml";
pub const FEED_KEY: &str = "feed.key";
pub const ISSUER_KEY: &str = "issuer.key";
pub const AUDIT_KEY: &str = "audit.key";
pub const REDEEM_KEY: &str = "redeem.key";

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        [admin]
        address = "127.0.0.1:0"
        [agents]
        address = "127.0.0.1:0"
        [metrics]
        address = "127.0.0.1:0"
        [feed]
        address = "127.0.0.1:0"
        followers = "join_token"
    "#;

    fn read(text: &str) -> Result<Config, String> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE), text).unwrap();
        Config::read(dir.path()).map_err(|error| error.to_string())
    }

    #[test]
    fn each_mistake_is_named() {
        let config = read(GOOD).unwrap();
        assert_eq!(config.feed.followers, Followers::JoinToken);
        assert!(read(&GOOD.replace("join_token", "anyone")).is_ok());
        for (from, to, names) in [
            ("followers", "follower", "follower"),
            ("join_token", "everyone", "everyone"),
            ("join_token", "certificate", "client_ca"),
            ("[metrics]", "[metric]", "metric"),
            ("[admin]", "issued_per_minute = 0\n[admin]", "at least 1"),
            ("[admin]", "[decisions]\ndays = 0\n[admin]", "`decisions`"),
            ("[admin]", "[decisions]\nrows = 999\n[admin]", "`decisions`"),
            ("[admin]", "[decisions]\nmonths = 1\n[admin]", "months"),
        ] {
            let error = read(&GOOD.replacen(from, to, 1)).unwrap_err();
            assert!(error.contains(names), "{to}: {error}");
        }
        let open = GOOD.replace("join_token", "anyone").replace(
            "[feed]\n        address = \"127.0.0.1:0\"",
            "[feed]\n        address = \"0.0.0.0:0\"",
        );
        assert!(read(&open).unwrap_err().contains("loopback"));
    }
}
