//! The tests of a policy folder, run: each request is decided by a real gate, on a gatepass that a
//! fresh key has signed.
//!
//! It decides nothing itself. A test sees the engine's own decision and the checks on the way to it.

use std::collections::BTreeSet;

use gatepass_engine::body::Body;
use gatepass_engine::bundle::{Bundle, RouteTarget, Treatment};
use gatepass_engine::decision::{Header, Noted};
use gatepass_engine::routes::RouteAt;
use gatepass_engine::trace::{Outcome, Recorded};
use gatepass_engine::{Code, Decision, Denial, Reason, Request, explain};
use gatepass_policy::Compiled;
use gatepass_policy::cases::{Case, Consent, Expected, Pass};

use crate::issue::IssueError;
use crate::keys::KeyError;
use crate::publish::PublishError;
use crate::roots::RootError;

mod fate;
mod grant;
pub mod junit;
mod rules;
mod stage;

pub use fate::{Fate, fates};
pub use rules::Decided;
use rules::{Parts, expected_by};
use stage::Stage;

/// What the tests have shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// In the order of the tests.
    pub results: Vec<Ran>,
    /// Actions that no request of a test was.
    pub missed_actions: Vec<String>,
    pub actions: usize,
    /// Routes that no request of a test took, as the policy writes them.
    pub missed_routes: Vec<String>,
    pub routes: usize,
    /// Rules that had no part in any test: permits that none rests on, forbids that never held.
    pub missed_rules: Vec<String>,
    pub rules: usize,
}

/// One test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    pub name: String,
    pub file: String,
    pub line: u64,
    pub fate: Fate,
    /// `None`: it came out as expected.
    pub failure: Option<Failure>,
}

/// What came out instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub expected: String,
    pub came: String,
    /// The check that denied, by its name in `explain`.
    pub check: Option<&'static str>,
    /// The rules that had a part in it, by their ids.
    pub decided: Decided,
}

/// Why a test could not be run at all.
#[derive(Debug, thiserror::Error)]
pub enum RehearsalError {
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Root(#[from] RootError),
    #[error(transparent)]
    Publish(#[from] PublishError),
    #[error("the gate refused what it was told: {0}")]
    Refused(#[from] gatepass_engine::Refusal),
}

impl Report {
    /// How many tests did not come out as expected.
    #[must_use]
    pub fn failures(&self) -> usize {
        self.results.iter().filter(|ran| ran.failure.is_some()).count()
    }
}

/// Runs the tests of a policy.
///
/// # Errors
/// [`RehearsalError`] where no gate could be made; a test that fails is no error.
pub fn rehearse(compiled: &Compiled, cases: &[Case]) -> Result<Report, RehearsalError> {
    let mut stage = Stage::new(compiled)?;
    let mut report = Report::default();
    let mut taken = Taken::default();
    let mut parts = Parts::new(&compiled.bundle);
    for case in cases {
        let came = came(&mut stage, &compiled.bundle, case)?;
        taken.add(&came);
        let decided = parts.add(came.noted());
        report.results.push(Ran {
            name: case.name.clone(),
            file: case.file.clone(),
            line: case.line,
            fate: Fate::of(&came, decided.rules.clone()),
            failure: came.failure(case, decided),
        });
    }
    taken.missed(&compiled.bundle, &mut report);
    parts.missed(&mut report);
    Ok(report)
}

/// What came of a request.
enum Came {
    Decided(Box<Decision>, Recorded),
    /// The gatepass is none that a gate reads.
    NoPass(IssueError),
    /// The test names no host, and there is not exactly one that is guarded.
    NoHost,
}

fn came(stage: &mut Stage, bundle: &Bundle, case: &Case) -> Result<Came, RehearsalError> {
    let Some(host) = host(bundle, case) else { return Ok(Came::NoHost) };
    let Some(pass) = &case.gatepass else {
        return decided(stage, case, host, None);
    };
    let audience = audience(bundle, host);
    let approved = match pass.approval {
        Consent::None => None,
        Consent::Same | Consent::Other => Some(ANOTHER),
    };
    let first = match token(stage, (case, pass), bundle, &audience, approved) {
        Ok(token) => decided(stage, case, host, Some(&token))?,
        Err(error) => return Ok(Came::NoPass(error)),
    };
    // What the request's digest is, the engine says when it is asked about an approval of another.
    if let (Consent::Same, Came::Decided(_, Recorded(_, Some(digest)))) = (pass.approval, &first) {
        return match token(stage, (case, pass), bundle, &audience, Some(*digest)) {
            Ok(token) => decided(stage, case, host, Some(&token)),
            Err(error) => Ok(Came::NoPass(error)),
        };
    }
    Ok(first)
}

fn token(
    stage: &Stage,
    (case, pass): (&Case, &Pass),
    bundle: &Bundle,
    audience: &str,
    approved: Option<[u8; 32]>,
) -> Result<String, IssueError> {
    stage.issue(&grant::of(pass, audience, bundle, case.scene.now, approved)?, pass, case.scene.now)
}

fn decided(
    stage: &mut Stage,
    case: &Case,
    host: &str,
    token: Option<&str>,
) -> Result<Came, RehearsalError> {
    let asked = &case.request;
    let mut headers = vec![
        (":method".to_owned(), asked.method.clone()),
        (":authority".to_owned(), host.to_owned()),
        (":path".to_owned(), asked.path.clone()),
    ];
    headers.extend(asked.headers.iter().cloned());
    headers.extend(token.map(|token| ("authorization".to_owned(), format!("Bearer {token}"))));
    let headers: Vec<Header<'_>> = headers
        .iter()
        .map(|(name, value)| Header { name: name.as_bytes(), value: value.as_bytes() })
        .collect();
    let body = asked.body.as_ref().map_or(Body::None, |body| Body::Whole(body.as_bytes()));
    let request = Request { headers: &headers, body, source: asked.source };
    let (gate, now) = stage.gate(case)?;
    let (decision, recorded) = explain(&request, gate, now);
    Ok(Came::Decided(Box::new(decision), recorded))
}

/// That of the request, or the only one that is guarded.
fn host<'a>(bundle: &'a Bundle, case: &'a Case) -> Option<&'a str> {
    if let Some(host) = &case.request.host {
        return Some(host);
    }
    let guarded = |treatment: &Treatment| matches!(treatment, Treatment::Guarded(_));
    let mut found = bundle.hosts.iter().filter(|host| guarded(&host.treatment));
    match (found.next(), found.next()) {
        (Some(host), None) => host.names.first().map(String::as_str),
        _ => None,
    }
}

/// What the gatepasses for a host are good at. That of a host that the policy does not know is nobody's.
fn audience(bundle: &Bundle, authority: &str) -> String {
    let name = gatepass_engine::target::host(authority.as_bytes()).unwrap_or(authority);
    let has_name = |known: &String| known == name;
    let host = bundle.hosts.iter().find(|host| host.names.iter().any(has_name));
    host.map_or_else(|| NOBODY.to_owned(), |host| host.audience.clone())
}

impl Came {
    /// `None` where this was expected.
    fn failure(&self, case: &Case, decided: Decided) -> Option<Failure> {
        let expected = case.expected;
        let (found, check) = match self {
            Self::Decided(decision, recorded) => (Found::of(decision), denied_by(recorded)),
            Self::NoPass(error) => return Some(Failure::unrun(case, error.to_string())),
            Self::NoHost => {
                let why = "the policy guards not exactly one host: write `host` in the request";
                return Some(Failure::unrun(case, why.to_owned()));
            }
        };
        let as_expected = match (expected, &found) {
            (Expected::Allow, Found::Allowed(_)) => true,
            (Expected::Deny(code), Found::Denied(denial))
            | (Expected::Shadow(code), Found::Shadow(denial)) => {
                code.is_none_or(|code| code == denial.code())
            }
            (Expected::Allow | Expected::Deny(_) | Expected::Shadow(_), _) => false,
        };
        let as_expected = as_expected && decided.fits(&case.expected_rules);
        (!as_expected).then(|| Failure { expected: said(case), came: found.said(), check, decided })
    }

    fn noted(&self) -> Option<&Noted> {
        match self {
            Self::Decided(decision, _) => match &**decision {
                Decision::Allow(permit) => Some(permit.noted()),
                Decision::Deny(denial) => Some(&denial.whom().noted),
                Decision::Redeem(redemption) => Some(redemption.noted()),
                Decision::Read(_) => None,
            },
            Self::NoPass(_) | Self::NoHost => None,
        }
    }
}

impl Failure {
    fn unrun(case: &Case, why: String) -> Self {
        let came = format!("not run: {why}");
        Self { expected: said(case), came, check: None, decided: Decided::default() }
    }
}

/// What a decision is to a test.
enum Found<'a> {
    Allowed(String),
    Denied(&'a Denial),
    Shadow(&'a Denial),
    /// It waits for a body, which a test always has whole.
    Waits,
}

impl<'a> Found<'a> {
    fn of(decision: &'a Decision) -> Self {
        match decision {
            Decision::Allow(permit) => match permit.reason() {
                Reason::Decided(_) => {
                    Self::Allowed(format!("as `{}`", permit.action().unwrap_or_default()))
                }
                Reason::Public => Self::Allowed("as the route is public".to_owned()),
                Reason::PassedThrough => Self::Allowed("as the host is passed through".to_owned()),
                Reason::Shadow(denial) => Self::Shadow(denial),
            },
            // What the control plane confirms is not policy: a first use and a record are.
            Decision::Redeem(redemption) => {
                Self::Allowed(format!("as `{}`, once it is confirmed", redemption.action()))
            }
            Decision::Deny(denial) => Self::Denied(denial),
            Decision::Read(_) => Self::Waits,
        }
    }

    fn said(&self) -> String {
        let with = |denial: &Denial| {
            format!("`{}` ({}): {}", denial.code(), denial.code().status(), denial.detail())
        };
        match self {
            Self::Allowed(how) => format!("allow, {how}"),
            Self::Denied(denial) => format!("deny, {}", with(denial)),
            Self::Shadow(denial) => format!("shadow, it would be denied: {}", with(denial)),
            Self::Waits => "nothing yet: it waits for a body".to_owned(),
        }
    }
}

fn said(case: &Case) -> String {
    let with = |decision: &str, code: Option<Code>| match code {
        Some(code) => format!("{decision}, `{code}`"),
        None => decision.to_owned(),
    };
    let decision = match case.expected {
        Expected::Allow => "allow".to_owned(),
        Expected::Deny(code) => with("deny", code),
        Expected::Shadow(code) => with("shadow", code),
    };
    format!("{decision}{}", expected_by(&case.expected_rules))
}

fn denied_by(recorded: &Recorded) -> Option<&'static str> {
    let failed = |outcome: &Outcome| matches!(outcome, Outcome::Failed(..));
    recorded.0.iter().rev().find(|(_, outcome)| failed(outcome)).map(|(check, _)| check.as_str())
}

/// What the tests have taken of a policy.
#[derive(Default)]
struct Taken {
    /// By host and route.
    routes: BTreeSet<(usize, usize)>,
}

impl Taken {
    fn add(&mut self, came: &Came) {
        let at = came.noted().and_then(Noted::route_at);
        self.routes.extend(at.map(|RouteAt { host, route }| (host, route)));
    }

    fn missed(&self, bundle: &Bundle, report: &mut Report) {
        let mut actions = BTreeSet::new();
        for (host_at, host) in bundle.hosts.iter().enumerate() {
            let Treatment::Guarded(routes) = &host.treatment else { continue };
            for (route_at, route) in routes.iter().enumerate() {
                report.routes = report.routes.saturating_add(1);
                if self.routes.contains(&(host_at, route_at)) {
                    if let RouteTarget::Action(id) = route.target {
                        actions.insert(id);
                    }
                    continue;
                }
                let name = host.names.first().map_or("", String::as_str);
                let call = route.call.as_ref().map_or_else(String::new, |call| {
                    let name = call.name.as_deref().unwrap_or("*");
                    format!(" {} {name}", call.method)
                });
                let methods = route.methods.join(",");
                report.missed_routes.push(format!("{methods} {}{call} on {name}", route.path));
            }
        }
        let missed = (0..).zip(&bundle.actions).filter(|(id, _)| !actions.contains(id));
        report.missed_actions = missed.map(|(_, action)| action.name.clone()).collect();
        report.actions = bundle.actions.len();
    }
}

/// The digest of a request that nobody makes.
const ANOTHER: [u8; 32] = [0; 32];
const NOBODY: &str = "https://unknown.invalid";

#[cfg(test)]
mod tests;
