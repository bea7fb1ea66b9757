//! Gatepasses that were issued, and when each of them was stopped.

use gatepass::issue::payload;
use serde_json::Value;

use super::clock::Moment;
use super::policy::Action;

/// One gatepass with all that can kill it.
#[derive(Clone, Debug)]
pub(crate) struct Pass {
    pub(crate) token: String,
    pub(crate) actions: Vec<Action>,
    /// `jti` and those that it was exchanged from.
    credentials: Vec<String>,
    agents: Vec<String>,
    owners: Vec<String>,
    blueprints: Vec<String>,
    pub(crate) task: String,
    pub(crate) subject: String,
    pub(crate) kid: String,
    pub(crate) expires: u64,
    pub(crate) epoch: u64,
    pub(crate) issued: Moment,
    /// Since when it is dead, and of what: the moment at which whoever stopped it was answered.
    pub(crate) dead: Option<(Moment, &'static str)>,
}

/// What is stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stopped {
    Credential(String),
    Task(String),
    Subject(String),
    Agent(String),
    Owner(String),
    Blueprint(String),
    Key(String),
    Everything(&'static str),
}

impl Pass {
    pub(crate) fn read(token: &str, actions: Vec<Action>, issued: Moment) -> Self {
        let mut parts = token.split('.');
        let mut part = || payload(parts.next().unwrap()).unwrap();
        let (header, claims) = (part(), part());
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut pass = Self {
            token: token.to_owned(),
            actions,
            credentials: vec![text(&claims["jti"])],
            agents: vec![text(&claims["client_id"])],
            owners: vec![text(&claims["owner"])],
            blueprints: vec![text(&claims["blueprint"])],
            task: text(&claims["txn"]),
            subject: text(&claims["sub"]),
            kid: text(&header["kid"]),
            expires: claims["exp"].as_u64().unwrap(),
            epoch: claims["seq"][0].as_u64().unwrap(),
            issued,
            dead: None,
        };
        let ancestors = claims["anc"].as_array().cloned().unwrap_or_default();
        pass.credentials.extend(ancestors.iter().map(text));
        let mut actor = &claims["act"];
        while actor.is_object() {
            pass.agents.push(text(&actor["sub"]));
            pass.owners.push(text(&actor["owner"]));
            pass.blueprints.push(text(&actor["blueprint"]));
            actor = &actor["act"];
        }
        pass
    }

    pub(crate) fn jti(&self) -> &str {
        self.credentials.first().map_or("", String::as_str)
    }

    pub(crate) fn agent(&self) -> &str {
        self.agents.first().map_or("", String::as_str)
    }

    /// One letter of the signature is another.
    pub(crate) fn forged(&self) -> String {
        let mut token = self.token.clone();
        let at = token.len() - 40;
        let letter = if token.as_bytes()[at] == b'A' { "B" } else { "A" };
        token.replace_range(at..=at, letter);
        token
    }

    pub(crate) fn is_hit_by(&self, stopped: &Stopped) -> bool {
        match stopped {
            Stopped::Credential(jti) => self.credentials.contains(jti),
            Stopped::Task(task) => self.task == *task,
            Stopped::Subject(subject) => self.subject == *subject,
            Stopped::Agent(agent) => self.agents.contains(agent),
            Stopped::Owner(owner) => self.owners.contains(owner),
            Stopped::Blueprint(blueprint) => self.blueprints.contains(blueprint),
            Stopped::Key(kid) => self.kid == *kid,
            Stopped::Everything(_) => true,
        }
    }
}

impl Stopped {
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Credential(_) => "credential",
            Self::Task(_) => "task",
            Self::Subject(_) => "subject",
            Self::Agent(_) => "agent",
            Self::Owner(_) => "owner",
            Self::Blueprint(_) => "blueprint",
            Self::Key(_) => "key",
            Self::Everything(why) => why,
        }
    }

    pub(crate) fn id(&self) -> &str {
        match self {
            Self::Credential(id)
            | Self::Task(id)
            | Self::Subject(id)
            | Self::Agent(id)
            | Self::Owner(id)
            | Self::Blueprint(id)
            | Self::Key(id) => id,
            Self::Everything(why) => why,
        }
    }
}
