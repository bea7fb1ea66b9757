//! What an action demands besides an entry, and what a gatepass restricts that no gate can check.

use gatepass_engine::bundle::{Action, Assurance, Binding, Risk};
use gatepass_engine::denial::Code;
use serde_json::{Value, json};

use super::GRANTED;
use crate::case::Family;
use crate::keys::b64;
use crate::policy::AUDIENCE;
use crate::scene::{Authorization, Scene, digest};

pub(crate) fn family() -> Family {
    let mut f = Family::new(800, "Demands and restrictions");
    age(&mut f);
    scopes(&mut f);
    entries(&mut f);
    restrictions(&mut f);
    binding_and_assurance(&mut f);
    approvals(&mut f);
    f
}

fn age(f: &mut Family) {
    f.allow("as_old_as_allowed", "The action accepts 20 s since `iat`.", |s| {
        s.action().max_age = Some(20);
    });
    f.deny(
        Code::TooOld,
        "a_second_too_old",
        ("as_old_as_allowed", "the action accepts 19 s"),
        "The action's `max_age` counts from `iat`.",
        |s| s.action().max_age = Some(19),
    )
    .live();
    for (name, risk, longest) in [("medium", Risk::Medium, 900), ("high", Risk::High, 300)] {
        let twin = format!("longest_lifetime_at_{name}_risk");
        f.allow(&twin, "The risk bounds `exp - iat`.", move |s| {
            let action = s.action();
            (action.risk, action.staleness) = (risk, 10);
            s.pass.set("exp", json!(s.start - 20 + longest));
        });
        f.deny(
            Code::TooOld,
            format!("too_long_a_lifetime_at_{name}_risk"),
            (&twin, "`exp` is a second later"),
            "The risk bounds `exp - iat`.",
            move |s| s.pass.set("exp", json!(s.start - 20 + longest + 1)),
        );
    }
}

fn scopes(f: &mut Family) {
    let set = |all: &[&str], any: &[&str]| {
        let owned = |list: &[&str]| list.iter().map(|&scope| scope.to_owned()).collect();
        let (all, any): (Vec<String>, Vec<String>) = (owned(all), owned(any));
        move |s: &mut Scene| {
            let action: &mut Action = s.action();
            (action.scopes_all, action.scopes_any) = (all.clone(), any.clone());
        }
    };
    f.allow(
        "all_scopes",
        "All that the action demands are there.",
        set(&["orders:read", "orders:write"], &[]),
    );
    f.deny(
        Code::InsufficientScope,
        "one_scope_missing",
        ("all_scopes", "`scope` lacks one"),
        "Every scope of `all` is demanded.",
        |s| s.pass.set("scope", json!("orders:read")),
    )
    .live();
    f.deny(
        Code::InsufficientScope,
        "no_scope_claim",
        ("all_scopes", "there is no `scope`"),
        "Every scope of `all` is demanded.",
        |s| s.pass.remove("scope"),
    );
    f.allow("one_of_the_scopes", "One of `any` is enough.", set(&[], &["admin", "orders:write"]));
    f.deny(
        Code::InsufficientScope,
        "scope_with_a_longer_name",
        ("one_of_the_scopes", "`scope` has `orders:writer` instead"),
        "Scopes are compared whole.",
        |s| s.pass.set("scope", json!("orders:writer orders")),
    );
}

fn entries(f: &mut Family) {
    let entry = |actions: &[&str]| json!({"type": "agent_action", "actions": actions});
    f.allow("one_of_several_entries", "One entry grants.", move |s| {
        let all = json!([entry(&["orders:list"]), entry(&["orders:create"])]);
        s.pass.set("authorization_details", all);
    });
    f.deny(
        Code::ActionNotGranted,
        "no_entry_names_the_action",
        ("one_of_several_entries", "the second entry names another action"),
        "An action is granted by name.",
        move |s| {
            let all = json!([entry(&["orders:list"]), entry(&["orders", "orders:*", "*"])]);
            s.pass.set("authorization_details", all);
        },
    )
    .live();
    f.deny(
        Code::ActionNotGranted,
        "no_entries",
        (GRANTED, "there is no `authorization_details`"),
        "A scope alone grants nothing.",
        |s| s.pass.remove("authorization_details"),
    );
    f.allow("entry_with_a_location", "The entry's locations contain the host's audience.", |s| {
        s.pass.entry("locations", json!(["https://else.example", AUDIENCE]));
    });
    f.deny(
        Code::ActionNotGranted,
        "entry_for_another_location",
        ("entry_with_a_location", "the host's audience is not among them"),
        "An entry grants at its locations.",
        |s| s.pass.entry("locations", json!(["https://else.example"])),
    );
    f.deny(
        Code::ActionNotGranted,
        "entries_are_not_combined",
        (GRANTED, "one entry names the action elsewhere, another one the place"),
        "The same entry names action and location.",
        |s| {
            let here = json!({
                "type": "agent_action", "actions": ["orders:list"], "locations": [AUDIENCE]
            });
            let there = json!({
                "type": "agent_action", "actions": ["orders:create"],
                "locations": ["https://else.example"]
            });
            s.pass.set("authorization_details", json!([here, there]));
        },
    );
    f.allow("granted_digest", "`args_digest` is that of the request.", |s| {
        s.pass.entry("args_digest", json!(digest()));
    })
    .live();
    f.deny(
        Code::ConstraintViolated,
        "another_digest",
        ("granted_digest", "the path's parameter is another"),
        "The digest covers every input.",
        |s| s.path = s.path.replacen("c1", "c2", 1),
    )
    .live();
    for (name, changed, value) in [
        ("entry_that_is_no_object", "the entry is a list", json!(["agent_action", []])),
        ("entry_without_a_type", "the entry has no `type`", json!({"actions": ["orders:create"]})),
        ("entry_without_actions", "the entry has no `actions`", json!({"type": "agent_action"})),
    ] {
        f.deny(
            Code::Malformed,
            name,
            (GRANTED, changed),
            "An entry has `type` and `actions`.",
            move |s| s.pass.set("authorization_details", json!([value])),
        );
    }
}

fn restrictions(f: &mut Family) {
    let why = "A restriction that this gate cannot check is never passed over.";
    for (claim, value) in [
        ("cnf", json!({"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"})),
        ("req_wl", json!("spiffe://prod/agent")),
        ("uses", json!(1)),
    ] {
        f.deny(
            Code::UnsupportedRestriction,
            format!("claim_{claim}"),
            (GRANTED, &format!("there is a claim `{claim}`")),
            why,
            move |s| s.pass.set(claim, value.clone()),
        );
    }
    f.live();
    f.deny(
        Code::UnsupportedRestriction,
        "claim_cnf_null",
        (GRANTED, "there is a claim `cnf`, which is null"),
        why,
        |s| s.pass.set("cnf", Value::Null),
    );
    for (member, value) in
        [("uses", json!(2)), ("identifier", json!("order-1")), ("weekdays", json!([1, 2]))]
    {
        f.deny(
            Code::UnsupportedRestriction,
            format!("entry_member_{member}"),
            (GRANTED, &format!("the entry has a member `{member}`")),
            why,
            move |s| s.pass.entry(member, value.clone()),
        );
    }
    f.deny(
        Code::UnsupportedRestriction,
        "entry_of_another_type",
        (GRANTED, "an entry of another type follows"),
        why,
        |s| {
            let other = json!({"type": "payment", "actions": []});
            s.pass.claims["authorization_details"].as_array_mut().unwrap().push(other);
        },
    );
}

fn binding_and_assurance(f: &mut Family) {
    f.deny(
        Code::BindingMismatch,
        "presented_as_dpop",
        (GRANTED, "the scheme is `DPoP`"),
        "Only a gatepass that is bound to a key is presented so.",
        |s| s.authorization = Authorization::Scheme("DPoP"),
    )
    .live();
    for (name, binding) in [
        ("key", Binding::Key),
        ("certificate", Binding::Certificate),
        ("workload", Binding::Workload),
    ] {
        f.deny(
            Code::BindingMismatch,
            format!("action_that_demands_a_{name}"),
            (GRANTED, &format!("the action demands a binding to a {name}")),
            "The gatepass is bound to nothing.",
            move |s| s.action().binding = binding,
        );
    }
    let words = [
        ("federated", Assurance::Federated, "static"),
        ("attested", Assurance::Attested, "federated"),
    ];
    for (demanded, assurance, below) in words {
        let twin = format!("{demanded}_as_demanded");
        f.allow(&twin, "The assurance is the one demanded.", move |s| {
            s.action().assurance = assurance;
            s.pass.set("assurance", json!(demanded));
        });
        f.deny(
            Code::InsufficientAssurance,
            format!("{below}_where_{demanded}_is_demanded"),
            (&twin, &format!("`assurance` is `{below}`")),
            "The assurance is below the action's demand.",
            move |s| s.pass.set("assurance", json!(below)),
        )
        .live();
    }
    f.allow("static_at_low_risk", "A static secret is for low risk.", |s| {
        s.pass.set("assurance", json!("static"));
    });
    f.deny(
        Code::InsufficientAssurance,
        "static_at_medium_risk",
        ("static_at_low_risk", "the action's risk is medium"),
        "A static secret is for low risk.",
        |s| s.action().risk = Risk::Medium,
    );
}

fn approvals(f: &mut Family) {
    f.allow("approved", "A person approved the action of this digest.", |s| {
        s.action().approval = true;
        s.pass.set("approval", s.approval());
    })
    .live();
    f.deny(
        Code::ApprovalRequired,
        "not_approved",
        ("approved", "there is no `approval`"),
        "The action demands an approval.",
        |s| s.pass.remove("approval"),
    )
    .live();
    for (name, changed, from, to) in [
        ("another_customer", "the path's parameter is another", "c1", "c2"),
        ("another_amount", "the amount is another", "100.00", "100.01"),
        ("another_currency", "the currency is another", "EUR", "USD"),
    ] {
        f.deny(
            Code::ApprovalMismatch,
            format!("approved_for_{name}"),
            ("approved", changed),
            "What was approved is not what is asked.",
            move |s| s.path = s.path.replacen(from, to, 1),
        );
    }
    f.deny(
        Code::ApprovalMismatch,
        "approved_with_another_tag",
        ("approved", "the header's input is another"),
        "What was approved is not what is asked.",
        |s| {
            s.headers.clear();
            s.header("x-tag", "red");
        },
    )
    .live();
    f.allow("approval_spelled_otherwise", "The digest is over values, not over spellings.", |s| {
        s.action().approval = true;
        s.pass.set("approval", s.approval());
        s.path = "/orders/c1?express=true&weight=1.5000&count=5&currency=EUR&amount=100".into();
    });
    f.deny(
        Code::ApprovalMismatch,
        "approval_where_none_is_demanded",
        (GRANTED, "there is an `approval` of another digest"),
        "An approval restricts wherever it is.",
        |s| s.pass.set("approval", s.approval_of(&b64([0; 32]))),
    );
    f.deny(
        Code::UnsupportedRestriction,
        "approval_with_another_member",
        ("approved", "`approval` has a member `until`"),
        "A restriction that this gate cannot check is never passed over.",
        |s| s.pass.claims["approval"]["until"] = json!(s.now + 60),
    );
    f.deny(
        Code::UnsupportedRestriction,
        "approval_of_an_unread_body",
        ("body_that_is_not_read", "there is an `approval`"),
        "What is not read was not approved.",
        |s| s.pass.set("approval", s.approval()),
    );
    f.deny(
        Code::Malformed,
        "approval_without_a_method",
        ("approved", "`amr` is empty"),
        "An approval says how the person proved themselves.",
        |s| s.pass.claims["approval"]["amr"] = json!([]),
    );
}
