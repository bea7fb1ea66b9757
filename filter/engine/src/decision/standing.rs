//! What the permit of an open request rests on, and whether it still does.
//!
//! A decision follows from the request, the bundle, the time, and what the feed says beside the bundle. Of
//! these the request stays as it was. Under the bundle that it was decided under, then, host, route, action,
//! inputs, audience, scopes, restrictions, entry, binding, assurance, approval and use are what they were,
//! and what can turn an allow into a denial is asked here, through the functions of a decision and in its
//! order:
//!
//! - `not_ready`: a snapshot of another epoch is on its way,
//! - `unsupported_algorithm`, `unknown_key`, `revoked_key`, `wrong_issuer`: the key was listed anew, is
//!   listed no more, is revoked, or its window is over,
//! - `expired`; `not_yet_valid` where the clock was set back,
//! - `stale`,
//! - `wrong_epoch`, `behind`,
//! - whatever in the chain is revoked,
//! - `too_old`, by the action's `max_age`,
//! - `duration_over`, which is told of open requests alone.
//!
//! Under another bundle nothing is taken as given: the whole request is decided again. So it is, each second, where
//! the rules of its action speak of the time; they rest on the request and its gatepass beside that, which stay.

use core::fmt;
use core::num::NonZeroU32;
use std::sync::Arc;

use super::demands::young;
use super::{Decision, Noted, Request, alive, fresh, in_force, in_step, run};
use crate::bundle::Action;
use crate::clock::{MAX_CLOCK_SKEW, Milliseconds, Now, Times, UnixSeconds};
use crate::denial::{About, Code, Denial};
use crate::gate::{Gate, Mode};
use crate::gatepass::{Claims, Signed};
use crate::keyring::Speaking;
use crate::redeem::Confirmation;
use crate::revocation::{HashKey, Kind, Revocations};
use crate::routes::Index;
use crate::token_cache::TokenCache;
use crate::trace::Silent;

/// What a permit rests on. Nobody but a decision makes one.
#[derive(Clone)]
pub struct Standing {
    basis: Basis,
    /// The bundle that it was decided under.
    index: Option<Arc<Index>>,
    opened: Milliseconds,
    /// Seconds since then.
    max_duration: Option<NonZeroU32>,
}

#[derive(Clone)]
pub(super) enum Basis {
    Granted(Grant),
    Public,
    PassedThrough,
    /// Whatever becomes of it, nothing is refused.
    Shadow,
}

/// The gatepass and the action that it was good for.
#[derive(Clone)]
pub(super) struct Grant {
    signed: Arc<Signed>,
    /// Index into the actions of the bundle.
    action: u32,
    /// What was spent or stored for it. It is not asked for again while the request is open.
    confirmation: Option<Arc<Confirmation>>,
    /// When it was decided, where time alone may change what the rules come to.
    by_time: Option<UnixSeconds>,
    /// Most requests end before anybody looks.
    looked: Option<Box<Looked>>,
}

/// What one look leaves for those that follow.
#[derive(Clone)]
struct Looked {
    holds: Window,
    hashes: Hashes,
}

/// What revocations know the key and the chain by: hashing is most of what a look costs.
#[derive(Clone)]
struct Hashes {
    /// [`HashKey::id`].
    made_with: u64,
    key: u64,
    /// In the order in which [`alive`] asks.
    chain: Vec<u64>,
}

/// When time changes nothing, by the time that expiry is held against.
#[derive(Clone, Copy)]
struct Window {
    from: UnixSeconds,
    /// Exclusive.
    until: UnixSeconds,
}

impl Grant {
    pub(super) fn new(
        signed: &Arc<Signed>,
        action: u32,
        confirmation: Option<Arc<Confirmation>>,
        by_time: Option<UnixSeconds>,
    ) -> Self {
        Self { signed: Arc::clone(signed), action, confirmation, by_time, looked: None }
    }

    fn holds_at(&self, times: Times) -> bool {
        self.looked.as_ref().is_some_and(|looked| {
            looked.holds.from <= times.begins && times.ends < looked.holds.until
        })
    }
}

impl Hashes {
    fn of(claims: &Claims<'_>, key: u64, hash_key: &HashKey) -> Result<Self, Denial> {
        let mut chain = Vec::new();
        alive(claims, |kind, id, _| {
            chain.push(hash_key.hash(kind, id));
            false
        })?;
        Ok(Self { made_with: hash_key.id(), key, chain })
    }

    fn alive(&self, claims: &Claims<'_>, table: &Revocations) -> Result<(), Denial> {
        let mut chain = self.chain.iter();
        alive(claims, |_, _, sequence| {
            chain.next().is_none_or(|hash| table.hits_hash(*hash, sequence))
        })
    }
}

impl Standing {
    pub(super) fn new(gate: &Gate, basis: Basis, max_duration: Option<u32>, now: Now) -> Self {
        // INVARIANT: a bundle has none of 0.
        let max_duration = max_duration.and_then(NonZeroU32::new);
        Self { basis, index: gate.shared_index().cloned(), opened: now.monotonic, max_duration }
    }

    /// Whether a gatepass granted it: then whoever opened it is known.
    #[must_use]
    pub const fn is_granted(&self) -> bool {
        matches!(self.basis, Basis::Granted(_))
    }

    /// Whether anything may refuse it: not what is in shadow mode.
    #[must_use]
    pub const fn is_enforced(&self) -> bool {
        !matches!(self.basis, Basis::Shadow)
    }

    /// Seconds that it may last; none where nothing was decided.
    #[must_use]
    pub const fn max_duration(&self) -> Option<u32> {
        match self.basis {
            Basis::Granted(_) | Basis::Public => match self.max_duration {
                Some(seconds) => Some(seconds.get()),
                None => None,
            },
            Basis::PassedThrough | Basis::Shadow => None,
        }
    }

    /// Whether there is anything that could end it, but for the request itself.
    #[must_use]
    pub fn may_end(&self, gate: &Gate) -> bool {
        gate.settings().mode == Mode::Enforce
    }

    /// Whether it was decided under the bundle in force.
    #[must_use]
    pub fn is_under(&self, gate: &Gate) -> bool {
        match (&self.index, gate.shared_index()) {
            (Some(index), Some(in_force)) => Arc::ptr_eq(index, in_force),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        }
    }

    /// Whether the request itself must be decided again: under another bundle, and where rules speak of the
    /// time.
    #[must_use]
    pub fn needs_request(&self, gate: &Gate) -> bool {
        !self.is_under(gate) || self.by_time().is_some()
    }

    const fn by_time(&self) -> Option<UnixSeconds> {
        match &self.basis {
            Basis::Granted(grant) => grant.by_time,
            Basis::Public | Basis::PassedThrough | Basis::Shadow => None,
        }
    }

    /// Whether the next look costs as much as a good part of a decision: the first does, and a whole
    /// decision.
    #[must_use]
    pub fn is_dear(&self, gate: &Gate) -> bool {
        let looked = match &self.basis {
            Basis::Granted(grant) => grant.looked.is_some(),
            Basis::Public | Basis::PassedThrough | Basis::Shadow => true,
        };
        !looked || self.needs_request(gate)
    }

    /// Whether time alone may have ended it since it was decided last. Cheap enough for every tick; news
    /// is another reason to decide again.
    #[must_use]
    pub fn is_due(&self, gate: &Gate, now: Now) -> bool {
        if self.is_over(now) {
            return true;
        }
        match &self.basis {
            // Each second is another time to the rules.
            Basis::Granted(grant) if let Some(decided) = grant.by_time => {
                gate.times(now).ends != decided
                    || self.action(grant).is_none_or(|action| fresh(gate, action, now).is_err())
            }
            Basis::Granted(grant) => {
                let holds = grant.holds_at(gate.times(now));
                !holds || self.action(grant).is_none_or(|action| fresh(gate, action, now).is_err())
            }
            Basis::Public | Basis::PassedThrough | Basis::Shadow => false,
        }
    }

    /// Decides again under the same bundle.
    ///
    /// # Errors
    /// What a decision on the request would be denied with now; `duration_over`; `policy_changed` under
    /// another bundle, where [`Standing::decide_anew`] must be asked.
    pub fn still_stands(&mut self, gate: &Gate, now: Now) -> Result<(), Denial> {
        if !self.may_end(gate) {
            return Ok(());
        }
        if !self.is_under(gate) {
            return Err(self.denied(Denial::new(Code::PolicyChanged, "another bundle is in force")));
        }
        if self.by_time().is_some_and(|decided| decided != gate.times(now).ends) {
            let what = "the policy's rules speak of the time";
            return Err(self.denied(Denial::new(Code::PolicyChanged, what)));
        }
        let looked = match &self.basis {
            Basis::Granted(grant) => Some(self.look(grant, gate, now)),
            Basis::Public | Basis::PassedThrough | Basis::Shadow => None,
        };
        match (looked, &mut self.basis) {
            (Some(Ok((holds, hashes))), Basis::Granted(grant)) => match (hashes, &mut grant.looked)
            {
                (None, Some(looked)) => looked.holds = holds,
                (None, None) => {}
                (Some(hashes), looked) => *looked = Some(Box::new(Looked { holds, hashes })),
            },
            (Some(Err(denial)), _) => return Err(self.denied(denial)),
            (Some(Ok(_)) | None, _) => {}
        }
        self.lasts(now)
    }

    /// Decides the whole request again: what came with its headers, as they came.
    ///
    /// # Errors
    /// The denial of the decision; `duration_over`.
    pub fn decide_anew(
        &mut self,
        request: &Request<'_>,
        gate: &Gate,
        cache: &mut TokenCache,
        now: Now,
    ) -> Result<(), Denial> {
        let confirmation = match &self.basis {
            Basis::Granted(grant) => grant.confirmation.clone(),
            Basis::Public | Basis::PassedThrough | Basis::Shadow => None,
        };
        match run(request, gate, cache, confirmation, now, &mut Silent) {
            Decision::Allow(permit) => {
                *self = Self { opened: self.opened, ..permit.into_standing() };
                self.lasts(now)
            }
            Decision::Deny(denial) => Err(denial),
            // It has begun, and nobody can be asked before it goes on.
            Decision::Redeem(redemption) => {
                Err(redemption.unconfirmed("another policy asks for what was not confirmed"))
            }
            // It was let on by its headers alone, and its body is gone.
            Decision::Read(_) => {
                let what = "the policy in force reads the body";
                Err(self.denied(Denial::new(Code::PolicyChanged, what)))
            }
        }
    }

    /// Whom and what it is about.
    #[must_use]
    pub fn about(&self) -> About {
        match &self.basis {
            Basis::Granted(grant) => About {
                agent: Some(grant.signed.agent().to_owned()),
                action: self.action(grant).map(|action| action.name.clone()),
                noted: Noted::of(&grant.signed),
                ..About::default()
            },
            Basis::Public | Basis::PassedThrough | Basis::Shadow => About::default(),
        }
    }

    /// Until when it holds, and the hashes where they were made anew.
    fn look(
        &self,
        grant: &Grant,
        gate: &Gate,
        now: Now,
    ) -> Result<(Window, Option<Hashes>), Denial> {
        let position = in_force(gate, now)?;
        // INVARIANT: the number came out of this index.
        let action = self.action(grant).ok_or_else(|| Denial::new(Code::NoRoute, "no action"))?;
        let table = gate
            .revocations()
            .ok_or_else(|| Denial::new(Code::NotReady, "there is no revocation table"))?;
        let known = grant.looked.as_ref().map(|looked| &looked.hashes);
        let known = known.filter(|hashes| hashes.made_with == table.hash_key().id());
        let mut key = 0;
        let key_is_revoked = |kid: &str| {
            key = known.map_or_else(|| table.hash_key().hash(Kind::Key, kid), |known| known.key);
            table.hits_hash(key, 0)
        };
        let times = gate.times(now);
        let speaking = Speaking { keyring: gate.keyring(), base: gate.base(), times };
        let authentic = grant.signed.authentic(&speaking, key_is_revoked)?;
        // The audience is the host's, as it was.
        let verified = authentic.check(&gate.settings().environment, None, times)?;
        let claims = verified.claims();
        fresh(gate, action, now)?;
        in_step(claims.seq, position, gate.behind())?;
        let made = match known {
            Some(_) => None,
            None => Some(Hashes::of(claims, key, table.hash_key())?),
        };
        if let Some(hashes) = known.or(made.as_ref()) {
            hashes.alive(claims, table)?;
        }
        young(claims, action, times.ends.since(claims.iat))?;
        Ok((window(&grant.signed, claims, action, gate), made))
    }

    fn action(&self, grant: &Grant) -> Option<&Action> {
        let index = self.index.as_deref()?;
        index.bundle().actions.get(usize::try_from(grant.action).ok()?)
    }

    fn is_over(&self, now: Now) -> bool {
        self.max_duration().is_some_and(|seconds| {
            self.opened.plus(u64::from(seconds).saturating_mul(1_000)) <= now.monotonic
        })
    }

    fn lasts(&self, now: Now) -> Result<(), Denial> {
        if self.is_over(now) {
            return Err(self.denied(Denial::new(Code::DurationOver, "the route's `max_duration`")));
        }
        Ok(())
    }

    fn denied(&self, denial: Denial) -> Denial {
        denial.about(self.about())
    }
}

/// The same basis, for tests that compare decisions.
impl PartialEq for Standing {
    fn eq(&self, other: &Self) -> bool {
        let granted = |standing: &Self| match &standing.basis {
            Basis::Granted(grant) => Some((grant.signed.agent().to_owned(), grant.action)),
            Basis::Public | Basis::PassedThrough | Basis::Shadow => None,
        };
        granted(self) == granted(other)
            && self.opened == other.opened
            && self.max_duration() == other.max_duration()
    }
}

impl Eq for Standing {}

/// Names nothing of the gatepass but who acts.
impl fmt::Debug for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Standing")
            .field("about", &self.about())
            .field("opened", &self.opened)
            .field("max_duration", &self.max_duration())
            .finish()
    }
}

/// When neither the gatepass, nor its key, nor the action's `max_age` begins or ends.
fn window(signed: &Signed, claims: &Claims<'_>, action: &Action, gate: &Gate) -> Window {
    let earliest = |time: UnixSeconds| UnixSeconds(time.0.saturating_sub(MAX_CLOCK_SKEW));
    let began = claims.nbf.map_or(claims.iat, |nbf| nbf.max(claims.iat));
    let mut window = Window { from: earliest(began), until: claims.exp };
    if let Some(most) = action.max_age {
        window.until = window.until.min(claims.iat.plus(u64::from(most).saturating_add(1)));
    }
    // Without a key it is due at once.
    let key = signed.key().and_then(|key| gate.keyring().find(key));
    let (not_before, not_after) =
        key.map_or((began, UnixSeconds(0)), |key| (key.not_before, key.not_after));
    Window { from: window.from.max(not_before), until: window.until.min(not_after) }
}

#[cfg(test)]
impl Standing {
    /// As if it had been decided under this gate's bundle.
    pub(super) fn rebase(&mut self, gate: &Gate) {
        self.index = gate.shared_index().cloned();
    }
}
