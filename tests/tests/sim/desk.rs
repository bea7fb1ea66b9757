//! Agents that ask for gatepasses, and operators who stop things, publish policies and exchange keys: what
//! the control plane is asked, and what it has answered.

use std::collections::BTreeMap;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gatepass::client::escaped;
use gatepass::desk::assertion::ASSERTION_TYPE;
use gatepass::keys::{KeyRole, SecretKey, Signer as _, public_text};
use gatepass::server::Door;
use serde_json::{Value, json};

use super::audience::{AUDIENCES, Audience, OF_ALL};
use super::clock::Moment;
use super::mutant::Mutant;
use super::pass::{Pass, Stopped};
use super::plane::{ISSUER, Plane};
use super::policy::{ACTIONS, AUDIENCE, Action, Variant};
use super::random::Random;
use super::trials::{Cohort, Doubt};

/// What the simulation knows of the registry.
pub(crate) struct Desk {
    agents: Vec<Agent>,
    pub(crate) passes: Vec<Pass>,
    pub(crate) known: Known,
    /// By number: those in no cohort, and each cohort.
    pub(crate) audiences: [Audience; AUDIENCES.len()],
    /// When keys were exchanged last.
    pub(crate) exchanged: Moment,
    /// When each text was tried first in each cohort.
    pub(crate) tried: BTreeMap<(usize, u64), Moment>,
    backups: Vec<Backup>,
    pub(crate) closed: bool,
    /// A thief has the feed key, or there are gates that still believe it.
    pub(crate) is_robbed: bool,
    pub(crate) made: u64,
    rotations: u64,
    pub(crate) mutant: Option<Mutant>,
}

/// What a copy of the database brings back.
#[derive(Clone)]
pub(crate) struct Known {
    /// Of all.
    pub(crate) policy: Variant,
    pub(crate) versions: Vec<(u64, Variant)>,
    /// By the numbers of their audiences; there is none of all.
    pub(crate) cohorts: [Option<Cohort>; AUDIENCES.len()],
    agents: usize,
}

struct Backup {
    copy: PathBuf,
    signed: u64,
    known: Known,
}

struct Agent {
    id: String,
    key: SecretKey,
    owner: String,
    blueprint: &'static str,
    /// It is issued something, as far as is known.
    works: bool,
}

/// What an operator did.
pub(crate) struct Did {
    pub(crate) name: &'static str,
    pub(crate) what: String,
    pub(crate) doubt: Doubt,
}

impl Did {
    const fn of(name: &'static str, what: String) -> Self {
        Self { name, what, doubt: Doubt::None }
    }
}

pub(crate) const BLUEPRINTS: [&str; 2] = ["buyer", "clerk"];
const OWNERS: [&str; 3] = ["user:corp/ann", "user:corp/bob", "user:corp/cid"];

impl Desk {
    pub(crate) fn new(plane: &mut Plane, policy: Variant, mutant: Option<Mutant>) -> Self {
        for owner in OWNERS {
            let person = json!({ "id": owner, "name": owner, "contact": owner });
            plane.change("/v1/people", person, 0).unwrap();
        }
        let text = policy.text(0, mutant != Some(Mutant::Lax));
        plane.change("/v1/policies", json!({ "content": text }), 0).unwrap();
        let mut audiences: [Audience; AUDIENCES.len()] = Default::default();
        let mut cohorts = [None; AUDIENCES.len()];
        for (number, name) in AUDIENCES.into_iter().enumerate() {
            if number != OF_ALL {
                plane.change("/v1/cohorts", json!({ "name": name }), 0).unwrap();
                cohorts[number] = Some(Cohort::default());
            }
            audiences[number].put(policy, 0, plane.position());
        }
        let actions = ACTIONS.map(Action::name);
        for id in BLUEPRINTS {
            let ceiling = json!({
                "entries": [{ "actions": actions, "locations": [AUDIENCE] }],
                "scopes": ["orders.write"],
            });
            let blueprint =
                json!({ "id": id, "purpose": "buys", "owners": "group", "ceiling": ceiling });
            plane.change("/v1/blueprints", blueprint, 0).unwrap();
        }
        let known = Known { policy, versions: vec![(1, policy)], cohorts, agents: 0 };
        let mut desk = Self {
            agents: Vec::new(),
            passes: Vec::new(),
            known,
            audiences,
            exchanged: 0,
            tried: BTreeMap::new(),
            backups: Vec::new(),
            closed: false,
            is_robbed: false,
            made: 0,
            rotations: 0,
            mutant,
        };
        for place in 0..6 {
            desk.register(plane, place, 0).unwrap();
        }
        desk
    }

    fn register(&mut self, plane: &mut Plane, place: usize, at: Moment) -> Result<(), String> {
        self.made += 1;
        let mut seed = [7; 32];
        seed[..8].copy_from_slice(&self.made.to_le_bytes());
        let key = SecretKey::from_seed(&seed).unwrap();
        let (owner, blueprint) =
            (OWNERS[place % OWNERS.len()], BLUEPRINTS[place % BLUEPRINTS.len()]);
        let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": public_text(&key.public()) });
        let made = plane.change(
            "/v1/agents",
            json!({
                "name": format!("agent {}", self.made), "blueprint": blueprint, "owner": owner,
                "department": "purchasing", "purpose": "buys paper", "contact": "chat",
                "project": "paper", "valid_until": plane.now(at) + 80 * 86_400, "key": jwk,
            }),
            at,
        )?;
        let id = made["result"]["id"].as_str().unwrap().to_owned();
        plane.change(&format!("/v1/agents/{id}/activate"), json!({}), at)?;
        self.agents.push(Agent { id, key, owner: owner.to_owned(), blueprint, works: true });
        self.known.agents = self.agents.len();
        Ok(())
    }

    /// An agent asks for a gatepass; the number of what it got.
    pub(crate) fn issue(
        &mut self,
        plane: &mut Plane,
        random: &mut Random,
        at: Moment,
    ) -> Result<usize, String> {
        let working: Vec<&Agent> = self.agents.iter().filter(|agent| agent.works).collect();
        if working.is_empty() {
            return Err("nobody works".to_owned());
        }
        let agent = working[random.index(working.len())];
        // Some under a task that there is, some from a gatepass of another agent's.
        let recent: Vec<&Pass> = self.passes.iter().rev().take(12).collect();
        let parent = (random.percent(20) && !recent.is_empty())
            .then(|| recent[random.index(recent.len())])
            .filter(|parent| parent.agent() != agent.id);
        // What is reached by another route still can be asked for: there may be a cohort that allows it.
        let policies = || self.audiences.iter().filter_map(|audience| audience.policy);
        let is_asked = |action: &Action| match action {
            Action::List => policies().any(|policy| policy.allows(*action)),
            Action::Read | Action::Create => self.known.policy.allows(*action),
        };
        let allowed = ACTIONS.into_iter().filter(is_asked);
        let actions: Vec<Action> = match (parent, random.below(3)) {
            (Some(parent), _) => parent.actions.clone(),
            (None, 0) => allowed.collect(),
            (None, 1) => vec![Action::Read],
            (None, _) => allowed.skip(1).collect(),
        };
        let actions = if actions.is_empty() { vec![Action::Read] } else { actions };
        let names: Vec<&str> = actions.iter().map(|action| action.name()).collect();
        let entry = json!([{ "type": "agent_action", "actions": names, "locations": [AUDIENCE] }]);
        let mut form = vec![
            ("authorization_details", entry.to_string()),
            ("resource", AUDIENCE.to_owned()),
            ("lifetime", random.of_any_size(30, 3_600).to_string()),
        ];
        if actions.contains(&Action::Create) {
            form.push(("scope", "orders.write".to_owned()));
        }
        match parent {
            Some(parent) => {
                form.push(("grant_type", EXCHANGE.to_owned()));
                form.push(("subject_token", parent.token.clone()));
                form.push(("subject_token_type", ACCESS_TOKEN.to_owned()));
            }
            None => {
                form.push(("grant_type", "client_credentials".to_owned()));
                let own = recent.iter().find(|pass| pass.agent() == agent.id);
                if let Some(own) = own.filter(|_| random.percent(40)) {
                    form.push(("task", own.task.clone()));
                }
            }
        }
        let body = self.signed_form(agent, form, plane.now(at));
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        let answer = plane.ask(Door::Agents, "/oauth2/token", &headers, Some(body), at);
        let told: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        match told["access_token"].as_str() {
            Some(token) => {
                self.passes.push(Pass::read(token, actions, at));
                Ok(self.passes.len() - 1)
            }
            None => {
                let error = told["error"].as_str().unwrap_or_default().to_owned();
                if ["invalid_client", "unauthorized_client"].contains(&error.as_str()) {
                    let id = agent.id.clone();
                    for agent in self.agents.iter_mut().filter(|agent| agent.id == id) {
                        agent.works = false;
                    }
                }
                Err(format!("{} {error} {}", answer.status, told["error_description"]))
            }
        }
    }

    fn signed_form(&self, agent: &Agent, form: Vec<(&str, String)>, now: u64) -> String {
        // Each assertion is good once.
        let jti = format!("assertion-{}-{now}", self.passes.len());
        let number = form.iter().map(|(_, value)| value.len()).sum::<usize>();
        let claims = json!({
            "iss": agent.id, "sub": agent.id, "aud": ISSUER, "jti": format!("{jti}-{number}"),
            "iat": now, "exp": now + 60,
        });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(&json!({ "alg": "EdDSA" })), part(&claims));
        let signature = URL_SAFE_NO_PAD.encode(agent.key.sign(message.as_bytes()));
        let proof = [
            ("client_assertion_type", ASSERTION_TYPE.to_owned()),
            ("client_assertion", format!("{message}.{signature}")),
        ];
        let pairs = form.into_iter().chain(proof);
        let pairs: Vec<String> =
            pairs.map(|(name, value)| format!("{name}={}", escaped(&value))).collect();
        pairs.join("&")
    }

    /// All that it hits is dead from now on.
    pub(crate) fn stopped(&mut self, stopped: &Stopped, at: Moment) {
        for pass in &mut self.passes {
            if pass.dead.is_none() && pass.is_hit_by(stopped) {
                pass.dead = Some((at, stopped.kind()));
            }
        }
    }

    /// An operator does something.
    pub(crate) fn operate(
        &mut self,
        plane: &mut Plane,
        random: &mut Random,
        at: Moment,
    ) -> Result<Did, String> {
        if self.closed && random.percent(50) {
            return self.open(plane, at);
        }
        if self.agents.iter().filter(|agent| agent.works).count() < 4 {
            return self.replace(plane, random, at);
        }
        match random.below(400) {
            0..220 => self.revoke(plane, random, at),
            220..280 => self.lifecycle(plane, random, at),
            280..284 => {
                plane.change("/v1/stop", json!({}), at)?;
                self.stopped(&Stopped::Everything("stop"), at);
                self.closed = true;
                Ok(Did::of("everything stopped", String::new()))
            }
            284..388 => self.govern(plane, random, at),
            // Each lengthens the chain that is walked with every poll.
            388 => self.rotate_feed(plane, at),
            389..391 => self.rotate_issuer(plane, random, at),
            _ => {
                let (copy, signed) = plane.backup();
                self.backups.push(Backup { copy, signed, known: self.known.clone() });
                Ok(Did::of("backup", String::new()))
            }
        }
    }

    pub(crate) fn open(&mut self, plane: &mut Plane, at: Moment) -> Result<Did, String> {
        plane.change("/v1/open", json!({}), at)?;
        self.closed = false;
        Ok(Did::of("issuance opened", String::new()))
    }

    /// Whoever does not work is woken, or another is hired.
    fn replace(
        &mut self,
        plane: &mut Plane,
        random: &mut Random,
        at: Moment,
    ) -> Result<Did, String> {
        let idle: Vec<usize> =
            (0..self.agents.len()).filter(|place| !self.agents[*place].works).collect();
        let place = random.pick(&idle);
        let agent = &mut self.agents[place];
        let enabled =
            plane.change(&format!("/v1/blueprints/{}/enable", agent.blueprint), json!({}), at);
        let woken = plane.change(&format!("/v1/agents/{}/activate", agent.id), json!({}), at);
        if enabled.is_ok() {
            let blueprint = agent.blueprint;
            for agent in self.agents.iter_mut().filter(|agent| agent.blueprint == blueprint) {
                agent.works = true;
            }
        }
        if woken.is_ok() {
            self.agents[place].works = true;
        } else if enabled.is_err() {
            // Retired, or of another database.
            self.register(plane, random.index(6), at)?;
            self.agents.remove(place);
        }
        Ok(Did::of("agent woken", String::new()))
    }

    pub(crate) fn revoke(
        &mut self,
        plane: &mut Plane,
        random: &mut Random,
        at: Moment,
    ) -> Result<Did, String> {
        let living: Vec<&Pass> = self.passes.iter().rev().take(40).collect();
        if living.is_empty() {
            return Err("nothing was issued".to_owned());
        }
        let pass = living[random.index(living.len())];
        let agent = self.agents.iter().find(|agent| agent.id == pass.agent());
        let stopped = match random.below(20) {
            0..9 => Stopped::Credential(pass.jti().to_owned()),
            9..13 => Stopped::Task(pass.task.clone()),
            13..15 => Stopped::Subject(pass.subject.clone()),
            15..18 => Stopped::Agent(pass.agent().to_owned()),
            18 => Stopped::Owner(agent.map_or(OWNERS[0], |agent| &agent.owner).to_owned()),
            _ => {
                Stopped::Blueprint(agent.map_or(BLUEPRINTS[0], |agent| agent.blueprint).to_owned())
            }
        };
        let body = json!({ "kind": stopped.kind(), "id": stopped.id() });
        plane.change("/v1/revocations", body, at)?;
        self.stopped(&stopped, at);
        Ok(Did::of("revocation", format!("{} {}", stopped.kind(), stopped.id())))
    }

    fn lifecycle(
        &mut self,
        plane: &mut Plane,
        random: &mut Random,
        at: Moment,
    ) -> Result<Did, String> {
        let place = random.index(self.agents.len());
        let (id, blueprint) = (self.agents[place].id.clone(), self.agents[place].blueprint);
        match random.below(10) {
            0..7 => {
                plane.change(&format!("/v1/agents/{id}/suspend"), json!({}), at)?;
                self.agents[place].works = false;
                self.stopped(&Stopped::Agent(id.clone()), at);
                Ok(Did::of("agent suspended", id))
            }
            7 => {
                plane.change(&format!("/v1/agents/{id}/retire"), json!({}), at)?;
                self.agents[place].works = false;
                self.stopped(&Stopped::Agent(id.clone()), at);
                Ok(Did::of("agent retired", id))
            }
            _ => {
                plane.change(&format!("/v1/blueprints/{blueprint}/disable"), json!({}), at)?;
                for agent in self.agents.iter_mut().filter(|agent| agent.blueprint == blueprint) {
                    agent.works = false;
                }
                self.stopped(&Stopped::Blueprint(blueprint.to_owned()), at);
                Ok(Did::of("blueprint disabled", blueprint.to_owned()))
            }
        }
    }

    /// Its policies say what is thought that they say.
    pub(crate) fn is_honest(&self) -> bool {
        self.mutant != Some(Mutant::Lax)
    }

    fn rotate_feed(&mut self, plane: &mut Plane, at: Moment) -> Result<Did, String> {
        self.may_rotate()?;
        let old = plane.feed_key().map(|kept| kept.public);
        plane.rotate(KeyRole::Feed, old.into_iter().collect(), false, at)?;
        self.exchanged = at;
        Ok(Did::of("feed key exchanged", String::new()))
    }

    /// After a theft. A gate that the thief led ahead has closed issuance.
    pub(crate) fn reset_feed(
        &mut self,
        plane: &mut Plane,
        resets: bool,
        at: Moment,
    ) -> Result<u64, String> {
        let old = plane.feed_key().map(|kept| kept.public);
        plane.rotate(KeyRole::Feed, old.into_iter().collect(), resets, at)?;
        self.exchanged = at;
        // Refused where it was not.
        let _ = self.open(plane, at);
        Ok(plane.roots() as u64)
    }

    /// Another issuer key; the one before is dropped with it, or revoked, or believed until it is over.
    fn rotate_issuer(
        &mut self,
        plane: &mut Plane,
        random: &mut Random,
        at: Moment,
    ) -> Result<Did, String> {
        self.may_rotate()?;
        let old = self.passes.last().map(|pass| pass.kid.clone());
        let named = plane.issuer_keys();
        let dropped: Vec<String> = match (random.below(3), &old) {
            (0, Some(old)) if named.contains(old) => named,
            // No more than a few at a time.
            _ => named.into_iter().rev().skip(2).collect(),
        };
        plane.rotate(KeyRole::Issuer, dropped.clone(), false, at)?;
        self.exchanged = at;
        for kid in dropped {
            self.stopped(&Stopped::Key(kid), at);
        }
        if let Some(old) = old.filter(|_| random.percent(30)) {
            let body = json!({ "kind": "key", "id": old });
            if plane.change("/v1/revocations", body, at).is_ok() {
                self.stopped(&Stopped::Key(old), at);
            }
        }
        Ok(Did::of("issuer key exchanged", String::new()))
    }

    /// A chain has 64 documents at most.
    fn may_rotate(&mut self) -> Result<(), String> {
        if self.is_robbed {
            return Err("the newest root must be the one that resets".to_owned());
        }
        self.rotations += 1;
        if self.rotations > 50 { Err("enough roots".to_owned()) } else { Ok(()) }
    }

    /// Puts a copy in place of the database, which is stopped. False where there is none.
    pub(crate) fn restore(&mut self, plane: &mut Plane, random: &mut Random, at: Moment) -> bool {
        if self.backups.is_empty() {
            return false;
        }
        let backup = &self.backups[random.index(self.backups.len())];
        plane.restore(&backup.copy, backup.signed, at);
        self.known = backup.known.clone();
        self.closed = true;
        true
    }

    /// After it: what was issued before is dead, and the registry is as the copy has it.
    pub(crate) fn restored(&mut self, plane: &mut Plane, at: Moment) {
        self.stopped(&Stopped::Everything("restore"), at);
        self.put_as_known(plane, at);
        for agent in &mut self.agents {
            let dossier = plane.get(&format!("/v1/agents/{}", agent.id), at);
            agent.works = dossier.is_ok_and(|dossier| dossier["agent"]["state"] == "active");
        }
    }
}

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
