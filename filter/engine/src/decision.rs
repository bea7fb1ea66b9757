//! The decision on one request, in the order of 02-wire-formats, "Order of checks".
//!
//! **Invariant: no permit, no forward.** [`Permit`] has private fields and is built here alone.
//! Whatever is unknown, missing or fails is a [`Denial`] with its own code.

use core::net::IpAddr;
use std::sync::Arc;

use crate::body::{Body, Read};
use crate::bundle::{Action, ActionMode, BodyRule};
use crate::clock::{Now, UnixSeconds};
use crate::denial::{About, CallId, Code, Denial, HoldUntil};
use crate::digest::{ActionFacts, BodyDigest};
use crate::entry::{Asked, Known};
use crate::gate::{Gate, Mode};
use crate::gatepass::{Claims, Token};
use crate::keyring::Speaking;
use crate::listing::Listing;
use crate::position::Position;
use crate::redeem::{Confirmation, Needs, Redemption};
use crate::revocation::Kind;
use crate::routes::{HostMatch, Matched, MatchedRoute};
use crate::rpc;
use crate::target::{Ambiguous, Target, host};
use crate::token_cache::TokenCache;
use crate::trace::{Check, Outcome, Recorded, Silent, Trace};

mod admission;
mod credential;
mod demands;
mod foreign;
mod line;
mod noted;
mod permit;
mod reading;
mod ruling;
mod standing;
mod state;

pub use admission::admit;
use credential::Credential;
use demands::{
    approval, assurance, binding, budgeted, needs, not_granted, restrictions, scopes, young,
};
use line::RequestLine;
pub use noted::{Noted, Seen};
pub use permit::{Identity, Permit, Reason};
use reading::unclear;
pub use standing::Standing;
use standing::{Basis, Grant};
pub use state::alive;
use state::{Held, fresh, in_force, in_step};

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
    pub body: Body<'a>,
    /// Of the caller, as the proxy knows it: read where [`crate::policy::Rules::use_source`], for each such
    /// look costs a call of the host.
    pub source: Option<IpAddr>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    Allow(Permit),
    Deny(Denial),
    /// All that can be said without the body holds. The same request is decided once more, from the start,
    /// with the whole body.
    Read(Awaited),
    /// All holds but what only the control plane can confirm. It is decided again with what it says
    /// ([`decide_confirmed`]); until then the request does not go on.
    Redeem(Box<Redemption>),
}

/// What a request waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Awaited {
    /// Bytes of a body that the route reads.
    pub most: u32,
    /// Who acts: what waits is bounded for each.
    pub agent: String,
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
        audience: None,
        confirmation,
        strip_replay: false,
        once: false,
        listing: None,
    };
    match judge.judge(cache) {
        Ok((reason, basis)) => judge.permit(reason, basis),
        Err(Stop::Read(most)) => {
            let agent = judge.about.agent.unwrap_or_default();
            Decision::Read(Awaited { most, agent })
        }
        Err(Stop::Redeem(redemption)) => Decision::Redeem(redemption),
        Err(Stop::Denied(denial)) => {
            judge.tell_whom_to_ask();
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

/// Why there is no permit.
enum Stop {
    Denied(Denial),
    /// Not yet: so many bytes of a body at most are to be read first.
    Read(u32),
    /// Not yet: this is to be confirmed first.
    Redeem(Box<Redemption>),
}

impl From<Denial> for Stop {
    fn from(denial: Denial) -> Self {
        Self::Denied(denial)
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
    /// Of a host that is called by messages.
    audience: Option<&'g str>,
    /// What the control plane has said of this request.
    confirmation: Option<Arc<Confirmation>>,
    strip_replay: bool,
    /// A use was spent for this request.
    once: bool,
    listing: Option<Box<Listing>>,
}

/// What the route asks for.
#[derive(Clone)]
struct Wanted<'a> {
    /// Index in the bundle's actions.
    at: u32,
    action: &'a Action,
    found: MatchedRoute<'a>,
}

/// What of the request line a decision goes on with.
struct Asking<'a> {
    line: &'a RequestLine<'a>,
    host: &'a str,
    audience: &'a str,
    target: &'a Target<'a>,
}

impl<'r, 'g, T: Trace> Judge<'r, 'g, T> {
    fn permit(self, reason: Reason, basis: Basis) -> Decision {
        // What is refused in shadow mode is refused nowhere, and so neither is it later.
        let basis = if self.shadow { Basis::Shadow } else { basis };
        Decision::Allow(Permit {
            reason,
            action: self.about.action,
            noted: Box::new(self.about.noted),
            strip_authorization: self.authentic,
            strip_replay: self.strip_replay,
            once: self.once,
            // What is refused in shadow mode is refused nowhere, and so nothing is hidden.
            listing: self.listing.filter(|_| matches!(basis, Basis::Granted(_))),
            standing: Standing::new(self.gate, basis, self.max_duration, self.now),
        })
    }

    fn judge(&mut self, cache: &mut TokenCache) -> Result<(Reason, Basis), Stop> {
        let line = RequestLine::read(self.request.headers);
        let line = self.step(Check::Request, line.map_err(ambiguous))?;
        let host_name = self.step(Check::Host, host(line.authority).map_err(ambiguous))?;
        let index = self.gate.index();
        let matched_host = index.and_then(|index| index.host(host_name));
        if matches!(matched_host, Some(HostMatch::PassedThrough)) && !line.stream {
            self.note_foreign_credential(cache);
            return Ok((Reason::PassedThrough, Basis::PassedThrough));
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
        // What passes as a plain request, and is here because it is none.
        let open = matches!(matched_host, Some(HostMatch::PassedThrough)) || matched.is_some();
        let (found, calls) = match matched {
            Some(Matched::Route(found)) => (Some(found), None),
            Some(Matched::Calls(calls)) => (None, Some(calls)),
            None => (None, None),
        };
        let meant = found.as_ref().and_then(|found| found.route.upgrade.as_deref());
        let wanted = match found {
            Some(found) => match self.wanted(found) {
                Some(wanted) => Some(wanted),
                None if line.stream => None,
                None => {
                    self.note_foreign_credential(cache);
                    return Ok((Reason::Public, Basis::Public));
                }
            },
            None => None,
        };
        if let Some(calls) = &calls {
            // Which action it is stands in the body.
            let is_modern = rpc::is_modern(self.request.headers);
            self.about.call = Some(CallId { is_modern, ..CallId::default() });
            self.audience = guarded.as_ref().map(|guarded| guarded.audience());
            self.shadow = calls.are_all_in_shadow();
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
        self.about.noted.verified(signed);

        let asking = match (&guarded, &target) {
            (Some(guarded), Some(target)) => {
                let audience = guarded.audience();
                Some(Asking { line: &line, host: host_name, audience, target })
            }
            _ => None,
        };
        let held = Held { gate: self.gate, now: self.now, position, claims };
        let is_call = calls.is_some() && !line.stream;
        let may_be_asked = match wanted {
            None if is_call => Ok(None),
            wanted => self.may_be_asked(wanted, &line, meant, open).map(Some),
        };
        if may_be_asked.is_err() {
            // For the mark alone: that a route is missing is said before what the gatepass lacks. Where
            // no host matched, no audience was checked.
            let lives = held.in_step().is_ok() && held.alive().is_ok();
            self.about.is_live = guarded.is_some() && lives;
        }
        let mut wanted = may_be_asked?;
        if let Some(wanted) = &wanted {
            self.step(Check::Freshness, held.fresh(wanted.action))?;
        }
        self.step(Check::Position, held.in_step())?;
        self.step(Check::Revocation, held.alive())?;
        self.about.is_live = guarded.is_some();
        // INVARIANT: only what has no host is not asked of anything, and was refused above.
        let asking = asking.ok_or_else(no_route)?;
        let mut read = Read::Nothing;
        let mut digest = BodyDigest::Empty;
        let mut listed = None;
        // Where nothing asks for a digest, none is made: it costs more than all else of the body.
        let pinned = claims.authorization_details.pins_digest() || claims.approval.is_some();
        if let (None, Some(calls)) = (&wanted, &calls) {
            read = self.read_call(calls)?;
            let called = self.called(calls, &read, pinned)?;
            self.step(Check::Freshness, held.fresh(called.wanted.action))?;
            (wanted, digest, listed) = (Some(called.wanted), called.digest, called.listed);
        }
        let wanted = wanted.ok_or_else(no_route)?;
        let action = wanted.action;
        self.step(Check::Age, young(claims, action, times.ends.since(claims.iat)))?;
        self.step(Check::Scope, scopes(claims, action))?;
        self.step(Check::Restrictions, restrictions(claims, action))?;
        let of_the_body;
        let mut inputs = &wanted.found.inputs;
        if action.body.is_read() {
            if calls.is_none() {
                let most = wanted.found.route.max_body;
                read = self.read(action, most)?;
                if pinned {
                    digest = read.digest();
                }
            }
            let found = wanted.found.read_inputs(asking.target, self.request.headers, &read);
            of_the_body = self.step(Check::Inputs, found.map_err(unclear))?;
            inputs = &of_the_body;
        }
        let facts = ActionFacts {
            environment: &self.gate.settings().environment,
            audience: asking.audience,
            action: &action.name,
            method: asking.line.method,
            host: asking.host,
            path: asking.target.path,
            inputs,
            body: digest,
        };
        self.about.noted.inputs(wanted.found.route, &facts);
        let digest = if pinned { facts.digest() } else { None };
        if let Some(digest) = digest {
            self.trace.digest(digest);
        }
        let asked = Asked {
            action: &action.name,
            audience: asking.audience,
            inputs,
            known: match action.body {
                BodyRule::None | BodyRule::Json | BodyRule::Form => Known::All,
                BodyRule::Digest => Known::Bytes,
                BodyRule::Unread => Known::Headers,
            },
            digest,
        };
        let granted = claims.authorization_details.grant(&asked).map_err(not_granted);
        let granted = self.step(Check::Entry, granted)?;
        let beside = "body and query both have what an input is named, or the body names a method";
        let plain = !inputs.stand_beside_a_query() && (calls.is_some() || !read.overrides_method());
        self.step(Check::Inputs, check(plain, Code::AmbiguousRequest, beside))?;
        self.step(Check::Binding, binding(presented, action))?;
        self.step(Check::Assurance, assurance(claims, action))?;
        self.step(Check::Approval, approval(claims, action, digest))?;
        if let Some(index) = index {
            let budgets = index.budgets(wanted.at);
            self.step(Check::Budget, budgeted(claims, budgets))?;
            self.ask_rules(index, claims, &asking, &wanted, inputs)?;
        }
        if let (Some(listed), Some(calls), Some(index)) = (listed, &calls, self.gate.shared_index())
        {
            let named = admission::named(claims, asking.audience);
            let age = times.ends.since(claims.iat);
            let usable = |at: u32, action: &Action| {
                named.contains(&*action.name)
                    && admission::usable(claims, action, age)
                    && admission::may_be_permitted(claims, at, action, index).is_ok()
            };
            let at = (asking.host, asking.target.path);
            let actions = calls.actions(usable);
            let listing = Listing::new(listed, Arc::clone(index), at, actions);
            self.listing = Some(Box::new(listing));
        }
        let identity = Identity {
            agent: claims.client_id.as_str().to_owned(),
            owner: claims.owner.as_str().to_owned(),
            task: claims.txn.as_str().to_owned(),
        };
        let needs = needs(action, granted);
        let must_redeem = self.must_redeem(claims, needs, times.ends);
        if self.step(Check::Consumption, must_redeem)? {
            self.tell_whom_to_ask();
            return Err(Stop::Redeem(Box::new(Redemption {
                jti: claims.jti.as_str().to_owned(),
                expires: claims.exp,
                needs,
                identity,
                about: self.about.clone(),
            })));
        }
        let by_time = index.is_some_and(|index| index.rules().use_time(wanted.at));
        let decided = by_time.then_some(times.ends);
        let grant = Grant::new(signed, wanted.at, self.confirmation.take(), decided);
        Ok((Reason::Decided(identity), Basis::Granted(grant)))
    }

    /// Whether the control plane must be asked. Last of all, and in shadow never: nothing is consumed there.
    fn must_redeem(
        &mut self,
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
            self.once = needs.one_use;
            return Ok(false);
        }
        if needs.one_use {
            self.gate.replays().may_ask(jti, claims.client_id.as_str(), now)?;
        }
        Ok(!self.shadow && self.gate.settings().mode != Mode::Shadow)
    }

    /// The action of a route, from now on what the decision is about; none where it is public.
    fn wanted<'w>(&mut self, found: MatchedRoute<'w>) -> Option<Wanted<'w>> {
        self.max_duration = Some(found.route.max_duration);
        self.strip_replay |= found.is_beside_calls;
        self.about.noted.route(found.at, self.gate);
        let (at, action) = found.action?;
        self.about.action = Some(action.name.clone());
        self.shadow = action.mode == ActionMode::Shadow;
        Some(Wanted { at, action, found })
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
        let takes = wanted.action.body != BodyRule::None || self.request.body == Body::None;
        self.step(
            Check::Body,
            check(takes, Code::BodyNotAllowed, "the request does not end with its headers"),
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
}

fn no_route() -> Denial {
    Denial::new(Code::NoRoute, "no route for this host, method and path")
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
        None => Err(no_route()),
    }
}

/// Of a gatepass that may search and not delete.
#[cfg(test)]
pub(crate) fn listing_of_tests() -> Listing {
    tests::listing()
}

#[cfg(test)]
mod lifetimes;
#[cfg(test)]
mod tests;
