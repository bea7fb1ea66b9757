//! What Envoy's admin interface says: its state, its configuration, the gate's counters.

use std::collections::{BTreeMap, BTreeSet};

use super::Line;
use crate::admin;
use crate::check::{Checked, Defect, Finding, Severity, check};
use crate::plugin::{Mode, PluginConfig, Roots};

pub(super) fn examine(address: &str, expected: Option<&Roots>) -> Vec<Line> {
    let fetch = |path: &str| match admin::get(address, path) {
        Ok(answer) if answer.status == 200 => Ok(answer.body),
        Ok(answer) => Err(format!("{address}{path} answers {}", answer.status)),
        Err(error) => Err(format!("{address}{path} gives no answer: {error}")),
    };
    let mut lines = vec![match fetch("/ready") {
        Ok(state) => Line::ok("envoy", state.trim()),
        Err(seen) => {
            let fix = "start Envoy, and give its admin address; `PRE_INITIALIZING`: see its log";
            return vec![Line::problem("envoy", seen, fix)];
        }
    }];
    let dump = fetch("/config_dump").and_then(|text| check(&text).map_err(|e| e.to_string()));
    let checked = match dump {
        Ok(checked) => checked,
        Err(seen) => {
            lines.push(Line::problem("filter", seen, "let the admin interface give /config_dump"));
            return lines;
        }
    };
    lines.extend(configuration(&checked));
    let stats = fetch("/stats").map(|text| numbers(&text)).unwrap_or_default();
    for plugin in distinct(&checked) {
        lines.push(roots(plugin, expected));
        lines.push(mode(plugin));
        lines.push(feed_cluster(&plugin.control_plane.cluster, &stats));
    }
    if !checked.gates.is_empty() {
        lines.push(state(&stats));
        lines.push(crashes(&stats));
        lines.push(refusals(&stats));
    }
    lines
}

/// The filter is there, and what `check` has to say but for what has a line of its own.
fn configuration(checked: &Checked) -> Vec<Line> {
    let mut lines = Vec::new();
    match checked.gates.len() {
        0 => {
            let fix = Defect::NoGate.fix();
            return vec![Line::problem("filter", Defect::NoGate.meaning(), fix)];
        }
        count => lines.push(Line::ok("filter", format!("in {count} connection managers"))),
    }
    let policy =
        |finding: &&Finding| matches!(finding.defect, Defect::FailsOpen | Defect::NoReload);
    lines.push(match checked.findings.iter().find(policy) {
        None => Line::ok("failure_policy", "a crash closes, and is repaired"),
        Some(finding) => line_of("failure_policy", finding),
    });
    let rest = checked.findings.iter().filter(|finding| !policy(finding));
    let rest: Vec<_> = rest
        .filter(|finding| finding.defect.severity() != Severity::Note)
        .map(|finding| line_of("configuration", finding))
        .collect();
    if rest.is_empty() {
        lines.push(Line::ok("configuration", "no error and no warning"));
    }
    lines.extend(rest);
    lines
}

fn line_of(check: &'static str, finding: &Finding) -> Line {
    let defect = finding.defect;
    let seen = format!("{}: {} ({})", defect.code(), defect.meaning(), finding.place);
    match defect.severity() {
        Severity::Error => Line::problem(check, seen, defect.fix()),
        Severity::Warning | Severity::Note => Line::warning(check, seen, defect.fix()),
    }
}

/// A gate on several listeners is one gate.
fn distinct(checked: &Checked) -> Vec<&PluginConfig> {
    let mut plugins: Vec<&PluginConfig> = Vec::new();
    for plugin in checked.gates.iter().filter_map(|gate| gate.plugin.as_ref()) {
        if !plugins.contains(&plugin) {
            plugins.push(plugin);
        }
    }
    plugins
}

fn roots(plugin: &PluginConfig, expected: Option<&Roots>) -> Line {
    let keys = |roots: &Roots| roots.keys.iter().cloned().collect::<BTreeSet<String>>();
    let told = |roots: &Roots| {
        let list = keys(roots).into_iter().collect::<Vec<_>>().join(", ");
        format!("{} of {list}", roots.threshold)
    };
    match expected {
        None => Line::ok("roots", format!("{}; none given to compare", told(&plugin.roots))),
        Some(wanted)
            if keys(wanted) == keys(&plugin.roots)
                && wanted.threshold == plugin.roots.threshold =>
        {
            Line::ok("roots", told(&plugin.roots))
        }
        Some(wanted) => Line::problem(
            "roots",
            format!("pinned are {}, expected {}", told(&plugin.roots), told(wanted)),
            "find out who changed them; print the configuration again with the right ones",
        ),
    }
}

fn mode(plugin: &PluginConfig) -> Line {
    match plugin.mode {
        Mode::Enforce => Line::ok("mode", "enforce"),
        Mode::Shadow => Line::warning("mode", Defect::Shadow.meaning(), Defect::Shadow.fix()),
    }
}

fn feed_cluster(name: &str, stats: &BTreeMap<String, u64>) -> Line {
    let stat = |field: &str| stats.get(&format!("cluster.{name}.{field}")).copied();
    let fix = "let Envoy reach the control plane: address, network policy, TLS names";
    match (stat("membership_healthy"), stat("upstream_rq_completed")) {
        (None, _) => Line::problem("feed_cluster", format!("no cluster `{name}`"), fix),
        (Some(0), _) => Line::problem("feed_cluster", format!("`{name}` has no healthy host"), fix),
        (Some(_), None | Some(0)) if stat("upstream_rq_active").unwrap_or(0) == 0 => {
            Line::problem("feed_cluster", format!("`{name}` was never polled"), fix)
        }
        (Some(healthy), _) if stat("upstream_cx_active") == Some(0) => {
            let failed = stat("upstream_cx_connect_fail").unwrap_or(0);
            let seen = format!("`{name}`: {healthy} hosts, no connection, {failed} failed");
            Line::problem("feed_cluster", seen, fix)
        }
        (Some(healthy), _) => Line::ok("feed_cluster", format!("`{name}`: {healthy} healthy")),
    }
}

/// What the gate has heard, and when. The gauges are the leader's.
fn state(stats: &BTreeMap<String, u64>) -> Line {
    let gauge = |name: &str| stats.get(&format!("wasmcustom.gatepass_{name}")).copied();
    let (epoch, sequence) = (gauge("position_epoch"), gauge("position_sequence"));
    let (Some(epoch), Some(sequence)) = (epoch, sequence) else {
        let fix = "see `feed_cluster`, `roots` and Envoy's log; and let a `stats_matcher` keep \
                   `wasmcustom.`";
        return Line::problem("state", "the gate has heard nothing yet (`not_ready`)", fix);
    };
    let age = gauge("state_age_ms").unwrap_or(0);
    let workers = gauge("vms").unwrap_or(0);
    let seen = format!("position {epoch}.{sequence}, {age} ms old, {workers} VMs");
    match age {
        0..=SMALLEST_BOUND => Line::ok("state", seen),
        _ => Line::problem(
            "state",
            seen,
            "high-risk actions are refused as `stale` by now: see `feed` and `feed_cluster`",
        ),
    }
}

fn crashes(stats: &BTreeMap<String, u64>) -> Line {
    let counted =
        stats.iter().filter(|(name, _)| name.starts_with("wasm.") && name.contains(".vm_reload_"));
    match counted.fold(0_u64, |sum, (_, count)| sum.saturating_add(*count)) {
        0 => Line::ok("crashes", "none since Envoy started"),
        count => Line::warning(
            "crashes",
            format!("{count} reloads of VMs since Envoy started"),
            "report it with Envoy's log of that time",
        ),
    }
}

fn refusals(stats: &BTreeMap<String, u64>) -> Line {
    let counter = |name: &str| stats.get(&format!("wasmcustom.{name}")).copied().unwrap_or(0);
    let refused = counter("gatepass_batches_refused");
    let forged = counter("gatepass_shared_state_forged");
    let seen = format!("{refused} batches refused, {forged} times forged shared data");
    match (refused, forged) {
        (0, 0) => Line::ok("refusals", seen),
        (_, 0) => Line::warning(
            "refusals",
            seen,
            "look for the code in `gatepass_batch_refusals` and in Envoy's log",
        ),
        _ => Line::problem("refusals", seen, "another plugin writes into the gate's `vm_id`"),
    }
}

fn numbers(text: &str) -> BTreeMap<String, u64> {
    let parse = |line: &str| {
        let (name, value) = line.rsplit_once(": ")?;
        Some((name.to_owned(), value.parse().ok()?))
    };
    text.lines().filter_map(parse).collect()
}

/// The default staleness bound of high-risk actions, in milliseconds.
const SMALLEST_BOUND: u64 = 10_000;
