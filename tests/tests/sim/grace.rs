//! Grace: the control plane is gone for longer, and whoever holds the root keys lets what is of low risk go on.

use gatepass_engine::position::Position;

use super::clock::{HOUR, MINUTE, Moment, SECOND};
use super::envoy::Asked;
use super::oracle::{PUSH, SETTLED, SLACK, UNDER_WAY};
use super::policy::Action;
use super::world::{Event, World, configuration};

/// A grace document that an Envoy has in its configuration.
#[derive(Clone, Debug)]
pub(crate) struct Grace {
    /// As the configuration takes it.
    pub(crate) base64: String,
    /// Unix seconds.
    pub(crate) issued: u64,
    pub(crate) expires: u64,
    given: Moment,
}

/// The control plane is gone since then, and all was well with it and the network before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gone {
    since: Moment,
    position: Option<Position>,
}

impl Grace {
    pub(crate) const fn new(base64: String, issued: u64, expires: u64, given: Moment) -> Self {
        Self { base64, issued, expires, given }
    }

    /// The longest, and the oldest state that is decided on under it.
    const LONGEST: Moment = 4 * HOUR;
}

impl World {
    /// The control plane goes; whether all was well is known only before.
    pub(crate) fn goes(&mut self) -> Option<Gone> {
        let is_well = self.troubles == 0 && self.troubled + SETTLED <= self.now;
        is_well.then(|| Gone { since: self.now, position: self.plane.position() })
    }

    /// If it is still gone then, somebody has had enough of it.
    pub(crate) fn expect_grace(&mut self) {
        if self.chance.percent(60) {
            let delay = self.chance.between(MINUTE, 10 * MINUTE);
            self.after(delay, Event::Grace);
        }
    }

    pub(crate) fn grant(&mut self) {
        if self.plane.is_running() {
            return;
        }
        let seconds = self.chance.of_any_size(60, Grace::LONGEST / SECOND);
        // One that is of medium risk is named too, and not covered.
        let named = [Action::Read, Action::List].map(|action| action.name().to_owned());
        let grace = self.plane.grant(named.to_vec(), seconds, self.now);
        self.report.count("grace");
        self.report.note(self.now, format_args!("grace for {seconds} s"));
        for envoy in 0..self.envoys.len() {
            let known = &self.envoys[envoy];
            let sleeps = known.workers.iter().any(|worker| worker.sleeps_until > self.now);
            if known.down || sleeps || self.chance.percent(20) {
                continue;
            }
            let audience = self.envoys[envoy].audience;
            let least_root = self.least_root();
            let configured = configuration(&self.plane, audience, least_root, None, Some(&grace));
            self.envoys[envoy].grace = Some(grace.clone());
            for _ in 0..ASKED {
                let delay = self.chance.between(5 * SECOND, 15 * MINUTE);
                self.after(delay, Event::AskOnce { envoy });
            }
            self.envoys[envoy].reconfigure(configured, self.now);
            for place in 0..self.envoys[envoy].workers.len() {
                self.ticks_from_now(envoy, place);
                self.follow_up(envoy, place);
            }
        }
    }

    /// How long a gate lets an action on that it hears nothing more of, where its policy says `bound`.
    pub(crate) fn with_grace(&self, envoy: usize, action: Action, bound: Moment) -> Moment {
        let grace = self.envoys[envoy].grace.as_ref().filter(|_| action == Action::Read);
        let covers = grace.is_some_and(|grace| {
            self.least_time(envoy, Grace::LONGEST) < grace.expires * SECOND + SLACK
        });
        if covers { bound.max(Grace::LONGEST) } else { bound }
    }

    /// The least that a gate can take for the time that ends something, in milliseconds, if it has heard the
    /// feed within `bound`: by its wall, or by what it last heard and how long ago that was.
    pub(crate) fn least_time(&self, envoy: usize, bound: Moment) -> u64 {
        let known = &self.envoys[envoy];
        let under_way = known.hidden(self.now).max(UNDER_WAY);
        let heard = self.now.saturating_sub(bound + under_way + SLACK);
        let signed = self.least_signed(heard).saturating_sub(under_way);
        known.clock.wall(self.now).max(signed)
    }

    /// Whether it is covered by a grace, and all was well before the control plane went.
    pub(crate) fn is_owed_by_grace(&self, envoy: usize, asked: &Asked) -> bool {
        let known = &self.envoys[envoy];
        let audience = &self.desk.audiences[known.audience];
        let pass = &self.desk.passes[asked.pass];
        let (Some(gone), Some(grace)) = (&self.gone, &known.grace) else { return false };
        let own = known.clock.unix(self.now).0;
        let newest = own.max(self.plane.now(self.now)) + 5;
        let is_good = !asked.forged
            && pass.dead.is_none()
            && pass.actions.contains(&asked.action)
            && gone.position.is_some_and(|at| at.epoch == pass.epoch)
            && pass.expires > newest;
        let last = audience.published.max(self.desk.exchanged).max(pass.issued) + PUSH;
        let is_calm = known.calm_since().max(audience.turned).saturating_add(SETTLED) <= gone.since;
        let covers = asked.action == Action::Read
            && grace.expires > newest
            && grace.issued <= own + 20
            && grace.given + LOOKS < self.now;
        is_good && last < gone.since && is_calm && covers && audience.policy.is_some()
    }
}

/// Milliseconds in which a new VM has read what others heard.
const LOOKS: Moment = 3 * SECOND;
/// Requests to an Envoy that was given one.
const ASKED: usize = 60;
