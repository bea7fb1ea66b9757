//! The policies in the docs compile as they stand there. The requests in `docs/policy.md` are made by
//! `tests/tests/requests/guide.rs`.

use super::*;

#[test]
fn every_policy_of_the_guides_compiles() {
    for (guide, count) in [
        (include_str!("../../../../docs/policy.md"), 2),
        (include_str!("../../../../docs/mcp.md"), 1),
    ] {
        let parts = guide.split("```yaml\n").skip(1);
        let policies: Vec<&str> = parts.map(|part| part.split_once("```").unwrap().0).collect();
        assert_eq!((policies.len(), guide.matches("```yaml").count()), (count, count));
        for policy in policies {
            assert_eq!(problems(policy), [] as [&str; 0], "{policy}");
        }
    }
}

#[test]
fn the_worked_example_compiles_without_a_warning() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/policies/orders");
    let sources = Sources::read(std::path::Path::new(path)).unwrap();
    let compiled = compile_sources(&sources).unwrap_or_else(|found| panic!("{}", report(&found)));
    assert_eq!(report(&compiled.warnings), "");
    assert_eq!(compile(&sources.to_text()).unwrap(), compiled);
}

fn purchasing() -> Sources {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/policies/purchasing");
    Sources::read(std::path::Path::new(path)).unwrap()
}

#[test]
fn the_folder_of_rules_compiles_without_a_warning() {
    let compiled = compile_sources(&purchasing());
    let compiled = compiled.unwrap_or_else(|found| panic!("{}", report(&found)));
    assert_eq!(report(&compiled.warnings), "");
    assert!(!compiled.bundle.policy.is_empty());
    for file in purchasing().files().iter().filter(|file| file.name.ends_with(".cedar")) {
        assert_eq!(cedar::formatted(&file.name, &file.text).unwrap(), file.text, "{}", file.name);
    }
}

/// Each by itself, for the actions of that folder.
#[test]
fn every_rule_of_the_guide_compiles() {
    let bundle = compile_sources(&purchasing()).unwrap().bundle;
    let guide = include_str!("../../../../docs/rules.md");
    let rules: Vec<&str> =
        guide.split("```cedar\n").skip(1).map(|part| part.split_once("```").unwrap().0).collect();
    assert_eq!((rules.len(), guide.matches("```cedar").count()), (9, 9));
    let (_, budgets) = guide.split_once("```yaml\n").unwrap();
    let (budgets, rest) = budgets.split_once("```").unwrap();
    assert!(!rest.contains("```yaml"), "one example of YAML");
    let whole = purchasing().files().iter().find(|file| file.name == "gatepass.yaml").cloned();
    assert!(whole.unwrap().text.ends_with(budgets), "{budgets}");
    for rule in rules {
        let compiled = cedar::compile(&[("guide.cedar", rule)], &bundle);
        let (_, notes) = compiled.unwrap_or_else(|notes| panic!("{rule}\n{notes:?}"));
        // Of the other actions it is said that nothing permits them here.
        let others = |note: &cedar::Note| !note.message.starts_with("no rule permits");
        assert!(!notes.iter().any(others), "{rule}\n{notes:?}");
    }
}
