//! The control plane: the shipped one in a directory, asked in process, on a clock of the simulation's.

use std::future::{Future as _, poll_fn};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;

use gatepass::config::Config;
use gatepass::grace_file::{Granting, What};
use gatepass::keychain::{Kept, new_key};
use gatepass::keys::KeyRole;
use gatepass::root_file::{Wanted, newest, next, read, write_unsigned};
use gatepass::roots::PinnedRoots;
use gatepass::server::{Answered, Door, Unserved};
use gatepass::setup::{Init, make_root_keys, sign_root};
use gatepass_engine::clock::UnixSeconds;
use gatepass_engine::position::Position;
use serde_json::{Value, json};

use super::clock::{Clock, Moment};
use super::grace::Grace;
use super::network::borrowed;

/// The control plane and its disk.
pub(crate) struct Plane {
    temporary: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
    running: Option<Unserved>,
    /// The directory that it runs in; after a kill it is another one.
    dir: PathBuf,
    made: u64,
    /// When it began to run.
    pub(crate) started: Moment,
    time: Arc<AtomicU64>,
    pub(crate) clock: Clock,
    token: String,
    pub(crate) pinned: PinnedRoots,
    /// The highest second that it has been known to be at: it signs none before.
    signed: u64,
}

/// Why a change was not made: the code that was answered.
pub(crate) type Refused = String;

impl Plane {
    pub(crate) fn new(clock: Clock) -> Self {
        let temporary = folder();
        // No timer of it is used but SQLite's patience with another process, of which there is none.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let root_dir = temporary.path().join("roots");
        let pinned = make_root_keys(&root_dir, 1, 1).unwrap();
        let dir = temporary.path().join("0");
        let now = clock.unix(0);
        let init = Init {
            dir: dir.clone(),
            environment: "prod".to_owned(),
            audience: "prod".to_owned(),
            issuer: ISSUER.to_owned(),
            roots: pinned.clone(),
            operator: "admin".to_owned(),
            two_persons: false,
            filter: None,
            ports: [0; 4],
            followers: "anyone",
        };
        let made = runtime.block_on(init.make(now)).unwrap();
        sign_root(&root_dir, &made.document, &made.signed, now).unwrap();
        let text = std::fs::read_to_string(dir.join("gatepass.toml")).unwrap();
        let unbound = text.replace("issued_per_minute = 600", "issued_per_minute = 100000000");
        std::fs::write(dir.join("gatepass.toml"), unbound).unwrap();
        let mut plane = Self {
            temporary,
            runtime,
            running: None,
            dir,
            made: 0,
            started: 0,
            time: Arc::new(AtomicU64::new(now.0)),
            clock,
            token: made.token.to_string(),
            pinned,
            signed: now.0,
        };
        plane.start(0);
        plane
    }

    pub(crate) const fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// What it takes for the time, which never falls.
    pub(crate) fn now(&self, at: Moment) -> u64 {
        self.signed.max(self.clock.unix(at).0)
    }

    pub(crate) fn start(&mut self, at: Moment) {
        self.set_time(at);
        let time = Arc::clone(&self.time);
        let clock: gatepass::feed::Clock =
            Arc::new(move || UnixSeconds(time.load(Ordering::SeqCst)));
        let config = Config::read(&self.dir).unwrap();
        self.started = at;
        self.running = Some(self.runtime.block_on(Unserved::open(config, clock)).unwrap());
    }

    pub(crate) fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            self.runtime.block_on(running.close());
        }
    }

    /// As after SIGKILL: what is there afterwards is what lay on the disk at that moment, and nobody has
    /// closed anything.
    pub(crate) fn kill(&mut self) {
        self.made += 1;
        let copy = self.temporary.path().join(self.made.to_string());
        copy_all(&self.dir, &copy);
        self.stop();
        std::fs::remove_dir_all(&self.dir).unwrap();
        self.dir = copy;
    }

    /// A copy of the database, and the newest time that is signed in it.
    pub(crate) fn backup(&mut self) -> (PathBuf, u64) {
        self.made += 1;
        let to = self.temporary.path().join(format!("{}.db", self.made));
        self.runtime.block_on(gatepass::db::backup(&self.dir, &to)).unwrap();
        (to, self.signed)
    }

    /// It must be stopped. What was signed since the copy was made does not bind it.
    pub(crate) fn restore(&mut self, copy: &Path, signed: u64, at: Moment) {
        let now = self.clock.unix(at);
        self.runtime.block_on(gatepass::db::restore(&self.dir, Some(copy), now)).unwrap();
        self.signed = signed.max(now.0);
    }

    pub(crate) fn position(&self) -> Option<Position> {
        self.running.as_ref().map(|running| running.db().book().position())
    }

    /// The longest that a poll of an audience is held, in milliseconds; `None` where nothing is said to it.
    pub(crate) fn longest_wait(&self, audience: &str) -> Option<u64> {
        let standing = self.running.as_ref()?.db().book().standing_of(audience)?;
        Some(standing.longest_wait.as_millis() as u64)
    }

    /// What a poll that is held says of its Envoy is taken in when it comes. Its answer is asked for again
    /// when there is one: nobody waits for it here.
    pub(crate) fn hears(&mut self, path: &str, headers: &[(String, String)], at: Moment) {
        self.set_time(at);
        let Some(running) = &self.running else { return };
        let headers = borrowed(headers);
        let poll = running.ask(Door::Feed, "GET", path, &headers, Vec::new());
        self.runtime.block_on(async {
            let mut poll = pin!(poll);
            // As far as it goes without the timer.
            poll_fn(|context| {
                let _ = poll.as_mut().poll(context);
                Poll::Ready(())
            })
            .await;
        });
    }

    pub(crate) fn ask(
        &mut self,
        door: Door,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<String>,
        at: Moment,
    ) -> Answered {
        self.set_time(at);
        let Some(running) = &self.running else {
            return Answered { status: 503, body: Vec::new() };
        };
        let method = if body.is_some() { "POST" } else { "GET" };
        let body = body.unwrap_or_default().into_bytes();
        self.runtime.block_on(running.ask(door, method, path, headers, body))
    }

    /// A change by the operator.
    pub(crate) fn change(
        &mut self,
        path: &str,
        mut body: Value,
        at: Moment,
    ) -> Result<Value, Refused> {
        body["reason"] = "simulated".into();
        let bearer = format!("Bearer {}", self.token);
        let headers = [("content-type", "application/json"), ("authorization", bearer.as_str())];
        let answer = self.ask(Door::Admin, path, &headers, Some(body.to_string()), at);
        result(&answer)
    }

    pub(crate) fn get(&mut self, path: &str, at: Moment) -> Result<Value, Refused> {
        let bearer = format!("Bearer {}", self.token);
        let headers = [("authorization", bearer.as_str())];
        let answer = self.ask(Door::Admin, path, &headers, None, at);
        result(&answer)
    }

    pub(crate) fn tidy(&mut self, at: Moment) {
        self.set_time(at);
        if let Some(running) = &self.running {
            self.runtime.block_on(running.tidy()).unwrap();
        }
    }

    /// Puts the next root document in force, with a new key for `role`; those called `drop` are gone.
    pub(crate) fn rotate(
        &mut self,
        role: KeyRole,
        drop: Vec<String>,
        reset: bool,
        at: Moment,
    ) -> Result<Kept, Refused> {
        let kept = new_key(&self.dir, role).map_err(|error| error.to_string())?;
        let named = match role {
            KeyRole::Feed => gatepass_engine::root::Role::Feed,
            _ => gatepass_engine::root::Role::Issuer,
        };
        let wanted =
            Wanted { add: vec![(named, kept.public.clone())], drop, reset, ..Wanted::default() };
        let roots = self.dir.join("roots");
        let now = UnixSeconds(self.now(at));
        let previous = read(&newest(&roots).unwrap()).unwrap();
        let document =
            next(&previous, &wanted, now.plus(300 * 86_400)).map_err(|error| error.to_string())?;
        let unsigned = roots.join(format!("{}.unsigned.json", document.version));
        let signed = self.temporary.path().join("signed.json");
        for leftover in [&unsigned, &signed] {
            let _ = std::fs::remove_file(leftover);
        }
        write_unsigned(&document, &unsigned).unwrap();
        sign_root(&self.temporary.path().join("roots"), &unsigned, &signed, now).unwrap();
        let envelope = std::fs::read_to_string(signed).unwrap();
        self.change("/v1/roots", json!({ "envelope": envelope }), at)?;
        Ok(kept)
    }

    /// Signs a grace where the root keys are. The control plane takes no part in it.
    pub(crate) fn grant(&mut self, actions: Vec<String>, seconds: u64, at: Moment) -> Grace {
        self.made += 1;
        let now = self.clock.unix(at);
        let granting = Granting {
            root: newest(&self.dir.join("roots")).unwrap(),
            root_dirs: vec![self.temporary.path().join("roots")],
            what: What::New { actions, seconds },
            out: self.temporary.path().join(format!("grace-{}.json", self.made)),
        };
        let granted = granting.sign(now).unwrap();
        assert!(granted.is_complete());
        let document = granted.document;
        Grace::new(granted.base64, document.issued_at.0, document.expires.0, at)
    }

    /// How many root documents there are: so many is the version of the newest. 0 while it is stopped.
    pub(crate) fn roots(&self) -> usize {
        self.running.as_ref().map_or(0, |running| running.db().book().roots().len())
    }

    /// The key that signs batches now.
    pub(crate) fn feed_key(&self) -> Option<Kept> {
        let running = self.running.as_ref()?;
        let signers = running.db().book().signers();
        signers.feed().ok().cloned()
    }

    /// `kid`s of the issuer keys that the root in force names, the newest last.
    pub(crate) fn issuer_keys(&self) -> Vec<String> {
        let signers = self.running.as_ref().map(|running| running.db().book().signers());
        let named = signers.as_ref().map(|signers| signers.issuers());
        named.unwrap_or_default().iter().map(|kept| kept.kid.clone()).collect()
    }

    fn set_time(&mut self, at: Moment) {
        let now = self.clock.unix(at).0;
        self.time.store(now, Ordering::SeqCst);
        if self.running.is_some() {
            self.signed = self.signed.max(now);
        }
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        self.stop();
    }
}

fn result(answer: &Answered) -> Result<Value, Refused> {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    match answer.status {
        200 => Ok(body),
        status => Err(format!("{status} {} {}", body["code"], body["detail"])),
    }
}

/// In memory where the system has a place for that: nothing here is about what a disk does.
fn folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory).ok() } else { None };
    made.unwrap_or_else(|| tempfile::tempdir().unwrap())
}

fn copy_all(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_all(&entry.path(), &target);
        } else if entry.file_name() != "gatepass.db-shm" && entry.file_name() != "lock" {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

pub(crate) const ISSUER: &str = "https://issuer.example/prod";
