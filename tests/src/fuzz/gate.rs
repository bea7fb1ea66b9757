//! The target for a gate's state: a sequence of envelopes, roots and time, and what must hold after
//! each of them.

use std::sync::LazyLock;

use gatepass_engine::Refusal;
use gatepass_engine::bundle::Bundle;
use gatepass_engine::clock::{Now, UnixSeconds};
use gatepass_engine::gate::{Applied, Gate, Mode};
use gatepass_engine::position::Position;
use gatepass_engine::refusal::RefusalCode;
use gatepass_engine::revocation::{Below, Kind};

use super::bytes::Bytes;
use super::feed::is_signed_batch;
use super::scene::{self, Draft, EPOCH, FEED, NOW, STRANGER};

/// Each step is a byte that says what comes, and what it needs.
pub fn gate(bytes: &[u8]) {
    let mut bytes = Bytes(bytes);
    let mut run = Run::new();
    for _ in 0..MAX_STEPS {
        if bytes.is_empty() {
            return;
        }
        run.step(&mut bytes);
    }
}

struct Run {
    gate: Gate,
    now: Now,
    /// Revoked in the epoch in force, with the end of each.
    revoked: Vec<(Kind, &'static str, Below)>,
}

impl Run {
    fn new() -> Self {
        Self { gate: scene::gate(Mode::Enforce), now: scene::now(), revoked: Vec::new() }
    }

    fn step(&mut self, bytes: &mut Bytes<'_>) {
        match bytes.byte() % 8 {
            0 => {
                let envelope = bytes.block();
                self.apply(envelope, &[]);
            }
            1 => {
                let payload = bytes.block();
                self.apply(&scene::seal(payload, FEED), &[]);
            }
            2 | 3 => {
                let (draft, revoked) = compose(bytes);
                self.apply(&scene::seal(&draft.payload(), FEED), &revoked);
            }
            4 => {
                let draft = Draft::snapshot(u64::from(bytes.byte()));
                let before = Observed::of(&self.gate, self.now);
                let sealed = scene::seal(&draft.whole().payload(), STRANGER);
                let refused = self.gate.apply(&sealed, self.now.monotonic, self.now);
                assert_eq!(refused.map_err(|r| r.code), Err(RefusalCode::BadSignature));
                assert_eq!(Observed::of(&self.gate, self.now), before);
            }
            5 => {
                let seconds = u64::from(bytes.byte());
                self.now = Now {
                    unix: self.now.unix.plus(seconds),
                    monotonic: self.now.monotonic.plus(seconds * 1000),
                };
            }
            6 => self.take_roots(bytes.byte()),
            _ => {
                let at = usize::from(bytes.byte()) % POOL.len();
                let envelope = POOL.get(at).cloned().unwrap_or_default();
                self.apply(&envelope, &[]);
            }
        }
    }

    fn apply(&mut self, envelope: &[u8], revoked: &[(Kind, &'static str, Below)]) {
        let before = Observed::of(&self.gate, self.now);
        let previewed = self.gate.preview(envelope, self.now);
        let applied = self.gate.apply(envelope, self.now.monotonic, self.now);
        let after = Observed::of(&self.gate, self.now);
        self.check(&before, &after, &applied);
        match &applied {
            Ok(_) => assert!(is_signed_batch(envelope), "applied, and nobody signed it"),
            Err(refusal) => {
                assert!(!refusal.detail.is_empty());
                assert!(after == before || is_signed_batch(envelope), "nobody signed it");
            }
        }
        if let Ok(Applied::Moved(position)) = applied {
            assert_eq!(previewed.map(|header| header.position()), Ok(position));
        }
        let moved = applied.is_ok() || after.position != before.position;
        if after.position.map(|p| p.epoch) != before.position.map(|p| p.epoch) {
            self.revoked.clear();
        }
        if moved && after.position.is_some() && !matches!(applied, Ok(Applied::Known)) {
            self.revoked.extend_from_slice(revoked);
        }
        self.check_revoked();
    }

    fn check(&self, before: &Observed, after: &Observed, applied: &Result<Applied, Refusal>) {
        match applied {
            Ok(Applied::Moved(position)) => {
                assert_eq!(after.position, Some(*position));
                let newer = before.position.is_none_or(|at| at < *position);
                assert!(newer || after.reset || before.root_version != 1, "went back");
            }
            Ok(Applied::Renewed) => {
                assert_eq!(after.position, before.position);
                assert_eq!(after.revocations, before.revocations);
                assert!(after.age.is_some());
            }
            Ok(Applied::Part) => {
                assert_eq!(after.age, before.age, "a part renews no freshness");
                assert!(after.position == before.position || after.position.is_none());
            }
            Ok(Applied::Known) => assert_eq!(after, before),
            Err(refusal) if refusal.code == RefusalCode::BundleRefused => {
                assert_eq!(after.age, before.age, "a refused bundle renews no freshness");
                let moved = after.position >= before.position;
                assert!(moved || after.reset, "went back");
            }
            // That there is something newer may be remembered; nothing else is.
            Err(_) => {
                assert!(after.behind >= before.behind);
                let behind = before.behind;
                assert_eq!(Observed { behind, ..after.clone() }, *before);
            }
        }
        assert!(after.floor >= before.floor);
    }

    /// Revoked stays revoked, until the signer's time is past its end.
    fn check_revoked(&self) {
        let Some(table) = self.gate.revocations() else {
            return;
        };
        if self.gate.position().is_none() || self.gate.time_for_expiry(Now::default()) > END {
            return;
        }
        for (kind, id, below) in &self.revoked {
            let at = match below {
                Below::Always => u64::MAX,
                Below::Sequence(0) => continue,
                Below::Sequence(below) => below - 1,
            };
            assert!(table.hits(*kind, id, at), "{kind:?} `{id}` is no longer revoked");
        }
    }

    fn take_roots(&mut self, choice: u8) {
        let documents: Vec<Vec<u8>> = match choice % 4 {
            0 => vec![scene::root_version(1, false)],
            1 => vec![scene::root_version(2, false)],
            2 => vec![scene::root_version(2, true)],
            _ => vec![scene::root_version(1, false), scene::root_version(3, false)],
        };
        let documents: Vec<&[u8]> = documents.iter().map(Vec::as_slice).collect();
        let before = Observed::of(&self.gate, self.now);
        let taken = self.gate.take_roots(&documents, self.now.unix);
        let after = Observed::of(&self.gate, self.now);
        assert!(after.root_version >= before.root_version);
        assert_eq!((after.position, after.age), (before.position, before.age));
        if taken.is_err() {
            assert_eq!(after, before);
        }
    }
}

/// All of a gate's state that can be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    pub position: Option<Position>,
    pub behind: Option<Position>,
    bundle: Option<Position>,
    age: Option<u64>,
    floor: UnixSeconds,
    root_version: u64,
    reset: bool,
    revocations: Option<usize>,
    keys: (u64, usize),
    hosts: Option<usize>,
}

impl Observed {
    #[must_use]
    pub fn of(gate: &Gate, now: Now) -> Self {
        let keyring = gate.keyring();
        Self {
            position: gate.position(),
            behind: gate.behind(),
            bundle: gate.bundle_position(),
            age: gate.age(now),
            floor: gate.time_for_expiry(Now::default()),
            root_version: gate.root_version(),
            // Only the roots of version 2 and above may reset here.
            reset: gate.root_version() > 1,
            revocations: gate.revocations().map(|table| table.len()),
            keys: (keyring.version(), keyring.keys().len()),
            hosts: gate.index().map(|index| index.bundle().hosts.len()),
        }
    }
}

/// A batch of one part whose numbers are small, so that they meet.
fn compose(bytes: &mut Bytes<'_>) -> (Draft, Vec<(Kind, &'static str, Below)>) {
    let flags = bytes.byte();
    let to = u64::from(bytes.byte());
    let from = match flags & 3 {
        0 => 0,
        1 => to,
        _ => to.saturating_sub(u64::from(bytes.byte() % 8)),
    };
    let mut draft = match from {
        0 => Draft::snapshot(to),
        _ => Draft::delta(from, to),
    };
    if flags & 4 != 0 {
        draft = draft.epoch(EPOCH + u64::from(bytes.byte() % 3));
    }
    let mut revoked = Vec::new();
    if flags & 8 != 0 {
        for _ in 0..1 + bytes.byte() % 3 {
            let at = usize::from(bytes.byte()) % scene::REVOKED.len();
            let Some((kind, id)) = scene::REVOKED.get(at).copied() else { continue };
            let below = match bytes.byte() {
                0 => Below::Always,
                sequence => Below::Sequence(sequence.into()),
            };
            revoked.push((kind, id, below));
        }
        draft = draft.revoking(&revoked);
    }
    if flags & 16 != 0 {
        draft.bundle = Some(match bytes.byte() % 4 {
            0 => b"not a bundle".to_vec(),
            1 => scene::postcard(&Bundle { policy: vec![1], ..Bundle::default() }),
            2 => bytes.block().to_vec(),
            _ => scene::postcard(scene::bundle()),
        });
    }
    let header = &mut draft.header;
    if flags & 32 != 0 {
        header.issued_at = UnixSeconds(NOW - 100 + u64::from(bytes.byte()));
        header.expires_at = header.issued_at.plus(u64::from(bytes.byte()) * 4);
    }
    if flags & 64 != 0 {
        header.root_version = u64::from(bytes.byte() % 4);
    }
    let mut draft = draft.whole();
    if flags & 128 != 0 {
        let header = &mut draft.header;
        match bytes.byte() % 8 {
            0 => header.environment = "dev".to_owned(),
            1 => header.feed_audience = "canary".to_owned(),
            2 => header.min_filter = u32::from(bytes.byte()),
            3 => header.hash_key_id = u64::from(bytes.byte()),
            4 => header.whole_digest = [bytes.byte(); 32],
            5 => (header.part, header.parts) = (bytes.byte().into(), bytes.byte().into()),
            6 => header.audit_head = Some([1; 32]),
            _ => draft.keys = Some(bytes.block().to_vec()),
        }
    }
    (draft, revoked)
}

/// Envelopes that are right, in parts and of other epochs.
pub static POOL: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let mut pool = scene::in_parts(&Draft::snapshot(60), 3);
    pool.extend(scene::in_parts(&Draft::snapshot(60).epoch(EPOCH + 1), 2));
    let mut policy = Draft::snapshot(70);
    policy.bundle = Some(scene::postcard(scene::bundle()));
    pool.extend(scene::in_parts(&policy, 2));
    pool.extend([
        Draft::snapshot(scene::AT).sealed(),
        Draft::delta(50, 51).sealed(),
        Draft::delta(51, 51).sealed(),
        Draft::delta(51, 55).sealed(),
        Draft::delta(60, 60).sealed(),
        Draft::delta(70, 80).sealed(),
        Draft::snapshot(20).epoch(EPOCH + 1).sealed(),
    ]);
    pool
});

const MAX_STEPS: usize = 24;
/// When the revocations of [`Draft::revoking`] end.
const END: UnixSeconds = UnixSeconds(NOW + 3_660);
