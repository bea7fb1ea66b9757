//! `expect`: what must come out.

use gatepass_engine::denial::Code;

use super::Expected;
use super::rules::{self, ExpectedRules};
use crate::reader::{Fields, Reader};
use crate::tree::Node;

pub(super) fn read(reader: &mut Reader, of: &Fields<'_>) -> Option<(Expected, ExpectedRules)> {
    let remedy = "write `expect: allow`, or `expect: {decision: deny, code: no_route}`";
    let tree = reader.needed(of, "expect", "a test", remedy)?;
    if let Node::Text(_) = &tree.value {
        return Some((reader.choice(tree, &DECISIONS)?, ExpectedRules::default()));
    }
    let fields = reader.fields(tree, "`expect`", &EXPECT_FIELDS)?;
    let rules = rules::read(reader, &fields);
    let decision = reader.needed(&fields, "decision", "`expect`", remedy)?;
    let decision = reader.choice(decision, &DECISIONS)?;
    let Some(tree) = fields.find("code") else { return Some((decision, rules)) };
    let code = match &tree.value {
        Node::Text(text) => Code::ALL.iter().find(|code| code.as_str() == text).copied(),
        _ => None,
    };
    match (decision, code) {
        (Expected::Allow, _) => {
            reader.tell(tree.referenced, "what is allowed has no code", "leave it out");
            None
        }
        (_, None) => {
            reader.expected(tree, "the code of a denial, such as `insufficient_scope`");
            None
        }
        (Expected::Deny(_), code) => Some((Expected::Deny(code), rules)),
        (Expected::Shadow(_), code) => Some((Expected::Shadow(code), rules)),
    }
}

const EXPECT_FIELDS: [&str; 4] = ["decision", "code", "rules", "shadow_rules"];
const DECISIONS: [(&str, Expected); 3] = [
    ("allow", Expected::Allow),
    ("deny", Expected::Deny(None)),
    ("shadow", Expected::Shadow(None)),
];
