//! `defaults`: what actions and routes take that do not say it themselves.

use gatepass_engine::bundle::{Assurance, Risk};

use super::action::ASSURANCES;
use super::{Field, field};
use crate::reader::{Fields, Reader};
use crate::tree::Tree;

#[derive(Debug, Default)]
pub(super) struct Defaults {
    assurance: Option<Assurance>,
    max_age: Option<u32>,
    staleness: [Option<(u32, Field)>; 3],
    max_duration: Option<(u32, Field)>,
}

impl Defaults {
    pub(super) fn read(reader: &mut Reader, tree: &Tree) -> Self {
        let Some(fields) = reader.fields(tree, "`defaults`", &DEFAULT_FIELDS) else {
            return Self::default();
        };
        let staleness = fields.find("staleness");
        let by_risk = staleness
            .and_then(|tree| reader.fields(tree, "`staleness` of `defaults`", &RISK_NAMES));
        let staleness = RISK_NAMES
            .map(|risk| by_risk.as_ref().and_then(|all| seconds(reader, all, risk, "staleness")));
        Self {
            assurance: field(&fields, "assurance", |tree| reader.choice(tree, &ASSURANCES)),
            max_age: field(&fields, "max_age", |tree| reader.duration(tree)),
            staleness,
            max_duration: seconds(reader, &fields, "max_duration", "max_duration"),
        }
    }

    /// Never weaker than what the risk asks for.
    pub(super) fn assurance(&self, risk: Risk) -> Assurance {
        let weakest = match risk {
            Risk::Low => Assurance::Static,
            Risk::Medium | Risk::High => Assurance::Federated,
        };
        self.assurance.map_or(weakest, |assurance| assurance.max(weakest))
    }

    pub(super) const fn max_age(&self) -> Option<u32> {
        self.max_age
    }

    /// Seconds, and where they are stated.
    pub(super) fn staleness(&self, risk: Risk) -> (u32, Option<&Field>) {
        let [low, medium, high] = &self.staleness;
        let stated = match risk {
            Risk::Low => low,
            Risk::Medium => medium,
            Risk::High => high,
        };
        match stated {
            Some((seconds, field)) => (*seconds, Some(field)),
            None => (risk.default_staleness(), None),
        }
    }

    /// Seconds, and where they are stated.
    pub(super) const fn max_duration(&self) -> (u32, Option<&Field>) {
        match &self.max_duration {
            Some((seconds, field)) => (*seconds, Some(field)),
            None => (DEFAULT_DURATION, None),
        }
    }
}

/// The duration in a field, and that field under the name that an action or a route has for it.
fn seconds(
    reader: &mut Reader,
    fields: &Fields<'_>,
    name: &str,
    called: &str,
) -> Option<(u32, Field)> {
    let tree = fields.find(name)?;
    Some((reader.duration(tree)?, Field::new(called, fields.file(), tree)))
}

const DEFAULT_FIELDS: [&str; 4] = ["assurance", "max_age", "staleness", "max_duration"];
const RISK_NAMES: [&str; 3] = ["low", "medium", "high"];
/// Seconds that a permit may last.
const DEFAULT_DURATION: u32 = 60;
