//! The policies in `docs/policy.md` compile as they stand there. Its requests are made by
//! `tests/tests/requests/guide.rs`.

use super::*;

#[test]
fn every_policy_of_the_guide_compiles() {
    let guide = include_str!("../../../../docs/policy.md");
    let mut seen = 0;
    for part in guide.split("```yaml\n").skip(1) {
        let (policy, _) = part.split_once("```").unwrap();
        assert_eq!(problems(policy), [] as [&str; 0], "{policy}");
        seen += 1;
    }
    assert_eq!(seen, guide.matches("```yaml").count());
    assert_eq!(seen, 2);
}
