//! Knows everything, and says what must never be. Time is true time; the bounds are stated at the bottom.
//!
//! *Stopped* means that whoever stopped it was answered at that moment: a revocation, the end of a task or an
//! agent, a key that is gone, a policy that withdraws an action, a restored copy. *Calm* is an Envoy with
//! which, and with the control plane, nothing was wrong for a while: no link that loses, no worker that
//! sleeps, no clock that has jumped, and its feed audience is there.

use gatepass_filter::positions::Enforced;

use super::audience::{AUDIENCES, Answer, Audience};
use super::clock::{Moment, SECOND};
use super::envoy::Asked;
use super::policy::Action;
use super::report::Rule;
use super::world::World;

impl World {
    /// Since when an Envoy and all that it needs are well.
    pub(crate) fn calm_since(&self, envoy: usize) -> Moment {
        let plane = if self.troubles > 0 { Moment::MAX } else { self.troubled };
        let audience = self.audience(envoy);
        let said = if audience.policy.is_some() { audience.turned } else { Moment::MAX };
        self.envoys[envoy].calm_since().max(plane).max(said)
    }

    fn audience(&self, envoy: usize) -> &Audience {
        &self.desk.audiences[self.envoys[envoy].audience]
    }

    /// How long the policy that a worker decides by lets it let something on that it hears nothing more of.
    fn bound(&self, envoy: usize, by: Enforced, action: Action) -> Moment {
        let policy = self.audience(envoy).policy_at(by.policy);
        self.with_grace(envoy, action, policy.map_or(0, |policy| policy.bound(action)))
    }

    /// A request was let on.
    pub(crate) fn allowed(&mut self, envoy: usize, place: usize, asked: &Asked, by: Enforced) {
        self.report.allowed += 1;
        self.report.mix(1);
        self.count_answered(envoy, Answer::Allowed);
        if self.is_deceived(envoy) {
            return self.allowed_by_deceived(envoy, asked);
        }
        if self.is_owed_by_grace(envoy, asked) {
            self.report.count("owed by a grace");
        }
        if self.is_owed(envoy, asked) || self.is_owed_by_grace(envoy, asked) {
            self.report.owed += 1;
            self.report.owed_allowed += 1;
        }
        let action = asked.action;
        let bound = self.bound(envoy, by, action);
        let as_told = bound + self.envoys[envoy].hidden(self.now) + SLACK;
        self.served(envoy, place, by, "allow", Some(as_told));
        let pass = &self.desk.passes[asked.pass];
        let known = &self.envoys[envoy];
        let who = format!(
            "envoy {envoy} of `{}` ({:?}, its wall hides {} ms) worker {place}: {} with gatepass {}",
            AUDIENCES[known.audience],
            known.link,
            known.hidden(self.now),
            action.name(),
            asked.pass
        );
        let is_granted = pass.actions.contains(&action) && !asked.forged;
        let its_epoch = by.position.is_some_and(|at| at.epoch == pass.epoch);
        if !is_granted || !its_epoch {
            let what = format!("{who}, which was never issued for it (forged: {})", asked.forged);
            return self.report.violate(Rule::Never, self.now, what);
        }
        // By what its own audience was told at that position, and not another one.
        let policy = self.audience(envoy).policy_at(by.policy);
        if !policy.is_some_and(|policy| policy.allows(action)) {
            let what = format!("{who}, by {policy:?} of {:?}, which does not allow it", by.policy);
            return self.report.violate(Rule::Never, self.now, what);
        }
        let stopped = self.audience(envoy).stopped(action);
        for (since, what) in pass.dead.into_iter().chain(stopped) {
            if let Some(rule) = self.is_late(envoy, bound, since, 0) {
                let late = self.now - since;
                let text =
                    format!("{who}, {late} ms after it was stopped ({what}), at {:?}", by.position);
                return self.report.violate(rule, self.now, text);
            }
        }
        let pass = &self.desk.passes[asked.pass];
        let own = self.envoys[envoy].clock.unix(self.now).0;
        let told = self.least_time(envoy, bound);
        if own >= pass.expires || told > pass.expires * SECOND + SLACK {
            let text = format!(
                "{who}, which expired at {}; its wall shows {own}, and it was told {told}",
                pass.expires
            );
            self.report.violate(Rule::Expired, self.now, text);
        }
    }

    /// Also whoever believes a thief lets on only what was issued for it, and only while it lasts: the feed's
    /// key issues nothing.
    fn allowed_by_deceived(&mut self, envoy: usize, asked: &Asked) {
        let pass = &self.desk.passes[asked.pass];
        let own = self.envoys[envoy].clock.unix(self.now).0;
        let who = format!("envoy {envoy}, deceived: {} with {}", asked.action.name(), asked.pass);
        if asked.forged || !pass.actions.contains(&asked.action) {
            self.report.violate(Rule::Never, self.now, who);
        } else if own >= pass.expires {
            self.report.violate(Rule::Expired, self.now, who);
        }
    }

    /// A request was refused.
    pub(crate) fn denied(
        &mut self,
        envoy: usize,
        place: usize,
        asked: &Asked,
        code: &str,
        by: Enforced,
    ) {
        self.report.deny(code);
        let own = self.envoys[envoy].clock.unix(self.now).0;
        let pass = &self.desk.passes[asked.pass];
        let lives = !asked.forged && pass.dead.is_none() && own < pass.expires;
        self.count_answered(envoy, Answer::refused(code, lives));
        if self.is_deceived(envoy) {
            return;
        }
        // These say that there is no state to answer from. So does a worker that could not apply all that it
        // has read: it refuses, and what a request lacks in itself is named before that (docs/exchange.md, the
        // second step of the check).
        let has_none = ["not_ready", "stale", "behind"].contains(&code);
        if !has_none && !self.envoys[envoy].is_behind(place) {
            self.served(envoy, place, by, code, None);
        }
        if self.desk.passes[asked.pass].dead.is_some() {
            self.report.dead_refused += 1;
        }
        if self.is_owed(envoy, asked) || self.is_owed_by_grace(envoy, asked) {
            self.report.owed += 1;
            let text = format!(
                "envoy {envoy} worker {place}: {} with gatepass {} of second {}: {code}, although all is well \
                 since {:.3} s",
                asked.action.name(),
                asked.pass,
                self.desk.passes[asked.pass].issued / SECOND,
                self.calm_since(envoy) as f64 / SECOND as f64,
            );
            self.report.violate(Rule::Owed, self.now, text);
        }
    }

    /// A request that was let on goes on, although its worker has just looked.
    pub(crate) fn still_open(&mut self, envoy: usize, place: usize) {
        if self.is_deceived(envoy) {
            return;
        }
        let by = self.envoys[envoy].enforced(place);
        for asked in self.envoys[envoy].workers[place].asked.clone() {
            if !asked.open {
                continue;
            }
            let pass = &self.desk.passes[asked.pass];
            let who = || {
                let name = asked.action.name();
                format!("envoy {envoy} worker {place}: {name} with gatepass {} is open", asked.pass)
            };
            let own = self.envoys[envoy].clock.wall(self.now);
            if own > pass.expires * SECOND + LOOKED {
                let text = format!("{}, which expired at {}", who(), pass.expires);
                self.report.violate(Rule::Expired, self.now, text);
                continue;
            }
            let bound = self.bound(envoy, by, asked.action);
            let stopped = self.audience(envoy).stopped(asked.action);
            for (since, what) in pass.dead.into_iter().chain(stopped) {
                if let Some(rule) = self.is_late(envoy, bound, since, LOOKED) {
                    let late = self.now - since;
                    let text = format!("{}, {late} ms after it was stopped ({what})", who());
                    self.report.violate(rule, self.now, text);
                }
            }
        }
    }

    /// Whether it is too late to go on with what was stopped then.
    fn is_late(&self, envoy: usize, bound: Moment, stopped: Moment, more: Moment) -> Option<Rule> {
        let late = self.now.saturating_sub(stopped);
        if self.calm_since(envoy).saturating_add(SETTLED) <= stopped && late > PUSH + more {
            return Some(Rule::Push);
        }
        let hidden = self.envoys[envoy].hidden(self.now);
        (late > bound + hidden + SLACK + more).then_some(Rule::Stale)
    }

    /// Something was answered from this state: let on, as nobody may who has heard nothing for so long, or
    /// refused.
    fn served(
        &mut self,
        envoy: usize,
        place: usize,
        by: Enforced,
        answer: &str,
        longest: Option<Moment>,
    ) {
        // A VM that starts has its policy from a base that came later than the policy.
        let policy = self.audience(envoy).number_at(by.policy);
        let calm_since = self.calm_since(envoy);
        let known = &mut self.envoys[envoy];
        let (position_before, policy_before) = known.served;
        known.served = (position_before.max(by.position), policy_before.max(policy));
        // A log that somebody has overwritten tells nobody of what others have served until the feed is heard
        // again, and nobody may hear it for hours. Until then staleness alone bounds what is let on
        // (docs/exchange.md, "A forged or lost `log`"), and what is refused harms nobody.
        let is_told = known.forged.is_none_or(|at| {
            let mended = at.max(calm_since).saturating_add(SETTLED);
            let is_stale = longest.is_some_and(|longest| at + longest.max(SETTLED) < self.now);
            mended < self.now || is_stale
        });
        // Who has it from a base may have a policy that others had to refuse.
        let is_same = self.bad_bundle.is_none() && self.mended + SETTLED < self.now;
        if is_told && (by.position < position_before || (is_same && policy < policy_before)) {
            let text = format!(
                "envoy {envoy} worker {place} answered {answer} from {by:?}, policy {policy}, after \
                 {position_before:?}, policy {policy_before}"
            );
            self.report.violate(Rule::Monotonic, self.now, text);
        }
    }

    fn count_answered(&mut self, envoy: usize, answer: Answer) {
        let audience = self.envoys[envoy].audience;
        self.desk.audiences[audience].answers(self.now, answer);
    }

    /// Whether there is no reason to refuse it.
    fn is_owed(&self, envoy: usize, asked: &Asked) -> bool {
        let pass = &self.desk.passes[asked.pass];
        let own = self.envoys[envoy].clock.unix(self.now).0;
        let newest = own.max(self.plane.now(self.now));
        let epoch = self.plane.position().map(|at| at.epoch);
        let audience = self.audience(envoy);
        self.calm_since(envoy).saturating_add(SETTLED) <= self.now
            && !asked.forged
            && pass.dead.is_none()
            && pass.actions.contains(&asked.action)
            && epoch == Some(pass.epoch)
            && pass.expires > newest + 5
            && audience.policy.is_some_and(|policy| policy.allows(asked.action))
            && audience.published + PUSH < self.now
            // Where the key before is dropped at once, nobody waits until all have heard of the next: that one
            // is unknown for as long as a push takes.
            && self.desk.exchanged + PUSH < self.now
    }
}

/// Milliseconds from the answer of whoever stops something until no worker of a calm Envoy lets it on: two
/// ways of 60 ms at most, between two polls a pause of up to a second, and the next tick.
pub(crate) const PUSH: Moment = 2 * SECOND;
/// What seconds and two monotonic clocks differ by.
pub(crate) const SLACK: Moment = 2 * SECOND;
/// The longest that an answer can be under way: Envoy gives the poll up.
pub(crate) const UNDER_WAY: Moment = 26 * SECOND;
/// From the end of the last trouble until all must be well: a poll that was lost is given up after 25 s.
pub(crate) const SETTLED: Moment = 45 * SECOND;
/// Open requests are looked at on ticks, here two seconds apart, and what the gate's own state is to blame for
/// is borne for two seconds.
const LOOKED: Moment = 5 * SECOND;
