//! Rules in Cedar, after all that a gatepass must be.

use gatepass_engine::denial::Code;
use gatepass_policy::cedar::compile;

use super::GRANTED;
use crate::case::Family;
use crate::scene::Scene;

pub(crate) fn family() -> Family {
    let mut f = Family::new(1_000, "Rules");
    f.allow("permitted", "A rule permits it.", |s| rules(s, ALL)).live();
    f.deny(
        Code::PolicyDenied,
        "permitted_by_no_rule",
        (GRANTED, "the policy has rules, of which none permits it"),
        "Where there are rules an action needs a permit.",
        |s| rules(s, "permit (principal, action, resource) when { context.task.id == \"x\" };"),
    )
    .live();
    f.deny(
        Code::PolicyDenied,
        "no_rule_at_all_among_the_rules",
        (GRANTED, "the policy has a file of rules without a rule"),
        "Rules without a rule permit nothing.",
        |s| rules(s, "// permit (principal, action, resource);"),
    );
    f.deny(
        Code::PolicyDenied,
        "forbidden",
        ("permitted", "another rule forbids it"),
        "A `forbid` wins over every `permit`.",
        |s| rules(s, &format!("{ALL}forbid (principal, action, resource) unless {{ context.gatepass.scopes.contains(\"none\") }};")),
    )
    .live();
    f.allow("below_a_bound", "What the rule forbids is another number.", |s| bound(s, "1"));
    f.deny(
        Code::PolicyError,
        "beyond_64_bits",
        ("below_a_bound", "the rule multiplies by a larger number"),
        "A `forbid` that is an error denies.",
        |s| bound(s, "9223372036854775807"),
    )
    .live();
    f.deny(
        Code::PolicyError,
        "a_permit_that_is_an_error",
        ("permitted", "the rule that permits multiplies beyond 64 bits"),
        "A `permit` that is an error does not permit.",
        |s| rules(s, &format!("permit (principal, action, resource) when {{ {OVERFLOW} }};")),
    );
    f
}

fn bound(scene: &mut Scene, by: &str) {
    let seconds = "context.gatepass.expires.durationSince(context.gatepass.issued).toSeconds()";
    let rule = format!("forbid (principal, action, resource) when {{ {seconds} * {by} < 0 }};");
    rules(scene, &format!("{ALL}{rule}"));
}

fn rules(scene: &mut Scene, text: &str) {
    let (program, _) = compile(&[("vectors.cedar", text)], &scene.bundle)
        .unwrap_or_else(|notes| panic!("{notes:?}"));
    scene.bundle.policy = postcard::to_allocvec(&program).unwrap();
}

const ALL: &str = "permit (principal, action, resource);\n";
const OVERFLOW: &str = "context.gatepass.expires.durationSince(context.gatepass.issued).toSeconds() * 9223372036854775807 < 0";
