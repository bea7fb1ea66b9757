//! Cedar's strict validation of each rule.
//!
//! Cedar looks at a rule once for every action of the schema, so a rule that names the action that it is for is held
//! against a schema of that one: of 10,000 rules over 1,250 actions this is most of the work.

use std::collections::HashMap;
use std::sync::Arc;

use cedar_policy_core::ast::{ActionConstraint, EntityUID, ExprKind, Literal, PolicySet, Template};
use cedar_policy_core::extensions::Extensions;
use cedar_policy_core::validator::{ValidationMode, Validator, ValidatorSchema};

use super::{Note, Schema, Written, nowhere, told};

/// Tells of each rule what is wrong with it, and what Cedar warns of.
pub(super) fn validate(written: &[Written<'_>], schema: &Schema, notes: &mut Vec<Note>) {
    let whole = match validator(&schema.text) {
        Ok(whole) => whole,
        Err(error) => {
            let message = format!("the actions make no schema: {error}");
            notes.push(Note { message, ..nowhere("gatepass.yaml") });
            return;
        }
    };
    let mut narrow: HashMap<&str, Option<Validator>> = HashMap::new();
    // One by one: what is found does not say of which rule it is.
    for one in written {
        let Ok(policy) = Template::try_as_policy(Arc::new(one.template.clone())) else {
            continue;
        };
        let of_action = only_action(&one.template).and_then(|action| {
            let made = narrow.entry(action);
            made.or_insert_with(|| validator(&schema.of_action(action)?).ok()).as_ref()
        });
        let validator = of_action.unwrap_or(&whole);
        let found = validator.validate(&PolicySet::singleton(policy), ValidationMode::Strict);
        for error in found.validation_errors() {
            notes.push(told(one.file, one.text, error, true));
        }
        for warning in found.validation_warnings() {
            notes.push(told(one.file, one.text, warning, false));
        }
    }
    notes.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
    notes.dedup();
}

fn validator(schema: &str) -> Result<Validator, String> {
    let made = ValidatorSchema::from_cedarschema_str(schema, Extensions::all_available());
    made.map(|(made, _)| Validator::new(made)).map_err(|error| error.to_string())
}

/// The one action that a rule is for and that it speaks of, so that no other of the schema is anything to it.
fn only_action(template: &Template) -> Option<&str> {
    let ActionConstraint::Eq(action) = template.action_constraint() else { return None };
    let is_other =
        |euid: &EntityUID| euid.entity_type() == action.entity_type() && euid.eid() != action.eid();
    let speaks = |conditions: &cedar_policy_core::ast::Expr| {
        conditions.subexpressions().any(|part| match part.expr_kind() {
            ExprKind::Lit(Literal::EntityUID(euid)) => is_other(euid),
            _ => false,
        })
    };
    if template.non_scope_constraints().is_some_and(speaks) {
        return None;
    }
    Some(action.eid().as_ref())
}
