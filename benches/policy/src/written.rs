//! A folder of so many rules: eight for each action, and some for all.

use gatepass_engine::bundle::Bundle;

/// Rules with their actions.
pub(crate) struct Written {
    pub(crate) bundle: Bundle,
    pub(crate) text: String,
}

impl Written {
    pub(crate) fn new(policies: usize) -> Self {
        let unscoped = (policies / 5).min(20);
        let actions = (policies - unscoped) / 8;
        let mut policy = String::from("actions:\n");
        for action in 0..actions {
            policy.push_str(&format!("  orders:a{action}: {{risk: low}}\n"));
        }
        policy.push_str("hosts:\n  - names: [orders.example]\n    audience: https://orders.example\n    routes:\n");
        for action in 0..actions {
            policy.push_str(&format!(
                "      - match: POST /a{action}\n        action: orders:a{action}\n        inputs:\n          \
                 amount: {{type: money, query: amount, currency: {{query: currency}}}}\n          \
                 count: {{type: integer, query: count}}\n          note: {{type: text, query: note}}\n"
            ));
        }
        let bundle = gatepass_policy::compile(&policy).unwrap().bundle;
        let mut text = String::new();
        for nth in 0..unscoped {
            let condition = match nth % 4 {
                0 => format!(
                    "context.environment == \"env-{nth}\" && (context.gatepass.assurance == \"static\" || context.request.path like \"/internal*\")"
                ),
                1 => format!(
                    "principal.owner == Gatepass::Person::\"user:corp/left-{nth}\" && !(context.gatepass.scopes.contains(\"keep\") || context.request.method == \"GET\")"
                ),
                2 => format!(
                    "context.request.time < datetime(\"20{:02}-01-01\") && (context.gatepass.assurance == \"static\" || !(context has approval))",
                    nth + 1
                ),
                _ => format!(
                    "principal in Gatepass::Blueprint::\"closed-{nth}\" && (context.request.path like \"*/admin*\" || !(context has approval))"
                ),
            };
            text.push_str(&format!(
                "forbid (principal, action, resource) when {{ {condition} }};\n"
            ));
        }
        for nth in 0..policies - unscoped {
            let action = nth / 8 % actions.max(1);
            let head = |effect: &str| {
                format!(
                    "{effect} (principal, action == Action::\"orders:a{action}\", resource) when {{"
                )
            };
            let rule = match nth % 8 {
                0 => format!(
                    "{} context.inputs has amount && (context.inputs.amount.amount.greaterThan(decimal(\"{}.0\")) && !(context.gatepass.scopes.contains(\"large\")))",
                    head("forbid"),
                    5_000 + action
                ),
                1 => format!(
                    "{} context.inputs has count && (context.inputs.count * 2 > {} && !(context has approval))",
                    head("forbid"),
                    100 + action
                ),
                2 => format!(
                    "{} context.inputs has note && (context.inputs.note like \"*secret*\" || context.inputs.note like \"x-{action}-*\")",
                    head("forbid")
                ),
                3 => format!(
                    "{} context.environment == \"dev\" && (context.inputs has count && context.inputs.count < {})",
                    head("permit"),
                    action + 3
                ),
                4 => format!(
                    "{} principal in Gatepass::Blueprint::\"reader\" && (context.inputs has amount && context.inputs.amount.currency == \"USD\")",
                    head("permit")
                ),
                5 => format!(
                    "{} [\"attested\", \"federated\"].contains(context.gatepass.assurance) && (context.inputs has count && context.inputs.count > {})",
                    head("permit"),
                    20 + action
                ),
                6 => format!(
                    "{} principal in Gatepass::Blueprint::\"buyer\" && (context.gatepass.scopes.containsAny([\"orders.write\", \"orders.all\"]) && !(context.inputs has note))",
                    head("permit")
                ),
                _ => format!(
                    "{} context.request.time.toTime() < duration(\"12h\") && (principal.owner == Gatepass::Person::\"user:corp/ada\" || context.gatepass.subject == \"user:corp/bob\")",
                    head("permit")
                ),
            };
            text.push_str(&format!("{rule} }};\n"));
        }
        Self { bundle, text }
    }
}
