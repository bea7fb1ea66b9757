//! What must be refused about policies and cohorts, by what is known of requests and Envoys, and not by what
//! gates report.

use std::fmt::Display;

use super::audience::{AUDIENCES, OF_ALL};
use super::clock::{MINUTE, Moment, SECOND};
use super::oracle::SETTLED;
use super::report::Rule;
use super::trials::{Doubt, Trial};
use super::world::{Event, World};

/// A VM of an Envoy that was well when its cohort got a policy to try.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Member {
    envoy: usize,
    place: usize,
    generation: u64,
}

impl World {
    /// Something was done, which may have had to be refused.
    pub(crate) fn doubt(&mut self, name: &str, what: impl Display, doubt: Doubt) {
        match doubt {
            Doubt::None => {}
            Doubt::Wrong(why) => self.wrong(format!("{name} {what}: {why}")),
            Doubt::Tried(cohort) => self.tried(cohort),
            Doubt::Promoted(cohort, trial) => self.promoted(cohort, &trial),
            Doubt::Removed(cohort, made) => self.removed(cohort, made),
        }
        self.look_at_cohorts();
    }

    /// Whether the control plane says of its cohorts what was done to them.
    pub(crate) fn look_at_cohorts(&mut self) {
        if let Some(mistaken) = self.desk.mistaken(&mut self.plane, self.now) {
            self.wrong(format!("the control plane says of {mistaken}"));
        }
    }

    fn wrong(&mut self, text: String) {
        self.report.violate(Rule::Trial, self.now, text);
    }

    fn tried(&mut self, cohort: usize) {
        let mut members = Vec::new();
        for envoy in 0..self.envoys.len() {
            let is_calm = self.calm_since(envoy).saturating_add(SETTLED) <= self.now;
            if self.envoys[envoy].audience == cohort && is_calm {
                let workers = self.envoys[envoy].workers.iter().enumerate();
                members.extend(workers.map(|(place, worker)| Member {
                    envoy,
                    place,
                    generation: worker.generation,
                }));
            }
        }
        self.members.insert(cohort, members);
        // Somebody looks whether it works, there and elsewhere.
        if self.chance.percent(50) {
            for envoy in 0..self.envoys.len() {
                for _ in 0..LOOKS {
                    let delay = self.chance.between(SECOND, 4 * MINUTE);
                    self.after(delay, Event::AskOnce { envoy });
                }
            }
        }
    }

    /// A promotion was not held.
    fn promoted(&mut self, cohort: usize, trial: &Trial) {
        let name = AUDIENCES[cohort];
        let answered = self.desk.audiences[cohort].answered(trial.counted, self.now).all();
        if answered < LEAST_DECISIONS {
            let text = format!("`{name}` was promoted after {answered} requests there");
            return self.wrong(text);
        }
        if let Some(jumped) = self.jumped(cohort, trial) {
            return self.wrong(format!("`{name}` was promoted, and {jumped}"));
        }
        // Reports are not kept over a start: who was not heard since may not be there.
        if self.plane.started >= trial.began {
            return;
        }
        let members = self.members.get(&cohort).cloned().unwrap_or_default();
        for Member { envoy, place, generation } in members {
            let known = &self.envoys[envoy];
            let worker = &known.workers[place];
            // A thread that sleeps is not counted, and what was overwritten may have been its place.
            let is_counted = worker.generation == generation
                && worker.is_alive()
                && worker.sleeps_until < trial.began
                && known.forged.is_none_or(|at| at < trial.began);
            let policy = self.envoys[envoy].enforced(place).policy;
            if is_counted && policy < trial.since {
                let text = format!(
                    "`{name}` was promoted, and worker {place} of envoy {envoy} never had it: {policy:?}"
                );
                return self.wrong(text);
            }
        }
    }

    /// What surely was seen: where all is well, what was answered some time ago was reported.
    fn jumped(&self, cohort: usize, trial: &Trial) -> Option<String> {
        let all_well = (0..self.envoys.len()).all(|envoy| {
            ![cohort, OF_ALL].contains(&self.envoys[envoy].audience)
                || self.calm_since(envoy).saturating_add(SETTLED) <= trial.began
        });
        if !all_well || self.plane.started + SETTLED > trial.began || trial.counted != trial.began {
            return None;
        }
        let reported = self.now.saturating_sub(REPORTED);
        let [here, others] = [cohort, OF_ALL].map(|audience| &self.desk.audiences[audience]);
        let denied = here.answered(trial.began + SECOND, reported).denied;
        let allowed = here.answered(trial.began, self.now).allowed;
        let there = others.answered(trial.began, reported);
        let (there_allowed, most) =
            (there.allowed, others.answered(trial.began.saturating_sub(REPORTED), self.now));
        let there_denied = most.denied + most.unclear;
        if there_allowed < LEAST_DECISIONS || denied + allowed < LEAST_DECISIONS {
            return None;
        }
        let share = |denied: usize, allowed: usize| denied as f64 / (denied + allowed) as f64;
        let is_jump = share(denied, allowed) > 2.0 * share(there_denied, there_allowed) + 0.01;
        is_jump.then(|| {
            format!(
                "{denied} were denied there beside {allowed}, and {there_denied} elsewhere beside \
                 {there_allowed}"
            )
        })
    }

    /// A cohort was removed, and nobody has said that followers do not matter.
    fn removed(&mut self, cohort: usize, made: Moment) {
        let follows = (0..self.envoys.len()).find(|envoy| {
            let known = &self.envoys[*envoy];
            // It is calm no more, since nothing is said to it.
            let since = known.calm_since().max(self.plane.started).max(self.troubled).max(made);
            let is_calm = self.troubles == 0 && since.saturating_add(SETTLED) <= self.now;
            known.audience == cohort && is_calm
        });
        if let Some(envoy) = follows {
            let name = AUDIENCES[cohort];
            self.wrong(format!("`{name}` was removed although envoy {envoy} follows it"));
        }
    }
}

/// Decisions without which nothing is promoted. Here all requests are counted that were answered.
const LEAST_DECISIONS: usize = 100;
/// Requests to each Envoy when a policy is tried.
const LOOKS: usize = 150;
/// Milliseconds after which an Envoy has told what it has decided: a poll is held for 20 s at most.
const REPORTED: Moment = 60 * SECOND;
