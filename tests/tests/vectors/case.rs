//! The tables of cases: families, and how a refused case is made from its accepted twin.

use std::collections::{BTreeMap, BTreeSet};

use gatepass_engine::denial::Code;

use crate::format::{Base64, GatepassVector, public_keys};
use crate::message::FLEET;
use crate::scene::Scene;

/// 2027-01-15T08:00:00Z, the time of the files.
pub(crate) const NOW: u64 = 1_800_000_000;

/// Cases about one part of the formats.
pub(crate) struct Family {
    /// Cases are numbered from here on, in order: add at the end.
    pub(crate) number: u32,
    pub(crate) title: &'static str,
    pub(crate) cases: Vec<Case>,
}

pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) verdict: Verdict,
    pub(crate) why: String,
    /// Decided alike whichever second it is, and sendable over HTTP/1.1 as it stands.
    pub(crate) live: bool,
    make: Make,
}

pub(crate) type Make = Box<dyn Fn(&mut Scene) + Send + Sync>;

pub(crate) enum Verdict {
    /// With the permit's reason.
    Allow(String),
    Deny {
        code: Code,
        twin: String,
        changed: String,
    },
}

impl Family {
    pub(crate) const fn new(number: u32, title: &'static str) -> Self {
        Self { number, title, cases: Vec::new() }
    }

    /// A request that a gatepass grants.
    pub(crate) fn allow(
        &mut self,
        name: impl Into<String>,
        why: impl Into<String>,
        make: impl Fn(&mut Scene) + Send + Sync + 'static,
    ) -> &mut Self {
        self.allow_as("decided", name, why, make)
    }

    /// A request that goes on for another reason.
    pub(crate) fn allow_as(
        &mut self,
        reason: &str,
        name: impl Into<String>,
        why: impl Into<String>,
        make: impl Fn(&mut Scene) + Send + Sync + 'static,
    ) -> &mut Self {
        self.push(Verdict::Allow(reason.to_owned()), name.into(), why.into(), Box::new(make))
    }

    /// A request that is `twin` with one change.
    pub(crate) fn deny(
        &mut self,
        code: Code,
        name: impl Into<String>,
        (twin, changed): (&str, &str),
        why: impl Into<String>,
        make: impl Fn(&mut Scene) + Send + Sync + 'static,
    ) -> &mut Self {
        let verdict = Verdict::Deny { code, twin: twin.to_owned(), changed: changed.to_owned() };
        self.push(verdict, name.into(), why.into(), Box::new(make))
    }

    fn push(&mut self, verdict: Verdict, name: String, why: String, make: Make) -> &mut Self {
        self.cases.push(Case { name, verdict, why, live: false, make });
        self
    }

    /// The last case goes through a real Envoy too.
    pub(crate) fn live(&mut self) -> &mut Self {
        self.cases.last_mut().unwrap().live = true;
        self
    }
}

/// All cases, and their scenes at any time.
pub(crate) struct Book {
    pub(crate) families: Vec<Family>,
    places: BTreeMap<String, (usize, usize)>,
}

impl Book {
    pub(crate) fn new(families: Vec<Family>) -> Self {
        let mut places = BTreeMap::new();
        for (at, family) in families.iter().enumerate() {
            for (nth, case) in family.cases.iter().enumerate() {
                let old = places.insert(case.name.clone(), (at, nth));
                assert!(old.is_none(), "`{}` is there twice", case.name);
            }
        }
        Self { families, places }
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = (u32, &Case)> {
        self.families.iter().flat_map(|family| (family.number + 1..).zip(&family.cases))
    }

    fn case(&self, name: &str) -> &Case {
        let place = self.places.get(name).unwrap_or_else(|| panic!("no case `{name}`"));
        &self.families[place.0].cases[place.1]
    }

    /// The scene of a case at a time: that of its twin with one change.
    pub(crate) fn scene(&self, case: &Case, start: u64, audience: &str) -> Scene {
        let mut scene = Scene::good(start, audience);
        if let Verdict::Deny { twin, .. } = &case.verdict {
            let twin = self.case(twin);
            assert!(matches!(twin.verdict, Verdict::Allow(_)), "`{}` is no twin", twin.name);
            (twin.make)(&mut scene);
        }
        (case.make)(&mut scene);
        scene
    }

    /// The files, each with its stem.
    pub(crate) fn vectors(&self) -> Vec<(String, GatepassVector)> {
        let stems: BTreeMap<&str, String> = self
            .all()
            .map(|(number, case)| (case.name.as_str(), stem(number, &case.name)))
            .collect();
        self.all()
            .map(|(number, case)| {
                let scene = self.scene(case, NOW, FLEET);
                let (expected, status, reason, twin, changed) = match &case.verdict {
                    Verdict::Allow(reason) => ("allow", None, Some(reason.clone()), None, None),
                    Verdict::Deny { code, twin, changed } => (
                        code.as_str(),
                        Some(code.status()),
                        None,
                        stems.get(twin.as_str()).cloned(),
                        Some(changed.clone()),
                    ),
                };
                let vector = GatepassVector {
                    number,
                    name: case.name.clone(),
                    why: case.why.clone(),
                    expected: expected.to_owned(),
                    status,
                    reason,
                    twin,
                    changed,
                    gate: scene.configuration(),
                    public_keys: public_keys(),
                    heard_at: scene.start,
                    feed: scene.feed().map(Base64::of),
                    now: scene.now,
                    request: scene.request(),
                };
                (stem(number, &case.name), vector)
            })
            .collect()
    }

    pub(crate) fn codes(&self) -> BTreeSet<Code> {
        let code = |case: &Case| match case.verdict {
            Verdict::Allow(_) => None,
            Verdict::Deny { code, .. } => Some(code),
        };
        self.all().filter_map(|(_, case)| code(case)).collect()
    }
}

/// A file's name without its ending.
pub(crate) fn stem(number: u32, name: &str) -> String {
    format!("{number:03}-{name}")
}
