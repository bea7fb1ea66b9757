//! What must be so by the audit record alone, held against everything else in the database.

use std::collections::{BTreeMap, BTreeSet};

use gatepass::audit::{self, Anchor, Verdict};
use gatepass_engine::Code;
use gatepass_engine::revocation::{HashKey, Kind};
use serde_json::Value;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteRow};
use sqlx::{ConnectOptions as _, FromRow};

use crate::kill::Answered;
use crate::kit::{Issued, Site};

pub(crate) struct Ledger {
    runtime: tokio::runtime::Runtime,
    connection: SqliteConnection,
    hash_key: HashKey,
    anchor: Option<Anchor>,
    records: Vec<Value>,
    sequence: u64,
    /// The record and the position of each gatepass.
    issued: BTreeMap<String, (usize, u64)>,
    agents: BTreeMap<String, String>,
    /// By what gates know it under: dead for good, or what was issued before this.
    revoked: BTreeMap<u64, Option<u64>>,
    credentials: BTreeSet<String>,
    ended: BTreeMap<String, String>,
    /// Sequence and version.
    publications: Vec<(u64, u64)>,
}

impl Ledger {
    pub(crate) fn new(site: &Site) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let options = SqliteConnectOptions::new().filename(site.database()).read_only(true);
        let mut connection = runtime.block_on(options.connect()).unwrap();
        let key = sqlx::query_as("SELECT hash_key FROM environment").fetch_one(&mut connection);
        let (key,): (Vec<u8>,) = runtime.block_on(key).unwrap();
        Self {
            runtime,
            connection,
            hash_key: HashKey::new("prod", &key.try_into().unwrap()),
            anchor: None,
            records: Vec::new(),
            sequence: 1,
            issued: BTreeMap::new(),
            agents: BTreeMap::new(),
            revoked: BTreeMap::new(),
            credentials: BTreeSet::new(),
            ended: BTreeMap::new(),
            publications: Vec::new(),
        }
    }

    /// Checks the chain, which must go on from where it was, and takes the new records in.
    pub(crate) fn read(&mut self) {
        let anchor = self.anchor.clone();
        let verdict = audit::verify(&mut self.connection, anchor.as_ref());
        let verdict = self.runtime.block_on(verdict).unwrap();
        let records = match verdict {
            Verdict::Anchored { records } | Verdict::NotAnchored { records } => records,
        };
        let known = self.records.len() as i64;
        let new: Vec<(i64, String, String)> =
            self.all("SELECT n, body, hash FROM audit WHERE n > ? ORDER BY n", known);
        for (n, body, hash) in new {
            self.anchor = Some(Anchor { n: n.unsigned_abs(), hash });
            self.take(serde_json::from_str(&body).unwrap());
        }
        assert_eq!(records, self.records.len() as u64);
    }

    fn take(&mut self, record: Value) {
        let after = &record["after"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (target, action) = (text(&record["target"]), text(&record["action"]));
        let sequence = text(&record["position"]);
        let sequence: u64 = sequence.split('.').nth(1).unwrap().parse().unwrap();
        let mut kills = None;
        match action.as_str() {
            "gatepass.issue" => {
                let at = (self.records.len(), sequence);
                assert_eq!(self.issued.insert(text(&after["jti"]), at), None);
                // What the task and the agent were when it was issued.
                assert_eq!(self.agents.get(&target).map(String::as_str), Some("active"));
                assert!(!self.ended.contains_key(&text(&after["task"])), "{record}");
            }
            "agent.register" | "agent.activate" | "agent.suspend" => {
                self.agents.insert(target.clone(), text(&after["state"]));
                if action == "agent.suspend" {
                    kills = Some((Kind::Agent, target, Some(sequence)));
                }
            }
            "task.complete" | "task.end" if record["before"]["state"] == "open" => {
                let task = text(&after["task"]);
                assert_eq!(self.ended.insert(task.clone(), text(&after["state"])), None);
                kills = Some((Kind::Task, task, None));
            }
            "revoke" => kills = Some((Kind::Credential, target, None)),
            "policy.publish" => {
                self.publications.push((sequence, after["version"].as_u64().unwrap()));
            }
            _ => {}
        }
        // Each step of the feed is one record's, and no record is of a later step than it took.
        let steps = kills.is_some() || matches!(action.as_str(), "policy.publish" | "root.adopt");
        self.sequence += u64::from(steps);
        assert_eq!(sequence, self.sequence, "{record}");
        if let Some((kind, id, below)) = kills {
            self.revoked.insert(self.hash_key.hash(kind, &id), below);
            if kind == Kind::Credential {
                self.credentials.insert(id);
            }
        }
        self.records.push(record);
    }

    /// Everything that was answered is on record.
    pub(crate) fn holds(&self, answered: &Answered) {
        for issued in &answered.issued {
            let (at, _) = self.issued.get(&issued.jti).unwrap();
            assert_eq!(self.records[*at]["after"]["task"], issued.task);
        }
        for (path, answer) in &answered.changes {
            if let Some(task) = path.strip_prefix("/complete/") {
                assert!(self.ended.contains_key(task), "{task}");
                continue;
            }
            let n = answer["audit"].as_u64().unwrap() as usize;
            let record = &self.records[n - 1];
            assert_eq!(record["n"], answer["audit"]);
            assert_eq!(record["position"], answer["position"], "{path}");
            assert_eq!(record["after"], answer["result"], "{path}");
        }
    }

    /// Nothing is there that the record does not tell of, and nothing that it tells of is not.
    pub(crate) fn is_whole(&mut self, served: &str) {
        type Environment = (i64, i64, i64);
        let environment: Vec<Environment> =
            self.all("SELECT epoch, sequence, policy FROM environment WHERE one = ?", 1);
        let (epoch, sequence, policy) = environment[0];
        assert_eq!(format!("{epoch}.{sequence}"), served);
        assert_eq!(sequence.unsigned_abs(), self.sequence);
        assert_eq!(policy.unsigned_abs(), self.publications.last().unwrap().1);

        let found: Vec<(i64, i64)> = self
            .all("SELECT sequence, version FROM publications WHERE epoch = ? ORDER BY 1", epoch);
        let told = self.publications.iter().map(|(s, v)| (*s as i64, *v as i64));
        assert!(told.eq(found), "publications");
        let policies: Vec<(i64,)> = self.all("SELECT count(*) FROM policies WHERE version > ?", 0);
        assert_eq!(policies[0].0, self.publications.len() as i64);

        let deltas: Vec<(i64, i64)> =
            self.all("SELECT count(*), max(sequence) FROM deltas WHERE sequence > ?", 0);
        // The second step adopts the root document, and gates fetch a snapshot under a new root.
        assert_eq!(deltas[0], ((sequence - 2).min(256), sequence));

        let found: Vec<(i64, Option<i64>)> =
            self.all("SELECT key, below FROM revocations WHERE key <> ? ORDER BY key", 0);
        let told = self.revoked.iter().map(|(key, below)| {
            (i64::from_ne_bytes(key.to_ne_bytes()), below.map(|below| below as i64))
        });
        assert_eq!(told.collect::<BTreeMap<_, _>>(), found.into_iter().collect(), "revocations");

        let found: Vec<(String, String)> =
            self.all("SELECT id, state FROM agents WHERE id <> ?", 0);
        assert_eq!(self.agents, found.into_iter().collect(), "agents");

        let found: Vec<(String, String)> =
            self.all("SELECT id, state FROM tasks WHERE state <> 'open' AND id <> ?", 0);
        assert_eq!(self.ended, found.into_iter().collect(), "tasks");

        let found: Vec<(String, i64, bool)> =
            self.all("SELECT jti, sequence, revoked_at > 0 FROM gatepasses WHERE epoch = ?", epoch);
        let (mut rows, mut revoked) = (BTreeMap::new(), BTreeSet::new());
        for (jti, sequence, is_revoked) in found {
            if is_revoked {
                revoked.insert(jti.clone());
            }
            rows.insert(jti, sequence.unsigned_abs());
        }
        let told = self.issued.iter().map(|(jti, (_, sequence))| (jti.clone(), *sequence));
        assert_eq!(told.collect::<BTreeMap<_, _>>(), rows, "gatepasses");
        assert_eq!(self.credentials, revoked, "revoked");
    }

    /// What a gate must say of a gatepass.
    pub(crate) fn fate(&self, issued: &Issued) -> Option<Code> {
        let (at, sequence) = self.issued[&issued.jti];
        let agent = self.records[at]["target"].as_str().unwrap();
        let dead = |kind, id: &str| {
            let below = self.revoked.get(&self.hash_key.hash(kind, id));
            below.is_some_and(|below| below.is_none_or(|below| sequence < below))
        };
        if dead(Kind::Credential, &issued.jti) {
            Some(Code::RevokedCredential)
        } else if dead(Kind::Task, &issued.task) {
            Some(Code::RevokedTask)
        } else if dead(Kind::Agent, agent) {
            Some(Code::RevokedAgent)
        } else {
            None
        }
    }

    fn all<T>(&mut self, statement: &'static str, parameter: i64) -> Vec<T>
    where
        T: for<'r> FromRow<'r, SqliteRow> + Send + Unpin,
    {
        let found = sqlx::query_as(statement).bind(parameter).fetch_all(&mut self.connection);
        self.runtime.block_on(found).unwrap()
    }
}
