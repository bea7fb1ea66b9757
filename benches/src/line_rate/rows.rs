//! What is compared.

use std::time::Duration;

use super::envoys::Subject;
use super::load::Expected;
use super::tokens::Kind;

/// One row of the table.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) subject: Subject,
    pub(crate) presents: Presents,
    pub(crate) expected: Expected,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Presents {
    Nothing,
    /// Each once.
    Fresh(Kind),
    /// So many, in turn.
    Recurring(usize),
}

impl Presents {
    /// How long to ask before anything counts. Who recurs must have come about three times, or the row
    /// would measure how a cache fills.
    pub(crate) fn warm_up(self) -> Duration {
        let asked = match self {
            Self::Recurring(count) => Duration::from_secs_f64(count as f64 / 5_000.0),
            Self::Nothing | Self::Fresh(_) => Duration::ZERO,
        };
        asked.max(Duration::from_millis(500))
    }
}

/// All of them, in the order of the table.
pub(crate) fn rows() -> Vec<Row> {
    use Kind::{Es256, Forged, Good, Malformed, Revoked, Stranger};
    use Presents::{Fresh, Nothing, Recurring};
    use Subject::{Empty, ExtAuthz, Gatepass, Jwt, JwtCached, Plain};
    let allowed = || Expected { status: 200, text: "4711" };
    let denied = |status, text| Expected { status, text };
    let row = |name, subject, presents, expected| Row { name, subject, presents, expected };
    vec![
        row("none", Plain, Recurring(200), allowed()),
        row("wasm_empty", Empty, Recurring(200), allowed()),
        row("gatepass_fresh", Gatepass, Fresh(Good), allowed()),
        row("gatepass_recurring_200", Gatepass, Recurring(200), allowed()),
        row("gatepass_recurring_20000", Gatepass, Recurring(20_000), allowed()),
        row("gatepass_denied_none", Gatepass, Nothing, denied(401, "\"no_credential\"")),
        row("gatepass_denied_malformed", Gatepass, Fresh(Malformed), denied(401, "\"malformed\"")),
        row("gatepass_denied_key", Gatepass, Fresh(Stranger), denied(401, "\"unknown_key\"")),
        row("gatepass_denied_signature", Gatepass, Fresh(Forged), denied(401, "\"bad_signature\"")),
        row("gatepass_denied_revoked", Gatepass, Fresh(Revoked), denied(401, "\"revoked_agent\"")),
        row("jwt_rbac_fresh_eddsa", Jwt, Fresh(Good), allowed()),
        row("jwt_rbac_fresh_es256", Jwt, Fresh(Es256), allowed()),
        row("jwt_rbac_cached_200", JwtCached, Recurring(200), allowed()),
        row("ext_authz_min", ExtAuthz, Fresh(Good), allowed()),
    ]
}
