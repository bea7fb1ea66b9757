//! The cases of `tests/vectors/{roots,envelopes,batches}`: a gate that has heard something hears
//! one feed answer more.

mod batches;
mod envelopes;
mod roots;

use std::collections::{BTreeMap, BTreeSet};

use gatepass_engine::refusal::RefusalCode;

use crate::case::{NOW, stem};
use crate::format::{
    After, Base64, FeedVector, GateConfiguration, Heard, Roots as PinnedRoots, public_keys,
};
use crate::keys::{ROOT, Seed, b64, public};
use crate::message::{AT, ENVIRONMENT, EPOCH, FLEET, Message, Root, answer};

/// What the gate hears, when.
pub(crate) struct FeedScene {
    /// When it hears the first answer.
    pub(crate) start: u64,
    /// When it hears the last one.
    pub(crate) now: u64,
    pub(crate) audience: String,
    pub(crate) pinned: (Vec<Seed>, usize),
    pub(crate) min_root_version: u64,
    /// At `start`, and all of it was accepted.
    pub(crate) heard: Vec<(Vec<Root>, Vec<Message>)>,
    /// Where that has brought the gate.
    pub(crate) before: After,
    pub(crate) roots: Vec<Root>,
    pub(crate) batch: Message,
}

impl FeedScene {
    /// At [`AT`] under root 1; the next delta comes.
    fn ready(start: u64, audience: &str) -> Self {
        let root = Root::version(1, start);
        let snapshot = Message::snapshot(AT, audience, start);
        Self {
            start,
            now: start,
            audience: audience.to_owned(),
            pinned: (vec![ROOT], 1),
            min_root_version: 1,
            heard: vec![(vec![root.clone()], vec![snapshot])],
            before: After {
                root_version: 1,
                position: Some([EPOCH, AT]),
                fresh_as_of: Some(start),
            },
            roots: vec![root],
            batch: Message::delta(AT, AT + 1, audience, start),
        }
    }

    /// Nothing heard; the first snapshot comes.
    fn cold(&mut self) {
        self.heard.clear();
        self.before = After { root_version: 0, position: None, fresh_as_of: None };
        self.batch = Message::snapshot(AT, &self.audience, self.start);
    }

    /// The whole chain comes, under which the snapshot is signed.
    fn chain(&mut self, roots: Vec<Root>) {
        self.cold();
        self.batch.header.root_version = roots.last().map_or(0, |root| root.document.version);
        self.roots = roots;
    }

    pub(crate) fn configuration(&self) -> GateConfiguration {
        let (seeds, threshold) = &self.pinned;
        GateConfiguration {
            environment: ENVIRONMENT.to_owned(),
            feed_audience: self.audience.clone(),
            roots: PinnedRoots {
                keys: seeds.iter().map(|seed| b64(public(*seed))).collect(),
                threshold: *threshold,
            },
            min_root_version: self.min_root_version,
            mode: "enforce".to_owned(),
            baseline: None,
        }
    }

    pub(crate) fn answers(&self) -> Vec<Vec<u8>> {
        self.heard.iter().map(|(roots, batches)| sealed(roots, batches)).collect()
    }

    /// A snapshot of where the batch leads to, under the newest root.
    pub(crate) fn base(&self) -> Vec<u8> {
        let header = &self.batch.header;
        let mut snapshot = Message::snapshot(header.to, &self.audience, header.issued_at.0)
            .epoch(header.epoch, self.start);
        snapshot.header.root_version = header.root_version;
        snapshot.signers.clone_from(&self.batch.signers);
        sealed(&self.roots, core::slice::from_ref(&snapshot))
    }

    pub(crate) fn feed(&self) -> Vec<u8> {
        sealed(&self.roots, core::slice::from_ref(&self.batch))
    }
}

fn sealed(roots: &[Root], batches: &[Message]) -> Vec<u8> {
    let roots: Vec<Vec<u8>> = roots.iter().map(Root::sealed).collect();
    let batches: Vec<Vec<u8>> = batches.iter().map(Message::sealed).collect();
    answer(&roots, &batches)
}

pub(crate) struct FeedCase {
    pub(crate) name: String,
    pub(crate) verdict: FeedVerdict,
    pub(crate) why: String,
    /// Judged alike whichever second it is.
    pub(crate) live: bool,
    make: FeedMake,
}

type FeedMake = Box<dyn Fn(&mut FeedScene) + Send + Sync>;

#[derive(Clone)]
pub(crate) enum FeedVerdict {
    Accepted(Accepted),
    Refused { code: RefusalCode, at: At, twin: String, changed: String },
}

/// As the engine names what a batch did.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Accepted {
    Moved,
    Renewed,
    Part,
    Known,
}

/// What of the answer is refused.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum At {
    Roots,
    Batch,
}

impl FeedVerdict {
    pub(crate) const fn as_str(&self) -> &'static str {
        match self {
            Self::Accepted(Accepted::Moved) => "moved",
            Self::Accepted(Accepted::Renewed) => "renewed",
            Self::Accepted(Accepted::Part) => "part",
            Self::Accepted(Accepted::Known) => "known",
            Self::Refused { code, .. } => code.as_str(),
        }
    }

    /// 02-wire-formats, "The batch": what may change, and what a refusal leaves as it was.
    pub(crate) fn after(&self, scene: &FeedScene) -> After {
        let before = scene.before.clone();
        let root_version = scene.roots.last().map_or(0, |root| root.document.version);
        let header = &scene.batch.header;
        let position = Some([header.epoch, header.to]);
        let fresh_as_of = Some(header.issued_at.0.min(scene.now));
        match self {
            Self::Refused { at: At::Roots, .. } => before,
            Self::Accepted(Accepted::Moved) => After { root_version, position, fresh_as_of },
            Self::Accepted(Accepted::Renewed) => After { root_version, fresh_as_of, ..before },
            Self::Refused { code: RefusalCode::BundleRefused, .. } => {
                After { root_version, position, ..before }
            }
            Self::Accepted(Accepted::Part | Accepted::Known)
            | Self::Refused { at: At::Batch, .. } => After { root_version, ..before },
        }
    }
}

/// The cases of one folder, numbered from 1 on: add at the end.
pub(crate) struct FeedBook {
    pub(crate) folder: &'static str,
    pub(crate) title: &'static str,
    pub(crate) cases: Vec<FeedCase>,
}

impl FeedBook {
    const fn new(folder: &'static str, title: &'static str) -> Self {
        Self { folder, title, cases: Vec::new() }
    }

    fn accept(
        &mut self,
        as_what: Accepted,
        name: &str,
        why: &str,
        make: impl Fn(&mut FeedScene) + Send + Sync + 'static,
    ) -> &mut Self {
        self.push(FeedVerdict::Accepted(as_what), name, why, Box::new(make))
    }

    fn refuse(
        &mut self,
        code: RefusalCode,
        at: At,
        name: &str,
        (twin, changed): (&str, &str),
        why: &str,
        make: impl Fn(&mut FeedScene) + Send + Sync + 'static,
    ) -> &mut Self {
        let (twin, changed) = (twin.to_owned(), changed.to_owned());
        self.push(FeedVerdict::Refused { code, at, twin, changed }, name, why, Box::new(make))
    }

    fn push(&mut self, verdict: FeedVerdict, name: &str, why: &str, make: FeedMake) -> &mut Self {
        assert!(self.cases.iter().all(|case| case.name != name), "`{name}` is there twice");
        let (name, why) = (name.to_owned(), why.to_owned());
        self.cases.push(FeedCase { name, verdict, why, live: false, make });
        self
    }

    /// The last case goes through a real Envoy too.
    fn live(&mut self) -> &mut Self {
        self.cases.last_mut().unwrap().live = true;
        self
    }

    /// The scene of a case at a time: that of its twin with one change.
    pub(crate) fn scene(&self, case: &FeedCase, start: u64, audience: &str) -> FeedScene {
        let mut scene = FeedScene::ready(start, audience);
        if let FeedVerdict::Refused { twin, .. } = &case.verdict {
            let twin = self.cases.iter().find(|known| known.name == *twin);
            let twin = twin.unwrap_or_else(|| panic!("`{}` has no twin", case.name));
            assert!(matches!(twin.verdict, FeedVerdict::Accepted(_)), "`{}`", twin.name);
            (twin.make)(&mut scene);
        }
        (case.make)(&mut scene);
        scene
    }

    /// The files, each with its stem.
    pub(crate) fn vectors(&self) -> Vec<(String, FeedVector)> {
        let stems: BTreeMap<&str, String> = (1..)
            .zip(&self.cases)
            .map(|(number, case)| (case.name.as_str(), stem(number, &case.name)))
            .collect();
        (1..)
            .zip(&self.cases)
            .map(|(number, case)| {
                let scene = self.scene(case, NOW, FLEET);
                let (twin, changed) = match &case.verdict {
                    FeedVerdict::Accepted(_) => (None, None),
                    FeedVerdict::Refused { twin, changed, .. } => {
                        (stems.get(twin.as_str()).cloned(), Some(changed.clone()))
                    }
                };
                let heard = scene.answers().into_iter();
                let heard = heard.map(|answer| Heard { at: scene.start, feed: Base64::of(answer) });
                let vector = FeedVector {
                    number,
                    name: case.name.clone(),
                    why: case.why.clone(),
                    expected: case.verdict.as_str().to_owned(),
                    twin,
                    changed,
                    gate: scene.configuration(),
                    public_keys: public_keys(),
                    heard: heard.collect(),
                    now: scene.now,
                    feed: Base64::of(scene.feed()),
                    after: case.verdict.after(&scene),
                };
                (stem(number, &case.name), vector)
            })
            .collect()
    }

    pub(crate) fn codes(&self) -> BTreeSet<&'static str> {
        let refused =
            self.cases.iter().filter(|case| matches!(case.verdict, FeedVerdict::Refused { .. }));
        refused.map(|case| case.verdict.as_str()).collect()
    }
}

pub(crate) fn books() -> [FeedBook; 3] {
    [roots::book(), envelopes::book(), batches::book()]
}
