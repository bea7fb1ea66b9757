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
