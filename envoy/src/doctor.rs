//! Asks a running Envoy, its feed and its surroundings whether the gate is in place and works: one
//! line for each check, and what to do where one fails.
//!
//! It only reads, and speaks plain HTTP only. It believes Envoy's admin interface: who controls that
//! controls the gate.

mod date;
mod envoy;

use std::time::SystemTime;

use crate::admin::{self, Answer};
use crate::code::origin;
use crate::plugin::Roots;

/// What to ask.
#[derive(Clone, Debug)]
pub struct Doctor {
    /// Envoy's admin interface, `host:port`.
    pub admin: String,
    /// The control plane, `http://host:port`.
    pub feed: String,
    /// A URL that the gate guards; asked without a gatepass.
    pub listener: Option<String>,
    /// The same system without the gate; it should not be reachable.
    pub upstream: Option<String>,
    /// The root keys that the gate should have pinned; absent: they are not compared.
    pub roots: Option<Roots>,
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// As it should be.
    Ok,
    /// It works, and something is worth a look.
    Warning,
    /// It does not work, or not as the gate needs it.
    Problem,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// What was looked at: a stable name.
    pub check: &'static str,
    /// How it ended.
    pub outcome: Outcome,
    /// What was seen.
    pub seen: String,
    /// What to do; empty when it is as it should be.
    pub fix: String,
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let outcome = match self.outcome {
            Outcome::Ok => "ok",
            Outcome::Warning => "warning",
            Outcome::Problem => "problem",
        };
        write!(f, "{outcome:8} {:15} {}", self.check, self.seen)?;
        if self.fix.is_empty() { Ok(()) } else { write!(f, "; fix: {}", self.fix) }
    }
}

impl Line {
    fn ok(check: &'static str, seen: impl ToString) -> Self {
        Self { check, outcome: Outcome::Ok, seen: seen.to_string(), fix: String::new() }
    }

    fn warning(check: &'static str, seen: impl ToString, fix: impl ToString) -> Self {
        let (seen, fix) = (seen.to_string(), fix.to_string());
        Self { check, outcome: Outcome::Warning, seen, fix }
    }

    fn problem(check: &'static str, seen: impl ToString, fix: impl ToString) -> Self {
        Self { outcome: Outcome::Problem, ..Self::warning(check, seen, fix) }
    }
}

impl Doctor {
    /// All checks, in the order in which one leans on another. What cannot be asked is a problem of
    /// its own, never an error.
    pub fn examine(&self) -> Vec<Line> {
        let mut lines = envoy::examine(&self.admin, self.roots.as_ref());
        lines.extend(self.feed_and_clock());
        lines.extend(self.listener.as_deref().map(guarded));
        lines.extend(self.upstream.as_deref().map(past));
        lines
    }

    fn feed_and_clock(&self) -> Vec<Line> {
        let answer = match ask("feed", &self.feed) {
            Ok(answer) => answer,
            Err(seen) => {
                let fix = "start the control plane, and let this machine and Envoy reach it";
                return vec![Line::problem("feed", seen, fix)];
            }
        };
        let feed = Line::ok("feed", format!("{} answers", self.feed));
        let there = answer.header("date").and_then(date::seconds);
        let here = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let (Some(there), Ok(here)) = (there, here) else {
            let fix = "compare the clocks of Envoy's machine and of the control plane";
            return vec![feed, Line::warning("clock", "the feed states no time", fix)];
        };
        let apart = there.abs_diff(here.as_secs());
        let seen = format!("{apart} s apart from the feed's");
        let fix = "set both clocks by NTP; beyond 30 s batches are refused as `clock_skew`";
        let clock = match apart {
            0..=5 => Line::ok("clock", seen),
            6..=CLOCK_SKEW => Line::warning("clock", seen, fix),
            _ => Line::problem("clock", seen, fix),
        };
        vec![feed, clock]
    }
}

/// A guarded URL, asked without a gatepass: the gate's answers carry a code.
fn guarded(url: &str) -> Line {
    let answer = match ask("listener", url) {
        Ok(answer) => answer,
        Err(seen) => return Line::problem("listener", seen, "look at Envoy's listeners"),
    };
    let body: Option<serde_json::Value> = serde_json::from_str(&answer.body).ok();
    let code = body.as_ref().and_then(|body| body.get("code")).and_then(|code| code.as_str());
    let status = answer.status;
    match code {
        Some(code @ ("not_ready" | "stale")) => Line::problem(
            "listener",
            format!("{url} answers {status} {code}"),
            "see `feed`, `feed_cluster` and `state`",
        ),
        Some(code) => Line::ok("listener", format!("{url} answers {status} {code}")),
        None => Line::problem(
            "listener",
            format!("{url} answers {status} without a gatepass, and not by the gate"),
            "put the gate on this listener and enforce; a host that is passed through answers so too",
        ),
    }
}

/// What is behind the gate, asked directly.
fn past(url: &str) -> Line {
    match ask("upstream", url) {
        Ok(answer) => Line::warning(
            "upstream",
            format!("{url} answers {} from here, without the gate", answer.status),
            "let only Envoy reach it: network policy, mTLS, or a loopback address",
        ),
        Err(seen) => Line::ok("upstream", format!("not reachable from here ({seen})")),
    }
}

/// GET of a URL, or why there is no answer.
fn ask(field: &'static str, url: &str) -> Result<Answer, String> {
    let at = origin(field, url).map_err(|error| error.to_string())?;
    if at.tls {
        return Err(format!("{url} is TLS, which is not spoken here"));
    }
    let authority = url.split("://").nth(1).unwrap_or_default();
    let path = authority.find('/').and_then(|slash| authority.get(slash..)).unwrap_or("/");
    admin::get(&at.address, path).map_err(|error| format!("{url} gives no answer: {error}"))
}

/// Seconds by which a batch's time may lie ahead (`clock_skew`).
const CLOCK_SKEW: u64 = 30;
