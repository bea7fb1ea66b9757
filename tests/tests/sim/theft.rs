//! A stolen feed key: somebody on the line signs what gates believe, far ahead of the control plane, until a
//! root document that resets names another key.
//!
//! Who believes a thief is promised nothing. What is promised: once the root is out and all is well, every
//! gate is back, with nothing left of what the thief said; and who has taken that root is never led astray.

use std::sync::Arc;

use gatepass::keys::{SecretKey, Signer as _};
use gatepass::server::Door;
use gatepass_engine::batch::{Batch, Feed, whole_digest};
use gatepass_engine::envelope::{PayloadType, Unverified};
use gatepass_engine::revocation::{Below, Change, HashKey, Kind, Revocation};

use super::audience::AUDIENCES;
use super::clock::{MINUTE, Moment, SECOND};
use super::desk::BLUEPRINTS;
use super::envoy::Link;
use super::mutant::Mutant;
use super::oracle::SETTLED;
use super::trouble::Trouble;
use super::world::{Event, World};

/// What a thief has, and what became of it.
pub(crate) struct Theft {
    pub(crate) key: Arc<SecretKey>,
    /// Root documents that there were.
    roots: usize,
    /// By how much what it says is ahead: epochs and steps.
    ahead: (u64, u64),
    /// Seconds that it is dated ahead.
    dated: u64,
    /// It says that all that was revoked is not; or that a blueprint is, for good.
    forgets: bool,
    /// What it has said last, to each audience.
    pub(crate) said: [Option<Vec<u8>>; AUDIENCES.len()],
    /// The root that resets, and when it came.
    pub(crate) reset: Option<(u64, Moment)>,
}

impl World {
    /// The key that signs is stolen, and whoever has it sits on an Envoy's line.
    pub(crate) fn steal(&mut self, envoy: usize) {
        let is_over = self.envoys.iter().all(|envoy| !envoy.deceived);
        let Some(kept) = self.plane.feed_key() else { return };
        if !is_over || self.desk.is_robbed || self.envoys[envoy].link != Link::Good {
            return;
        }
        let ahead = match self.chance.percent(50) {
            true => (self.chance.between(1, 1_000), 0),
            false => (0, self.chance.of_any_size(1, 1 << 40)),
        };
        self.theft = Some(Theft {
            key: Arc::clone(&kept.key),
            roots: self.plane.roots(),
            ahead,
            dated: self.chance.below(20),
            forgets: self.chance.percent(50),
            said: [const { None }; AUDIENCES.len()],
            reset: None,
        });
        self.desk.is_robbed = true;
        self.envoys[envoy].link = Link::Thief;
        let lasts = self.chance.of_any_size(10 * SECOND, 15 * MINUTE);
        self.begins("feed key stolen", Some(envoy), lasts, Trouble::Theft { envoy });
    }

    /// What the thief answers, whatever the control plane does.
    pub(crate) fn thief_answers(&mut self, id: u64, envoy: usize) {
        let audience = self.envoys[envoy].audience;
        let path = format!("/v1/feed?audience={}&wait=0", AUDIENCES[audience]);
        let answer = self.plane.ask(Door::Feed, &path, &[], None, self.now);
        let Some(theft) = &mut self.theft else { return };
        if answer.status == 200
            && let Some(said) = theft.says(&answer.body)
        {
            theft.said[audience] = Some(said);
        }
        let Some(said) = theft.said[audience].clone() else {
            return self.after(SECOND, Event::Answers { call: id, status: 503, body: Vec::new() });
        };
        self.envoys[envoy].deceived = true;
        let delay = self.chance.of_any_size(SECOND, 8 * SECOND);
        self.after(delay, Event::Answers { call: id, status: 200, body: said });
    }

    /// What the thief has said is said again, to who asks under this root.
    pub(crate) fn said_by_thief(&mut self, envoy: usize, root: u64) -> Option<Vec<u8>> {
        let audience = self.envoys[envoy].audience;
        let theft = self.theft.as_ref()?;
        let said = theft.said[audience].clone()?;
        // Who has not heard of the root that ends it believes it.
        if theft.reset.is_none_or(|(version, _)| root < version) {
            self.envoys[envoy].deceived = true;
        }
        Some(said)
    }

    /// The theft was noticed: a root that resets, with another key.
    pub(crate) fn theft_is_over(&mut self, envoy: usize) {
        let resets = self.mutant != Some(Mutant::Stuck);
        match self.desk.reset_feed(&mut self.plane, resets, self.now) {
            Ok(version) => {
                self.report.note(self.now, format_args!("root {version} resets"));
                if let Some(theft) = &mut self.theft {
                    theft.reset = Some((version, self.now));
                }
                self.wake();
            }
            Err(why) => {
                self.report.note(self.now, format_args!("no root resets: {why}"));
                return self.after(MINUTE, Event::Over(Trouble::Theft { envoy }));
            }
        }
        self.envoys[envoy].link = Link::Good;
        if self.chance.percent(50) {
            // Still there, and nobody believes it any more.
            self.envoys[envoy].link = Link::Hostile;
            let lasts = self.lasts();
            self.begins("thief stays", Some(envoy), lasts, Trouble::Link { envoy });
        }
        self.ends(Some(envoy));
    }

    /// Whether an Envoy may still believe a thief. From when it must be back nothing that it has answered
    /// before binds it.
    pub(crate) fn is_deceived(&mut self, envoy: usize) -> bool {
        if !self.envoys[envoy].deceived {
            return false;
        }
        let reset = self.theft.as_ref().and_then(|theft| theft.reset);
        let Some((_, reset)) = reset else { return true };
        if self.calm_since(envoy).max(reset).saturating_add(SETTLED) > self.now {
            return true;
        }
        self.envoys[envoy].deceived = false;
        self.envoys[envoy].served = (None, 0);
        self.report.count("deceived and back");
        false
    }

    /// While a gate is where no database ever was, the newest root must be the one that resets.
    pub(crate) fn look_for_deceived(&mut self) {
        let is_reset = self.theft.as_ref().is_some_and(|theft| theft.reset.is_some());
        if is_reset && (0..self.envoys.len()).all(|envoy| !self.is_deceived(envoy)) {
            self.desk.is_robbed = false;
        }
    }
}

impl Theft {
    /// A snapshot of the control plane's, as the thief would have it.
    fn says(&self, body: &[u8]) -> Option<Vec<u8>> {
        let feed = Feed::decode(body).ok()?;
        let [envelope] = feed.batches.as_slice() else { return None };
        let payload = Unverified::from_postcard(envelope).ok()?.unverified_payload().to_vec();
        let mut batch = Batch::decode(&payload).ok()?;
        let mut change: Change = postcard::from_bytes(batch.revocations?).ok()?;
        change.items.clear();
        if !self.forgets {
            let key = HashKey::new(&batch.header.environment, &change.hash_key?);
            change.items.push(Revocation {
                kind: Kind::Blueprint,
                key: key.hash(Kind::Blueprint, BLUEPRINTS[0]),
                below: Below::Always,
                drop_after: batch.header.expires_at,
            });
        }
        change.total = change.items.len() as u32;
        let change = postcard::to_allocvec(&change).ok()?;
        batch.revocations = Some(&change);
        let (epochs, steps) = self.ahead;
        batch.header.epoch += epochs;
        batch.header.to += steps;
        batch.header.issued_at = batch.header.issued_at.plus(self.dated);
        batch.header.whole_digest = whole_digest(&[batch.digest()]);
        let payload = batch.encode().ok()?;
        let signed = Unverified::new(PayloadType::Batch, payload)
            .sign_with(|message| self.key.sign(message));
        let signed = signed.to_postcard().ok()?;
        let roots = feed.roots.iter().take(self.roots).copied().collect();
        Feed { roots, batches: vec![&signed] }.encode().ok()
    }
}
