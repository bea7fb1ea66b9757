//! Policies, and the cohorts that try them first: what operators publish, promote, withdraw and remove, and
//! what must be refused to them.

use serde_json::json;

use super::audience::{AUDIENCES, OF_ALL};
use super::clock::Moment;
use super::desk::{Desk, Did};
use super::mutant::Mutant;
use super::plane::Plane;
use super::policy::{VARIANTS, Variant};
use super::random::Random;
use gatepass_engine::position::Position;

/// A cohort that there is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cohort {
    tries: Option<Trial>,
}

/// A policy that it has before all others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trial {
    version: u64,
    variant: Variant,
    /// Of its text.
    number: u64,
    pub(crate) began: Moment,
    /// When it was tried there first: a text that is published again goes on, with what was decided by it.
    pub(crate) counted: Moment,
    pub(crate) since: Option<Position>,
}

/// What was done, to be held against what the oracle knows.
#[derive(Clone, Debug, Default)]
pub(crate) enum Doubt {
    #[default]
    None,
    /// It had to be refused.
    Wrong(String),
    /// A cohort tries a policy from now on.
    Tried(usize),
    /// Nobody has said that denials do not matter.
    Promoted(usize, Trial),
    /// Nobody has said that followers do not matter; it was made then.
    Removed(usize, Moment),
}

impl Desk {
    /// An operator does something about policies and cohorts.
    pub(crate) fn govern(
        &mut self,
        plane: &mut Plane,
        random: &mut Random,
        at: Moment,
    ) -> Result<Did, String> {
        let (there, gone): (Vec<usize>, Vec<usize>) =
            (1..AUDIENCES.len()).partition(|cohort| self.known.cohorts[*cohort].is_some());
        if !gone.is_empty() && random.percent(50) {
            return self.add(plane, random.pick(&gone), at);
        }
        if there.is_empty() {
            return self.publish(plane, random, at);
        }
        // Of the first there is mostly an Envoy.
        let any = if random.percent(50) { there[0] } else { random.pick(&there) };
        let trying: Vec<usize> =
            there.into_iter().filter(|cohort| self.trial(*cohort).is_some()).collect();
        if trying.is_empty() {
            return match random.below(100) {
                0..45 => self.publish(plane, random, at),
                45..90 => self.try_out(plane, random, any, at),
                _ => self.remove(plane, random, any, at),
            };
        }
        let cohort = random.pick(&trying);
        match random.below(100) {
            0..45 => self.promote(plane, random, cohort, false, at),
            45..50 => self.promote(plane, random, cohort, true, at),
            50..65 => self.withdraw(plane, cohort, at),
            65..80 => self.try_out(plane, random, any, at),
            80..92 => self.publish(plane, random, at),
            _ => self.remove(plane, random, any, at),
        }
    }

    fn trial(&self, cohort: usize) -> Option<Trial> {
        self.known.cohorts[cohort].and_then(|known| known.tries)
    }

    fn trying(&self) -> Option<usize> {
        (1..AUDIENCES.len()).find(|cohort| self.trial(*cohort).is_some())
    }

    /// For all; refused while a cohort tries a policy.
    pub(crate) fn publish(
        &mut self,
        plane: &mut Plane,
        random: &mut Random,
        at: Moment,
    ) -> Result<Did, String> {
        let doubt = match self.trying() {
            Some(cohort) => {
                Doubt::Wrong(format!("for all, while `{}` tries another", AUDIENCES[cohort]))
            }
            None => Doubt::None,
        };
        if random.percent(30) && !self.known.versions.is_empty() {
            let (version, variant) = random.pick(&self.known.versions);
            plane.change(&format!("/v1/policies/{version}/rollback"), json!({}), at)?;
            self.put_for_all(plane, variant, None, at);
            let what = format!("{version} {variant:?}");
            return Ok(Did { name: "policy rolled back", what, doubt });
        }
        self.made += 1;
        let variant = random.pick(&VARIANTS);
        let body = json!({ "content": variant.text(self.made, self.is_honest()) });
        let done = plane.change("/v1/policies", body, at)?;
        if let Some(version) = done["result"]["version"].as_u64() {
            self.known.versions.push((version, variant));
        }
        self.put_for_all(plane, variant, None, at);
        Ok(Did { name: "policy published", what: format!("{variant:?}"), doubt })
    }

    /// To whoever tries it already it is no news.
    fn put_for_all(&mut self, plane: &Plane, policy: Variant, has_it: Option<usize>, at: Moment) {
        self.known.policy = policy;
        let here = plane.position();
        for (number, known) in self.known.cohorts.iter_mut().enumerate() {
            if number != OF_ALL && known.is_none() {
                continue;
            }
            if let Some(cohort) = known {
                cohort.tries = None;
            }
            if Some(number) != has_it {
                self.audiences[number].put(policy, at, here);
            }
        }
    }

    fn try_out(
        &mut self,
        plane: &mut Plane,
        random: &mut Random,
        cohort: usize,
        at: Moment,
    ) -> Result<Did, String> {
        // The very text that another one tries, now and then: then either may be promoted.
        let other = self.trying().filter(|other| *other != cohort).and_then(|it| self.trial(it));
        let (number, variant) = match other.filter(|_| random.percent(50)) {
            Some(other) => (other.number, other.variant),
            None => {
                self.made += 1;
                (self.made, random.pick(&VARIANTS))
            }
        };
        let name = AUDIENCES[cohort];
        let body = json!({
            "content": variant.text(number, self.is_honest()), "cohort": name,
        });
        let done = plane.change("/v1/policies", body, at)?;
        let version = done["result"]["version"].as_u64().unwrap_or_default();
        self.known.versions.push((version, variant));
        let since = plane.position();
        let counted = *self.tried.entry((cohort, number)).or_insert(at);
        let trial = Trial { version, variant, number, began: at, counted, since };
        self.known.cohorts[cohort] = Some(Cohort { tries: Some(trial) });
        self.audiences[cohort].put(variant, at, since);
        let what = format!("{name}: {version} {variant:?}");
        Ok(Did { name: "policy tried", what, doubt: Doubt::Tried(cohort) })
    }

    fn promote(
        &mut self,
        plane: &mut Plane,
        random: &mut Random,
        cohort: usize,
        despite: bool,
        at: Moment,
    ) -> Result<Did, String> {
        let Some(trial) = self.trial(cohort) else { return Err("nothing is tried".to_owned()) };
        let mut doubt = if despite { Doubt::None } else { Doubt::Promoted(cohort, trial) };
        let is_rash = self.mutant == Some(Mutant::Rash);
        let name = AUDIENCES[cohort];
        let mut body = json!({ "cohort": name, "despite_denials": despite || is_rash });
        if random.percent(10) {
            body["version"] = (trial.version + 1).into();
            doubt = Doubt::Wrong(format!("version {} was asked for", trial.version + 1));
        }
        let others = (1..AUDIENCES.len()).filter(|other| *other != cohort);
        let mut tried = others.filter_map(|other| self.trial(other));
        if tried.any(|other| other.number != trial.number) {
            doubt = Doubt::Wrong("another cohort tries something else".to_owned());
        }
        let what = format!("{name}: {} {:?}", trial.version, trial.variant);
        let mut answer = plane.change("/v1/policies/promote", body.clone(), at);
        let is_blind = self.mutant == Some(Mutant::Blind);
        if is_blind && answer.as_ref().is_err_and(|why| why.contains(HELD[0].1)) {
            body["despite_denials"] = true.into();
            answer = plane.change("/v1/policies/promote", body, at);
        }
        match answer {
            Ok(_) => {
                self.put_for_all(plane, trial.variant, Some(cohort), at);
                let name = if despite { "promoted all the same" } else { "policy promoted" };
                Ok(Did { name, what, doubt })
            }
            Err(why) => match HELD.iter().find(|(_, said)| why.contains(said)) {
                Some((name, _)) => {
                    let what = format!("{what}: {why}");
                    Ok(Did { name, what, doubt: Doubt::None })
                }
                None => Err(why),
            },
        }
    }

    fn withdraw(&mut self, plane: &mut Plane, cohort: usize, at: Moment) -> Result<Did, String> {
        let name = AUDIENCES[cohort];
        plane.change("/v1/policies/withdraw", json!({ "cohort": name }), at)?;
        self.known.cohorts[cohort] = Some(Cohort::default());
        self.audiences[cohort].put(self.known.policy, at, plane.position());
        Ok(Did { name: "policy withdrawn", what: name.to_owned(), doubt: Doubt::None })
    }

    /// Where it may be published now.
    pub(crate) fn publish_anywhere(
        &mut self,
        plane: &mut Plane,
        random: &mut Random,
        at: Moment,
    ) -> Result<Did, String> {
        let there = (1..AUDIENCES.len()).filter(|cohort| self.known.cohorts[*cohort].is_some());
        let there: Vec<usize> = there.collect();
        match self.trying() {
            Some(cohort) => self.try_out(plane, random, cohort, at),
            None if !there.is_empty() && random.percent(30) => {
                let cohort = random.pick(&there);
                self.try_out(plane, random, cohort, at)
            }
            None => self.publish(plane, random, at),
        }
    }

    /// There is a successor of whatever is in force, in every audience.
    pub(crate) fn replace_policies(
        &mut self,
        plane: &mut Plane,
        random: &mut Random,
        at: Moment,
    ) -> Result<Did, String> {
        for cohort in 1..AUDIENCES.len() {
            if self.trial(cohort).is_some() {
                self.withdraw(plane, cohort, at)?;
            }
        }
        self.publish(plane, random, at)
    }

    fn add(&mut self, plane: &mut Plane, cohort: usize, at: Moment) -> Result<Did, String> {
        let name = AUDIENCES[cohort];
        plane.change("/v1/cohorts", json!({ "name": name }), at)?;
        self.known.cohorts[cohort] = Some(Cohort::default());
        self.audiences[cohort].put(self.known.policy, at, plane.position());
        Ok(Did { name: "cohort made", what: name.to_owned(), doubt: Doubt::None })
    }

    fn remove(
        &mut self,
        plane: &mut Plane,
        random: &mut Random,
        cohort: usize,
        at: Moment,
    ) -> Result<Did, String> {
        let name = AUDIENCES[cohort];
        let despite = random.percent(70);
        let doubt = match (self.trial(cohort), despite) {
            (Some(_), _) => Doubt::Wrong(format!("`{name}` tries a policy")),
            (None, false) => Doubt::Removed(cohort, self.audiences[cohort].turned),
            (None, true) => Doubt::None,
        };
        let body = json!({ "despite_followers": despite });
        plane.change(&format!("/v1/cohorts/{name}/remove"), body, at)?;
        self.known.cohorts[cohort] = None;
        self.audiences[cohort].end(at);
        Ok(Did { name: "cohort removed", what: name.to_owned(), doubt })
    }

    /// A copy has come back, with the cohorts that there were when it was made and what they tried.
    pub(crate) fn put_as_known(&mut self, plane: &Plane, at: Moment) {
        let here = plane.position();
        self.audiences[OF_ALL].put(self.known.policy, at, here);
        for cohort in 1..AUDIENCES.len() {
            match self.known.cohorts[cohort] {
                Some(known) => {
                    let own = known.tries.map(|trial| trial.variant);
                    self.audiences[cohort].put(own.unwrap_or(self.known.policy), at, here);
                }
                None => self.audiences[cohort].end(at),
            }
        }
    }

    /// What the control plane says of its cohorts and is not so.
    pub(crate) fn mistaken(&self, plane: &mut Plane, at: Moment) -> Option<String> {
        let Ok(said) = plane.get("/v1/cohorts", at) else { return None };
        let listed = |name: &str| said.as_array()?.iter().find(|cohort| cohort["name"] == name);
        (1..AUDIENCES.len()).find_map(|cohort| {
            let told = listed(AUDIENCES[cohort]);
            let told = told.map(|told| {
                let version = told["policy_version"].as_u64();
                version.filter(|_| told["is_canary"] == true)
            });
            let known = self.known.cohorts[cohort];
            let known = known.map(|known| known.tries.map(|trial| trial.version));
            let text = || format!("`{}`: {told:?}, and it is {known:?}", AUDIENCES[cohort]);
            (told != known).then(text)
        })
    }
}

/// Why a promotion is held, and what is said then; the first that is there.
const HELD: [(&str, &str); 6] = [
    ("held: denials jumped", "were denied in the cohort"),
    ("held: not enforced there", "it is not enforced by"),
    ("held: too few decisions", "were seen in the cohort"),
    ("held: nothing to compare", "to compare with"),
    ("held: no envoy", "no Envoy of the cohort has reported"),
    ("held: too soon", "too short a time to have heard"),
];
