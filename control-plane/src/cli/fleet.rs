//! The fleet for people at a terminal: who enforces what, the worst first.

use gatepass::fleet::{FleetView, Follower, LastRefusal, State};
use serde_json::Value;

use super::show::columns;

/// An answer of `/v1/fleet`; one that cannot be read is shown as it is.
pub(crate) fn table(answer: &Value) -> String {
    match serde_json::from_value::<FleetView>(answer.clone()) {
        Ok(view) => shown(&view),
        Err(_) => format!("{answer:#}\n"),
    }
}

/// One line for each Envoy, under a head.
pub(crate) fn envoys<'a>(all: impl Iterator<Item = &'a Follower>, at: u64) -> String {
    let mut lines = vec![HEAD.map(str::to_owned).to_vec()];
    lines.extend(all.map(|envoy| line(envoy, at)));
    columns(&lines)
}

fn shown(view: &FleetView) -> String {
    let mut out = format!("control plane {} at {}\n", view.version, view.position);
    if !view.policy.is_empty() {
        out.push_str(&format!("policy {} was published at {}\n", view.policy_version, view.policy));
    }
    for cohort in view.cohorts.iter().filter(|cohort| !cohort.policy.is_empty()) {
        out.push_str(&format!(
            "policy {} was published at {} in the cohort {}\n",
            cohort.policy_version, cohort.policy, cohort.cohort
        ));
    }
    if view.envoys.is_empty() {
        let since = view.at.saturating_sub(view.since);
        out.push_str(&format!("no Envoy has reported in the {since} s since it started\n"));
        return out;
    }
    let counts: Vec<String> = State::ALL
        .into_iter()
        .map(|state| (state, view.envoys.iter().filter(|envoy| envoy.state == state).count()))
        .filter(|(_, count)| *count > 0)
        .map(|(state, count)| format!("{count} {}", state.as_str()))
        .collect();
    out.push_str(&format!("Envoys: {}\n\n", counts.join(", ")));
    out.push_str(&envoys(view.envoys.iter(), view.at));
    out
}

fn line(envoy: &Follower, at: u64) -> Vec<String> {
    let or_none = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    vec![
        envoy.state.as_str().to_owned(),
        or_none(&envoy.node),
        or_none(&envoy.envoy),
        or_none(&envoy.audience),
        or_none(&envoy.position),
        or_none(&envoy.policy),
        envoy.age.map_or_else(|| "-".to_owned(), |age| format!("{age} s")),
        format!("{} s ago", at.saturating_sub(envoy.seen_at)),
        or_none(&envoy.workers),
        envoy.denied.zip(envoy.allowed).map_or_else(
            || "-".to_owned(),
            |(denied, allowed)| format!("{denied} of {}", denied.saturating_add(allowed)),
        ),
        or_none(&envoy.mode),
        or_none(&envoy.version),
        envoy.address.clone(),
        envoy.identity.clone(),
        envoy.last_refusal.as_ref().map_or_else(|| "-".to_owned(), refusal),
    ]
}

fn refusal(refusal: &LastRefusal) -> String {
    let stamp = refusal.at.and_then(|at| i64::try_from(at).ok());
    let stamp = stamp.and_then(|at| jiff::Timestamp::from_second(at).ok());
    let when = stamp.map(|stamp| format!(" at {stamp}")).unwrap_or_default();
    let why = if refusal.why.is_empty() { String::new() } else { format!(": {}", refusal.why) };
    format!("{}{when}{why}", refusal.code)
}

const HEAD: [&str; 15] = [
    "state",
    "node",
    "envoy",
    "audience",
    "position",
    "policy",
    "state's age",
    "last poll",
    "vms",
    "denied",
    "mode",
    "filter",
    "address",
    "identity",
    "last refusal",
];

#[cfg(test)]
mod tests {
    use super::*;
    use gatepass::fleet::CohortPolicy;

    fn follower(state: State) -> Follower {
        Follower {
            node: "edge".to_owned(),
            envoy: "00000000000000aa".to_owned(),
            state,
            position: "1.9".to_owned(),
            audience: "prod".to_owned(),
            allowed: Some(118),
            denied: Some(2),
            policy: "1.5".to_owned(),
            age: Some(3),
            root_version: Some(1),
            mode: "enforce".to_owned(),
            version: "0.1.0".to_owned(),
            workers: "3".to_owned(),
            last_refusal: None,
            identity: "join_token".to_owned(),
            verified: false,
            address: "127.0.0.1".to_owned(),
            seen_at: 996,
        }
    }

    fn view(envoys: Vec<Follower>) -> FleetView {
        FleetView {
            version: "0.1.0".to_owned(),
            position: "1.10".to_owned(),
            policy: "1.5".to_owned(),
            policy_version: 2,
            cohorts: vec![CohortPolicy {
                cohort: "canary".to_owned(),
                policy: "1.8".to_owned(),
                policy_version: 3,
            }],
            at: 1_000,
            since: 900,
            lost_after: 10,
            envoys,
        }
    }

    #[test]
    fn the_table_says_who_enforces_what_and_who_refused_why() {
        let mut refusing = follower(State::Lagging);
        refusing.last_refusal = Some(LastRefusal {
            code: "bundle_refused".to_owned(),
            why: "what it needs".to_owned(),
            at: Some(0),
        });
        let mut trying = follower(State::Enforcing);
        (trying.audience, trying.denied) = ("canary".to_owned(), None);
        let answer = serde_json::to_value(view(vec![refusing, trying]));
        let expected = "\
control plane 0.1.0 at 1.10
policy 2 was published at 1.5
policy 3 was published at 1.8 in the cohort canary
Envoys: 1 lagging, 1 enforcing

state      node  envoy             audience  position  policy  state's age  last poll  vms  denied    mode     filter  address    identity    last refusal
lagging    edge  00000000000000aa  prod      1.9       1.5     3 s          4 s ago    3    2 of 120  enforce  0.1.0   127.0.0.1  join_token  bundle_refused at 1970-01-01T00:00:00Z: what it needs
enforcing  edge  00000000000000aa  canary    1.9       1.5     3 s          4 s ago    3    -         enforce  0.1.0   127.0.0.1  join_token  -
";
        assert_eq!(table(&answer.unwrap()), expected);
        let nobody = table(&serde_json::to_value(view(vec![])).unwrap());
        assert!(nobody.ends_with("no Envoy has reported in the 100 s since it started\n"));
    }
}
