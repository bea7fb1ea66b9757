//! The decision on one request, in the order of 02-wire-formats, "Order of checks".
//!
//! **Invariant: no permit, no forward.** [`Permit`] has private fields and is built here alone.
//! Whatever is unknown, missing or fails is a [`Denial`] with its own code.

use std::sync::Arc;

use crate::bundle::{Action, ActionMode, BodyRule};
use crate::clock::{Now, UnixSeconds};
use crate::denial::{About, Code, Denial, HoldUntil};
use crate::digest::ActionFacts;
use crate::entry::Asked;
use crate::gate::{Gate, Mode};
use crate::gatepass::{Claims, Token};
use crate::ids::Subject;
use crate::inputs::Inputs;
use crate::keyring::Speaking;
use crate::position::Position;
use crate::redeem::{Confirmation, Needs, Redemption};
use crate::revocation::{Kind, Revocations};
use crate::routes::HostMatch;
use crate::target::{Ambiguous, Target, host};
use crate::token_cache::TokenCache;
use crate::trace::{Check, Outcome, Recorded, Silent, Trace};

mod admission;
mod credential;
mod demands;
mod line;
mod standing;

pub use admission::admit;
use credential::{AUTHORIZATION, Credential, scheme_and_token};
use demands::{approval, assurance, binding, needs, not_granted, restrictions, scopes, young};
use line::RequestLine;
pub use standing::Standing;
use standing::{Basis, Grant};

/// One header as bytes: a value that is not UTF-8 is data like any other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// Lower case, as Envoy holds it; pseudo-headers included.
    pub name: &'a [u8],
    pub value: &'a [u8],
}

/// What is decided on.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub headers: &'a [Header<'a>],
    /// The request has no body and no trailers.
    pub ends_with_headers: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    Allow(Permit),
    Deny(Denial),
    /// All holds but what only the control plane can confirm. It is decided again with what it says
    /// ([`decide_confirmed`]); until then the request does not go on.
    Redeem(Redemption),
}

/// The proof that a request may go on. Only [`decide`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permit {
    reason: Reason,
    action: Option<String>,
    strip_authorization: bool,
    standing: Standing,
}

/// Why a request may go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A gatepass grants it.
    Decided(Identity),
    /// It would have been denied, and the gate or the action is in shadow mode.
    Shadow(Denial),
    Public,
    PassedThrough,
}

/// Who acts, as the identity headers state it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub agent: String,
    pub owner: String,
    pub task: String,
}

impl Permit {
    #[must_use]
    pub const fn reason(&self) -> &Reason {
        &self.reason
    }

    /// The action that the route names; none for public and passed-through requests.
    #[must_use]
    pub fn action(&self) -> Option<&str> {
        self.action.as_deref()
    }

    /// What it rests on: for as long as the request is open.
    #[must_use]
    pub const fn standing(&self) -> &Standing {
        &self.standing
    }

    /// The same, when the permit has served its turn.
    #[must_use]
    pub fn into_standing(self) -> Standing {
        self.standing
    }

    /// Whether the gatepass in `Authorization` is ours and must not reach the upstream.
    #[must_use]
    pub const fn strips_authorization(&self) -> bool {
        self.strip_authorization
    }
}

/// Decides one request on the gate's state.
#[must_use]
pub fn decide(request: &Request<'_>, gate: &Gate, now: Now) -> Decision {
    decide_with(request, gate, &mut TokenCache::new(0), now)
}

/// The same decision, without verifying again what `cache` knows to be signed. What it knows changes
/// how long the decision takes, and nothing else.
#[must_use]
pub fn decide_with(
    request: &Request<'_>,
    gate: &Gate,
    cache: &mut TokenCache,
    now: Now,
) -> Decision {
    run(request, gate, cache, None, now, &mut Silent)
}

/// The same decision of a request whose [`Redemption`] was confirmed: on what is newest now, so that what was
/// revoked while it waited is denied.
#[must_use]
pub fn decide_confirmed(
    request: &Request<'_>,
    gate: &Gate,
    cache: &mut TokenCache,
    confirmation: Confirmation,
    now: Now,
) -> Decision {
    run(request, gate, cache, Some(Arc::new(confirmation)), now, &mut Silent)
}

/// The same decision with each check and how it ended, in order.
#[must_use]
pub fn explain(request: &Request<'_>, gate: &Gate, now: Now) -> (Decision, Recorded) {
    let mut recorded = Recorded::default();
    let decision = run(request, gate, &mut TokenCache::new(0), None, now, &mut recorded);
    (decision, recorded)
}

fn run<T: Trace>(
    request: &Request<'_>,
    gate: &Gate,
    cache: &mut TokenCache,
    confirmation: Option<Arc<Confirmation>>,
    now: Now,
    trace: &mut T,
) -> Decision {
    let mut judge = Judge {
        request,
        gate,
        now,
        trace,
        about: About::default(),
        shadow: false,
        authentic: false,
        max_duration: None,
        confirmation,
    };
    match judge.judge(cache) {
        Ok(Judged::Holds(reason, basis)) => judge.permit(reason, basis),
        Ok(Judged::Redeem(redemption)) => Decision::Redeem(redemption),
        Err(denial) => {
            let denial = denial.about(judge.about.clone());
            let shadow = judge.shadow || gate.settings().mode == Mode::Shadow;
            if shadow {
                // The denial may have come before the signature was looked at.
                if !judge.authentic {
                    judge.note_foreign_credential(cache);
                }
                judge.permit(Reason::Shadow(denial), Basis::Shadow)
            } else {
                Decision::Deny(denial)
            }
        }
    }
}

struct Judge<'r, 'g, T> {
    request: &'r Request<'r>,
    gate: &'g Gate,
    now: Now,
    trace: &'r mut T,
    about: About,
    /// The action that the route names is in shadow mode.
    shadow: bool,
    /// A signature verified under one of our keys.
    authentic: bool,
    max_duration: Option<u32>,
    /// What the control plane has said of this request.
    confirmation: Option<Arc<Confirmation>>,
}

enum Judged {
    Holds(Reason, Basis),
    Redeem(Redemption),
}

/// What the route asks for.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    /// Index in the bundle's actions.
    at: u32,
    action: &'a Action,
    inputs: &'a Inputs<'a>,
    facts: ActionFacts<'a, 'a>,
}

impl<'g, T: Trace> Judge<'_, 'g, T> {
    fn permit(self, reason: Reason, basis: Basis) -> Decision {
        // What is refused in shadow mode is refused nowhere, and so neither is it later.
        let basis = if self.shadow { Basis::Shadow } else { basis };
        Decision::Allow(Permit {
            reason,
            action: self.about.action,
            strip_authorization: self.authentic,
            standing: Standing::new(self.gate, basis, self.max_duration, self.now),
        })
    }

    fn judge(&mut self, cache: &mut TokenCache) -> Result<Judged, Denial> {
        let line = RequestLine::read(self.request.headers);
        let line = self.step(Check::Request, line.map_err(ambiguous))?;
        let host_name = self.step(Check::Host, host(line.authority).map_err(ambiguous))?;
        let index = self.gate.index();
        let matched_host = index.and_then(|index| index.host(host_name));
        if matches!(matched_host, Some(HostMatch::PassedThrough)) && !line.stream {
            self.note_foreign_credential(cache);
            return Ok(Judged::Holds(Reason::PassedThrough, Basis::PassedThrough));
        }
        let credential = self.step(Check::OneCredential, Credential::find(self.request.headers))?;
        let guarded = match matched_host {
            Some(HostMatch::Guarded(guarded)) => Some(guarded),
            Some(HostMatch::PassedThrough) | None => None,
        };
        let target = match line.connect {
            true => None,
            false => Some(self.step(Check::Path, Target::parse(line.path).map_err(ambiguous))?),
        };
        let matched = match (&guarded, &target) {
            (Some(guarded), Some(target)) => {
                let found = guarded.route(line.method, target, self.request.headers);
                self.step(Check::Route, found.map_err(ambiguous))?
            }
            _ => None,
        };
        self.max_duration = matched.as_ref().map(|found| found.max_duration);
        if let Some(found) = &matched
            && found.action.is_none()
            && !line.stream
        {
            self.note_foreign_credential(cache);
            return Ok(Judged::Holds(Reason::Public, Basis::Public));
        }
        // What passes as a plain request, and is here because it is none.
        let open = matches!(matched_host, Some(HostMatch::PassedThrough)) || matched.is_some();
        let wanted = match (&guarded, &target, &matched) {
            (Some(guarded), Some(target), Some(found)) => found.action.map(|(at, action)| Wanted {
                at,
                action,
                inputs: &found.inputs,
                facts: ActionFacts {
                    environment: &self.gate.settings().environment,
                    audience: guarded.audience(),
                    action: &action.name,
                    method: line.method,
                    host: host_name,
                    path: target.path,
                    inputs: &found.inputs,
                },
            }),
            _ => None,
        };
        if let Some(wanted) = &wanted {
            self.about.action = Some(wanted.action.name.clone());
            self.shadow = wanted.action.mode == ActionMode::Shadow;
        }
        let position = self.step(Check::Ready, self.ready(&credential))?;
        let presented = self.step(Check::Credential, credential.presented())?;
        let times = self.gate.times(self.now);
        let revocations = self.gate.revocations();
        let key_is_revoked =
            |kid: &str| revocations.is_none_or(|table| table.hits(Kind::Key, kid, 0));
        let speaking = self.speaking();
        let known = cache.find(presented.token);
        let place = match known {
            Some(place) => Some(place),
            None => {
                let token = self.step(Check::Shape, Token::split(presented.token))?;
                let unverified = self.step(Check::Shape, token.read())?;
                let signed = unverified.verify(&speaking, key_is_revoked);
                let unreadable = |denial: &Denial| denial.code() == Code::Malformed;
                let check = match &signed {
                    Err(denial) if unreadable(denial) => Check::Shape,
                    Ok(_) | Err(_) => Check::Signature,
                };
                let signed = self.step(check, signed)?;
                cache.keep(presented.token, signed)
            }
        };
        // INVARIANT: it was found or kept just now. Without it there is nothing to go by.
        let signed = place.and_then(|place| cache.get(place)).ok_or_else(not_kept)?;
        let authentic = signed.authentic(&speaking, key_is_revoked);
        let authentic = self.step(Check::Signature, authentic)?;
        self.authentic = true;
        let audience = guarded.as_ref().map(|guarded| guarded.audience());
        let verified = authentic.check(&self.gate.settings().environment, audience, times);
        let verified = self.step(Check::IssuerEnvironmentAudienceTime, verified)?;
        if let Some(place) = known {
            cache.note_used(place);
        }
        let claims = verified.claims();
        self.about.agent = Some(claims.client_id.as_str().to_owned());

        let at = claims.seq;
        let meant = matched.as_ref().and_then(|found| found.upgrade);
        let wanted = self.may_be_asked(wanted, &line, meant, open);
        if wanted.is_err() {
            // For the mark alone: that a route is missing is said before what the gatepass lacks. Where
            // no host matched, no audience was checked.
            let lives = in_step(at, position, self.gate.behind()).is_ok()
                && revoked(claims, revocations).is_ok();
            self.about.is_live = guarded.is_some() && lives;
        }
        let wanted = wanted?;
        self.step(Check::Freshness, fresh(self.gate, wanted.action, self.now))?;
        self.step(Check::Position, in_step(at, position, self.gate.behind()))?;
        self.step(Check::Revocation, revoked(claims, revocations))?;
        self.about.is_live = guarded.is_some();
        self.step(Check::Age, young(claims, wanted.action, times.ends.since(claims.iat)))?;
        self.step(Check::Scope, scopes(claims, wanted.action))?;
        self.step(Check::Restrictions, restrictions(claims, wanted.action))?;
        let pinned = claims.authorization_details.pins_digest() || claims.approval.is_some();
        let digest = if pinned { wanted.facts.digest() } else { None };
        let asked = Asked {
            action: &wanted.action.name,
            audience: wanted.facts.audience,
            inputs: wanted.inputs,
            headers_say_all: wanted.action.body == BodyRule::None,
            digest,
        };
        let granted = claims.authorization_details.grant(&asked).map_err(not_granted);
        let granted = self.step(Check::Entry, granted)?;
        self.step(Check::Binding, binding(presented, wanted.action))?;
        self.step(Check::Assurance, assurance(claims, wanted.action))?;
        self.step(Check::Approval, approval(claims, wanted.action, digest))?;
        let identity = Identity {
            agent: claims.client_id.as_str().to_owned(),
            owner: claims.owner.as_str().to_owned(),
            task: claims.txn.as_str().to_owned(),
        };
        let needs = needs(wanted.action, granted);
        let to_redeem = self.to_redeem(claims, needs, times.ends);
        if self.step(Check::Consumption, to_redeem)? {
            return Ok(Judged::Redeem(Redemption {
                jti: claims.jti.as_str().to_owned(),
                expires: claims.exp,
                needs,
                identity,
                action: wanted.action.name.clone(),
            }));
        }
        let grant = Grant::new(signed, wanted.at, self.confirmation.take());
        Ok(Judged::Holds(Reason::Decided(identity), Basis::Granted(grant)))
    }

    /// Whether the control plane must be asked. Last of all, and in shadow never: nothing is consumed there.
    fn to_redeem(
        &self,
        claims: &Claims<'_>,
        needs: Needs,
        now: UnixSeconds,
    ) -> Result<bool, Denial> {
        if !needs.any() {
            return Ok(false);
        }
        let jti = claims.jti.as_str();
        if let Some(confirmation) = &self.confirmation {
            let what = "what was confirmed is not all that must be";
            check(confirmation.covers(jti, needs), Code::ConfirmationFailed, what)?;
            return Ok(false);
        }
        if needs.one_use {
            self.gate.replays().may_ask(jti, claims.client_id.as_str(), now)?;
        }
        Ok(!self.shadow && self.gate.settings().mode != Mode::Shadow)
    }

    /// What the request line and the body say, whoever asks.
    fn may_be_asked<'w>(
        &mut self,
        wanted: Option<Wanted<'w>>,
        line: &RequestLine<'_>,
        meant: Option<&str>,
        open: bool,
    ) -> Result<Wanted<'w>, Denial> {
        let wanted = self.step(Check::RouteExists, route_exists(wanted, line, open))?;
        let stream = "an upgrade that the route does not name, or a tunnel";
        self.step(Check::Stream, check(line.is_meant(meant), Code::StreamNotAllowed, stream))?;
        let body = wanted.action.body == BodyRule::Unread || self.request.ends_with_headers;
        self.step(
            Check::Body,
            check(body, Code::BodyNotAllowed, "the request does not end with its headers"),
        )?;
        Ok(wanted)
    }

    /// The issuer keys as they may speak at the time of this request.
    fn speaking(&self) -> Speaking<'g> {
        Speaking {
            keyring: self.gate.keyring(),
            base: self.gate.base(),
            times: self.gate.times(self.now),
        }
    }

    fn step<V>(&mut self, check: Check, result: Result<V, Denial>) -> Result<V, Denial> {
        self.trace.note(check, || match &result {
            Ok(_) => Outcome::Passed,
            Err(denial) => Outcome::Failed(denial.code(), denial.detail().to_owned()),
        });
        result
    }

    /// A request before the first batch is worth holding only with a credential of the right
    /// shape: anything else would let anyone fill the places.
    fn ready(&self, credential: &Credential<'_>) -> Result<Position, Denial> {
        let denial = match in_force(self.gate, self.now) {
            Ok(position) => return Ok(position),
            Err(denial) => denial,
        };
        let whole = |text| Token::split(text).is_ok_and(|token| token.is_whole());
        let shaped = credential.presented().is_ok_and(|presented| whole(presented.token));
        Err(if shaped { denial.held_until(HoldUntil::Ready) } else { denial })
    }

    /// A request that goes on without a decision may carry a gatepass of ours all the same; it must
    /// not reach the upstream, which could use it elsewhere.
    fn note_foreign_credential(&mut self, cache: &mut TokenCache) {
        let revocable = |_: &str| false;
        let mut looked_at = 0_usize;
        for header in self.request.headers.iter().filter(|header| header.name == AUTHORIZATION) {
            for part in header.value.split(|byte| *byte == b',') {
                let Ok(presented) = scheme_and_token(part.trim_ascii()) else {
                    continue;
                };
                let kept = cache.find(presented.token);
                let token = Token::split(presented.token);
                if kept.is_none() && token.is_err() {
                    continue;
                }
                if looked_at >= MAX_FOREIGN_CREDENTIALS {
                    // More than anyone sends: not worth verifying, not worth passing on.
                    self.authentic = true;
                    return;
                }
                looked_at = looked_at.saturating_add(1);
                let place = kept.or_else(|| {
                    let signed = token.ok()?.read().ok()?.verify(&self.speaking(), revocable);
                    cache.keep(presented.token, signed.ok()?)
                });
                let signed = place.and_then(|place| cache.get(place));
                if signed.is_some_and(|one| one.authentic(&self.speaking(), revocable).is_ok()) {
                    self.authentic = true;
                    return;
                }
            }
        }
    }
}

/// The position, once a batch was accepted from the feed.
fn in_force(gate: &Gate, now: Now) -> Result<Position, Denial> {
    match (gate.position(), gate.age(now)) {
        (Some(position), Some(_)) => Ok(position),
        (None, _) | (_, None) => {
            Err(Denial::new(Code::NotReady, "no batch was accepted from the feed yet"))
        }
    }
}

fn fresh(gate: &Gate, action: &Action, now: Now) -> Result<(), Denial> {
    let bound = gate.staleness_bound(action, now);
    match gate.age(now) {
        Some(age) if age <= bound => Ok(()),
        Some(age) => Err(Denial::new(
            Code::Stale,
            format!("the proof of freshness is {age} ms old, the bound is {bound} ms"),
        )),
        None => Err(Denial::new(Code::Stale, "there is no proof of freshness")),
    }
}

fn not_kept() -> Denial {
    Denial::new(Code::Malformed, "the gatepass could not be looked at")
}

fn ambiguous(why: Ambiguous) -> Denial {
    Denial::new(Code::AmbiguousRequest, why.0)
}

fn check(holds: bool, code: Code, detail: &str) -> Result<(), Denial> {
    if holds { Ok(()) } else { Err(Denial::new(code, detail)) }
}

fn route_exists<'a>(
    wanted: Option<Wanted<'a>>,
    line: &RequestLine<'_>,
    open: bool,
) -> Result<Wanted<'a>, Denial> {
    match wanted {
        Some(wanted) => Ok(wanted),
        None if line.connect || (line.stream && open) => {
            Err(Denial::new(Code::StreamNotAllowed, "an upgrade or tunnel to what is no route"))
        }
        None => Err(Denial::new(Code::NoRoute, "no route for this host, method and path")),
    }
}

fn in_step(issued: Position, gate: Position, behind: Option<Position>) -> Result<(), Denial> {
    if issued.epoch < gate.epoch {
        return Err(Denial::new(
            Code::WrongEpoch,
            format!("issued at {issued}, the gate is at {gate}"),
        ));
    }
    if let Some(ahead) = behind {
        let denial =
            Denial::new(Code::Behind, format!("the gate is at {gate} and knows of {ahead}"));
        return Err(denial.held_until(HoldUntil::Reached(ahead.max(issued))));
    }
    if issued > gate {
        let denial =
            Denial::new(Code::Behind, format!("issued at {issued}, the gate is at {gate}"));
        return Err(denial.held_until(HoldUntil::Reached(issued)));
    }
    Ok(())
}

fn revoked(claims: &Claims<'_>, table: Option<&Revocations>) -> Result<(), Denial> {
    match table {
        Some(table) => alive(claims, |kind, id, sequence| table.hits(kind, id, sequence)),
        None => Err(Denial::new(Code::NotReady, "there is no revocation table")),
    }
}

/// Credential, ancestors, task, subject, every actor, their owners and blueprints. `hits` says
/// whether a revocation in force kills what carries this id and was issued at this sequence.
///
/// # Errors
/// The denial of the first that is dead.
pub fn alive(
    claims: &Claims<'_>,
    mut hits: impl FnMut(Kind, &str, u64) -> bool,
) -> Result<(), Denial> {
    let sequence = claims.seq.sequence;
    let mut check = |kind: Kind, id: &str, code: Code| {
        if hits(kind, id, sequence) {
            Err(Denial::new(code, format!("a revocation matches the hash of `{id}`")))
        } else {
            Ok(())
        }
    };
    check(Kind::Credential, claims.jti.as_str(), Code::RevokedCredential)?;
    for ancestor in &claims.anc {
        check(Kind::Credential, ancestor.as_str(), Code::RevokedAncestor)?;
    }
    check(Kind::Task, claims.txn.as_str(), Code::RevokedTask)?;
    check(Kind::Subject, claims.sub.as_str(), Code::RevokedSubject)?;
    if let Subject::Agent(agent) = claims.sub {
        check(Kind::Agent, agent.as_str(), Code::RevokedAgent)?;
    }
    check(Kind::Agent, claims.client_id.as_str(), Code::RevokedAgent)?;
    check(Kind::Owner, claims.owner.as_str(), Code::RevokedOwner)?;
    check(Kind::Blueprint, claims.blueprint.as_str(), Code::RevokedBlueprint)?;
    for actor in &claims.act {
        check(Kind::Agent, actor.sub.as_str(), Code::RevokedAgent)?;
        check(Kind::Owner, actor.owner.as_str(), Code::RevokedOwner)?;
        check(Kind::Blueprint, actor.blueprint.as_str(), Code::RevokedBlueprint)?;
    }
    Ok(())
}

/// Credentials of a gatepass's shape that are looked at in a request that is not decided. Commas
/// alone do not count: Digest (RFC 7616) has many.
const MAX_FOREIGN_CREDENTIALS: usize = 4;

#[cfg(test)]
mod lifetimes;
#[cfg(test)]
mod tests;
