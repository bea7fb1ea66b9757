//! Keys that live as long as the tests, a feed that has the policy, and the gate that follows it.

use gatepass_engine::clock::{Milliseconds, Now, UnixSeconds};
use gatepass_engine::keyring::{Algorithm, IssuerKey};
use gatepass_engine::position::Position;
use gatepass_engine::revocation::Kind;
use gatepass_engine::root::Role;
use gatepass_engine::{Gate, Mode, Settings};
use gatepass_policy::Compiled;
use gatepass_policy::cases::{Case, Pass, Scene};

use super::RehearsalError;
use super::grant::JTI;
use crate::issue::{Grant, IssueError, Issuer, issue};
use crate::keys::{SecretKey, Signer as _};
use crate::publish::{Changes, Genesis, Publisher, Revoke};
use crate::roots::{PinnedRoots, first, sign};

pub(super) struct Stage {
    environment: String,
    root: SecretKey,
    feed: SecretKey,
    signer: SecretKey,
    issuer: Issuer,
    /// With the policy and nothing revoked; gatepasses are issued at its position.
    publisher: Publisher,
    /// The gate of the test before, and what it knows: most tests know the same.
    last: Option<(Known, Gate)>,
}

/// What sets gates apart.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    /// When the gate last heard anything.
    heard: UnixSeconds,
    revoked: Vec<(Kind, String)>,
}

impl Stage {
    pub(super) fn new(compiled: &Compiled) -> Result<Self, RehearsalError> {
        let environment = compiled.environment.clone().unwrap_or_else(|| ENVIRONMENT.to_owned());
        let signer = SecretKey::generate()?;
        let issuer = Issuer {
            issuer: ISSUER.to_owned(),
            environment: environment.clone(),
            algorithm: Algorithm::EdDsa,
        };
        let mut publisher = Publisher::new(Genesis {
            environment: environment.clone(),
            audience: environment.clone(),
            epoch: 1,
            hash_key: [0; 16],
            root_version: 1,
            keys: vec![IssuerKey {
                public: signer.public(),
                issuer: ISSUER.to_owned(),
                algorithm: Algorithm::EdDsa,
                not_before: UnixSeconds(0),
                not_after: UnixSeconds(u64::from(u32::MAX).saturating_mul(64)),
            }],
        })?;
        publisher.advance(&Changes::bundle(compiled.bundle.clone()))?;
        let (root, feed) = (SecretKey::generate()?, SecretKey::generate()?);
        Ok(Self { environment, root, feed, signer, issuer, publisher, last: None })
    }

    /// Signs the gatepass of a test, issued before the request by what it says.
    pub(super) fn issue(
        &self,
        grant: &Grant,
        pass: &Pass,
        now: UnixSeconds,
    ) -> Result<String, IssueError> {
        let issued = UnixSeconds(now.0.saturating_sub(u64::from(pass.issued)));
        issue(grant, &self.issuer, &self.signer, self.position(), issued)
    }

    fn position(&self) -> Position {
        self.publisher.position()
    }

    /// A gate that knows what the test says, and the moment of the request.
    pub(super) fn gate(&mut self, case: &Case) -> Result<(&Gate, Now), RehearsalError> {
        let Scene { now, age, .. } = case.scene;
        let heard = UnixSeconds(now.0.saturating_sub(u64::from(age)));
        let known = Known { heard, revoked: revoked(case) };
        let made = match self.last.take() {
            Some((before, gate)) if before == known => gate,
            _ => self.make(&known)?,
        };
        let (_, gate) = self.last.insert((known, made));
        let monotonic = Milliseconds(u64::from(age).saturating_mul(1_000));
        Ok((gate, Now { unix: now, monotonic }))
    }

    fn make(&self, known: &Known) -> Result<Gate, RehearsalError> {
        let heard = known.heard;
        let roots = PinnedRoots::new(&[self.root.public()], 1);
        let keys = [(Role::Feed, self.feed.public()), (Role::Issuer, self.signer.public())];
        let document = first(&self.environment, &roots, &keys, heard.plus(ROOT_LIFE));
        let document = sign(&document, &[&self.root], heard)?;
        let settings = Settings {
            environment: self.environment.clone(),
            feed_audience: self.environment.clone(),
            mode: Mode::Enforce,
        };
        let mut gate = Gate::new(settings, roots.pinned(&self.environment)?);
        gate.take_roots(&[document.as_bytes()], heard)?;
        let mut publisher = self.publisher.clone();
        if !known.revoked.is_empty() {
            let revoke =
                |(kind, id): &(Kind, String)| Revoke::new(*kind, id, heard.plus(ROOT_LIFE));
            let all = known.revoked.iter().map(revoke).collect();
            publisher.advance(&Changes::revoke(all))?;
        }
        let at = Now { unix: heard, monotonic: Milliseconds(0) };
        for part in publisher.snapshot(&self.feed, heard)? {
            gate.apply(&part, Milliseconds(0), at)?;
        }
        Ok(gate)
    }
}

/// What is revoked, with the ids of the gatepass itself where the test names none.
fn revoked(case: &Case) -> Vec<(Kind, String)> {
    let own = |kind: Kind| {
        let pass = case.gatepass.as_ref()?;
        let id = match kind {
            Kind::Credential => JTI,
            Kind::Task => &pass.task,
            Kind::Subject => pass.subject.as_ref().unwrap_or(&pass.agent),
            Kind::Agent => &pass.agent,
            Kind::Owner => &pass.owner,
            Kind::Blueprint => &pass.blueprint,
            // No test names a key: those of the tests are new each time.
            Kind::Key => return None,
        };
        Some(id.to_owned())
    };
    let all = case.scene.revoked.iter();
    all.filter_map(|(kind, id)| Some((*kind, id.clone().or_else(|| own(*kind))?))).collect()
}

const ENVIRONMENT: &str = "test";
const ISSUER: &str = "https://issuer.test";
/// Seconds: long enough that every action is stale before it ends.
const ROOT_LIFE: u64 = 300 * 86_400;
