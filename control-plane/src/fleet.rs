//! The Envoys that follow the feed, as they report themselves. Kept in memory: a report is as old
//! as the last poll.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use gatepass_engine::clock::UnixSeconds;
use serde::Serialize;
use utoipa::ToSchema;

/// What a follower said of itself with its last poll.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Follower {
    pub node: String,
    /// How it proved who it is: `certificate`, `join_token` or `none`.
    pub identity: &'static str,
    /// From a join token, what it says is not verified.
    pub verified: bool,
    pub version: String,
    /// `enforce` or `shadow`.
    pub mode: String,
    /// The position of its slowest worker.
    pub position: String,
    pub workers: String,
    /// The last batch that it refused, and why.
    pub last_refusal: String,
    /// Unix seconds of its last poll.
    pub seen_at: u64,
}

/// All followers that were heard of lately.
#[derive(Default)]
pub struct Fleet(Mutex<BTreeMap<String, Follower>>);

impl Fleet {
    /// Takes a report in.
    pub fn report(&self, follower: Follower) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MAX_FOLLOWERS && !all.contains_key(&follower.node) {
            let oldest = all.values().min_by_key(|known| known.seen_at).map(|f| f.node.clone());
            oldest.and_then(|node| all.remove(&node));
        }
        all.insert(follower.node.clone(), follower);
    }

    /// Those heard of in the last [`FORGET_AFTER`] seconds, by name.
    #[must_use]
    pub fn list(&self, now: UnixSeconds) -> Vec<Follower> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, follower| now.0.saturating_sub(follower.seen_at) <= FORGET_AFTER);
        all.values().cloned().collect()
    }
}

/// A header that a follower wrote, fit for a page and a log: short and printable.
#[must_use]
pub fn plain(value: Option<&axum::http::HeaderValue>) -> String {
    let text = value.and_then(|value| value.to_str().ok()).unwrap_or_default();
    text.chars().filter(|c| !c.is_control()).take(MAX_TEXT).collect()
}

/// Followers known at once; the one not heard of for longest gives way.
const MAX_FOLLOWERS: usize = 10_000;
/// Seconds.
pub const FORGET_AFTER: u64 = 24 * 3600;
const MAX_TEXT: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    fn follower(node: &str, seen_at: u64) -> Follower {
        Follower {
            node: node.to_owned(),
            identity: "none",
            verified: false,
            version: String::new(),
            mode: String::new(),
            position: String::new(),
            workers: String::new(),
            last_refusal: String::new(),
            seen_at,
        }
    }

    #[test]
    fn the_fleet_is_bounded_and_forgets() {
        let fleet = Fleet::default();
        for at in 0..=MAX_FOLLOWERS as u64 {
            fleet.report(follower(&format!("node-{at}"), 1000 + at));
        }
        let all = fleet.list(UnixSeconds(1000));
        assert_eq!(all.len(), MAX_FOLLOWERS);
        assert!(!all.iter().any(|f| f.node == "node-0"), "the oldest gave way");
        fleet.report(follower("node-1", 5_000_000));
        assert_eq!(fleet.list(UnixSeconds(5_000_000)).len(), 1);
    }
}
