//! The rules that a test names: those that must have had a part in its decision.

use std::collections::BTreeMap;

use super::Case;
use crate::problem::{Problem, in_order};
use crate::reader::{Fields, Reader};
use crate::sources::SourceFile;
use crate::{Compiled, rules_of};

/// Which rules must have had a part; `None`: any. Compared as sets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExpectedRules {
    /// That the decision rests on.
    pub rules: Option<Vec<RuleName>>,
    /// In shadow mode.
    pub shadow_rules: Option<Vec<RuleName>>,
}

/// The id of a rule, and where a test names it. Lines and columns count from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleName {
    pub id: String,
    pub line: u64,
    pub column: u64,
}

pub(super) fn read(reader: &mut Reader, of: &Fields<'_>) -> ExpectedRules {
    let mut names = |field: &str| {
        let tree = of.find(field)?;
        let mut names = Vec::new();
        for item in reader.list(tree, "ids of rules") {
            if let Some(id) = reader.text(item, "the id of a rule") {
                let (line, column) = (item.referenced.line(), item.referenced.column());
                names.push(RuleName { id: id.to_owned(), line, column });
            }
        }
        Some(names)
    };
    ExpectedRules { rules: names("rules"), shadow_rules: names("shadow_rules") }
}

/// Holds the rules that tests name against those that the policy has.
///
/// # Errors
/// Each name that is no rule's, or that of one of the other mode; at most [`crate::MAX_PROBLEMS`].
pub fn check_rules(
    cases: &[Case],
    files: &[SourceFile],
    compiled: &Compiled,
) -> Result<(), Vec<Problem>> {
    let rules = rules_of(&compiled.bundle);
    let known: BTreeMap<&str, bool> =
        rules.iter().map(|rule| (rule.id.as_str(), rule.shadow)).collect();
    let mut problems = Vec::new();
    for case in cases {
        let ExpectedRules { rules, shadow_rules } = &case.expected_rules;
        for (named, shadow) in [(rules, false), (shadow_rules, true)] {
            for RuleName { id, line, column } in named.iter().flatten() {
                let (message, remedy) = match known.get(id.as_str()) {
                    Some(mode) if *mode == shadow => continue,
                    Some(true) => (format!("rule `{id}` is in shadow mode"), IN_SHADOW),
                    Some(false) => (format!("rule `{id}` is enforced"), ENFORCED),
                    None => (format!("the policy has no rule `{id}`"), UNKNOWN),
                };
                problems.push(Problem::error(&case.file, (*line, *column), message, remedy));
            }
        }
    }
    if problems.is_empty() {
        return Ok(());
    }
    in_order(&mut problems, files);
    Err(problems)
}

const UNKNOWN: &str = "write its `@id`, or where it stands: `spend.cedar:12`";
const IN_SHADOW: &str = "name it in `shadow_rules`";
const ENFORCED: &str = "name it in `rules`";
