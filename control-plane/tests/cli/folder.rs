//! A policy that is a folder, on the command line.

use std::fs;
use std::path::{Path, PathBuf};

use crate::desk::Desk;

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/policies/orders");

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A copy of the example with one text of one file exchanged.
fn changed(desk: &Desk, file: &str, from: &str, to: &str) -> PathBuf {
    let folder = desk.file("marker", b"").with_file_name("policy");
    copy(Path::new(EXAMPLE), &folder);
    let path = folder.join(file);
    let whole = fs::read_to_string(&path).unwrap();
    assert!(whole.contains(from), "{from}");
    fs::write(&path, whole.replacen(from, to, 1)).unwrap();
    folder
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[test]
fn a_folder_is_checked_and_published() {
    let desk = Desk::new();
    let told = desk.run(&["policy", "check", EXAMPLE, "--strict"]);
    assert_eq!(told.0, Some(0), "{}", told.2);
    assert!(told.1.contains("docs/policies/orders: 4 actions, 2 hosts\n"), "{}", told.1);
    assert!(told.1.contains("public: GET /healthz on orders.example\n"), "{}", told.1);
    assert!(desk.ok(&["publish", EXAMPLE]).contains("published at "));
    let (_, text) = desk.explain("x", &["--path", "/healthz"]);
    assert!(text.contains("allowed: the route is public"), "{text}");
}

#[test]
fn the_problems_of_a_folder_are_told_with_the_paths_of_its_files() {
    let desk = Desk::new();
    let folder = changed(&desk, "actions/orders.yaml", "risk: medium", "risk: grave");
    let check = ["policy", "check", text(&folder)];
    let publish = ["policy", "publish", text(&folder), "--reason", "x"];
    for command in [check.as_slice(), &publish] {
        let (code, _, told) = desk.run(command);
        assert_eq!(code, Some(1), "{told}");
        let place = folder.join("actions/orders.yaml:14:11");
        assert!(told.starts_with(&format!("{}: error: expected `low`", place.display())), "{told}");
        assert!(told.contains("\n   14 |     risk: grave\n      |           ^\n"), "{told}");
        assert!(told.ends_with(&format!("error: 1 problem in `{}`\n", folder.display())), "{told}");
    }
}

#[test]
fn a_warning_is_an_error_where_that_is_asked_for() {
    let desk = Desk::new();
    let folder = changed(&desk, "actions/orders.yaml", "    approval: true ", "    # ");
    let check = |more: &[&str]| desk.run(&[&["policy", "check", text(&folder)], more].concat());
    let (code, _, told) = check(&[]);
    assert_eq!(code, Some(0), "{told}");
    assert!(
        told.contains("actions/orders.yaml:27:11: warning: action `orders:cancel` has risk `high`"),
        "{told}"
    );
    let (code, _, told) = check(&["--strict"]);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("actions/orders.yaml:27:11: error: action `orders:cancel`"), "{told}");
    assert!(told.contains("error: 1 problem in"), "{told}");
    // One of its tests is of that approval.
    fs::remove_dir_all(folder.join("tests")).unwrap();
    assert!(desk.ok(&["publish", text(&folder)]).contains("published"));
}

#[test]
fn a_policy_of_another_environment_is_not_published() {
    let desk = Desk::new();
    let folder = changed(&desk, "gatepass.yaml", "environment: prod", "environment: staging");
    let told = desk.fails(&["publish", text(&folder)]);
    assert!(told.contains("the policy is for environment `staging`, and this is `prod`"), "{told}");
    let (_, told) = desk.explain("x", &["--path", "/healthz"]);
    assert!(!told.contains("allowed"), "{told}");
    let any = changed(&desk, "gatepass.yaml", "environment: prod\n", "");
    assert!(desk.ok(&["publish", text(&any)]).contains("published"));
}

#[test]
fn the_tests_of_a_folder_are_run() {
    let desk = Desk::new();
    let junit = desk.file("junit.xml", b"");
    let (code, told, errors) = desk.run(&["policy", "test", EXAMPLE, "--junit", text(&junit)]);
    assert_eq!((code, errors.as_str()), (Some(0), ""), "{told}");
    assert_eq!(
        told,
        "19 tests: 19 passed, 0 failed\nactions: 4 of 4 tested\nroutes: 7 of 7 tested\n"
    );
    let xml = fs::read_to_string(&junit).unwrap();
    assert_eq!(xml.matches("<testcase ").count(), 19);
    assert!(xml.contains("<testsuites tests=\"19\" failures=\"0\""), "{xml}");
}

#[test]
fn a_test_that_fails_says_why_and_nothing_is_published() {
    let desk = Desk::new();
    let folder = changed(&desk, "actions/orders.yaml", "    scopes: {all: [orders.write]}\n", "");
    let junit = desk.file("junit.xml", b"");
    let (code, told, _) = desk.run(&["policy", "test", text(&folder), "--junit", text(&junit)]);
    assert_eq!(code, Some(1), "{told}");
    let place = folder.join("tests/orders.yaml:51");
    let expected = format!(
        "{}: FAILED: a gatepass without the scope does not order
    expected  deny, `insufficient_scope`
    came      allow, as `orders:create`
19 tests: 18 passed, 1 failed
",
        place.display()
    );
    assert!(told.starts_with(&expected), "{told}");
    assert!(fs::read_to_string(&junit).unwrap().contains("failures=\"1\""));
    let told = desk.fails(&["publish", text(&folder)]);
    assert_eq!(told, expected);
    let (code, _, told) = desk.run(&["policy", "publish", text(&folder), "--reason", "x"]);
    assert_eq!((code, told), (Some(1), expected));
    let (_, told) = desk.explain("x", &["--path", "/healthz"]);
    assert!(!told.contains("allowed"), "{told}");
}

#[test]
fn a_test_that_is_denied_names_the_check() {
    let desk = Desk::new();
    let folder = changed(&desk, "actions/orders.yaml", "body: json", "body: json\n    max_age: 1s");
    let folder_told = desk.run(&["policy", "test", text(&folder)]);
    assert_eq!(folder_told.0, Some(0), "a gatepass that was just issued is young enough");
    let folder = changed(&desk, "tests/orders.yaml", "issued: 50m", "issued: 61m");
    let (code, told, _) = desk.run(&["policy", "test", text(&folder)]);
    assert_eq!(code, Some(1));
    assert!(told.contains("    came      deny, `expired` (401): "), "{told}");
    assert!(told.contains("    denied by issuer, environment, audience and time fit\n"), "{told}");
}

#[test]
fn what_is_not_tested_is_named() {
    let desk = Desk::new();
    let folder = changed(
        &desk,
        "tests/orders.yaml",
        "tests:\n",
        "tests:\n  - {name: x, request: {host: a, path: /}, gatepass: none, expect: deny}\nrest:\n",
    );
    let (code, _, told) = desk.run(&["policy", "test", text(&folder)]);
    assert_eq!(code, Some(1));
    let place = folder.join("tests/orders.yaml:4:1: error: unknown field `rest`");
    assert!(told.contains(&place.display().to_string()), "{told}");
    let path = folder.join("tests/orders.yaml");
    let whole = fs::read_to_string(&path).unwrap();
    fs::write(&path, whole.split("rest:").next().unwrap()).unwrap();
    let (code, told, _) = desk.run(&["policy", "test", text(&folder)]);
    assert_eq!(code, Some(0), "{told}");
    assert!(
        told.contains(
            "1 test: 1 passed, 0 failed\nactions: 0 of 4 tested\n    not tested: bills:read\n"
        ),
        "{told}"
    );
    assert!(told.contains("    not tested: GET,HEAD /orders/{id} on orders.example\n"), "{told}");
    // A folder without tests may be published, and not tested.
    fs::remove_dir_all(folder.join("tests")).unwrap();
    let (code, _, told) = desk.run(&["policy", "test", text(&folder)]);
    assert_eq!(code, Some(1));
    assert!(told.contains("has no tests: write `tests/*.yaml`"), "{told}");
    assert!(desk.ok(&["publish", text(&folder)]).contains("published"));
}

const RULES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/policies/purchasing");

#[test]
fn rules_are_laid_out_as_cedar_has_it_and_a_check_changes_nothing() {
    let desk = Desk::new();
    let folder = desk.file("marker", b"").with_file_name("rules");
    copy(Path::new(RULES), &folder);
    let fmt = |more: &[&str]| desk.run(&[&["policy", "fmt", text(&folder)], more].concat());
    assert_eq!(fmt(&["--check"]).0, Some(0));
    let file = folder.join("rules/permits.cedar");
    let (whole, wild) = {
        let whole = fs::read_to_string(&file).unwrap();
        (whole.clone(), whole.replace("permit (\n  principal", "permit (principal"))
    };
    fs::write(&file, &wild).unwrap();
    let (code, told, _) = fmt(&["--check"]);
    assert_eq!(code, Some(1));
    assert_eq!(told, format!("{}\n", file.display()));
    assert_eq!(fs::read_to_string(&file).unwrap(), wild);
    assert_eq!(fmt(&[]).0, Some(0));
    assert_eq!(fs::read_to_string(&file).unwrap(), whole);
    // One file that cannot be read, and no other is touched.
    fs::write(&file, &wild).unwrap();
    fs::write(folder.join("rules/limits.cedar"), "permit (").unwrap();
    let (code, _, told) = fmt(&[]);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("limits.cedar:1:1: error: "), "{told}");
    assert_eq!(fs::read_to_string(&file).unwrap(), wild);
}

#[test]
fn the_schema_is_there_before_the_rules_are_right() {
    let desk = Desk::new();
    let folder = desk.file("marker", b"").with_file_name("schema");
    copy(Path::new(RULES), &folder);
    fs::write(folder.join("rules/limits.cedar"), "permit (").unwrap();
    let (code, told, _) = desk.run(&["policy", "schema", text(&folder)]);
    assert_eq!(code, Some(0));
    assert!(told.contains("\"amount\"?: Gatepass::Money"), "{told}");
    fs::write(folder.join("gatepass.yaml"), "hosts: 1\n").unwrap();
    assert_eq!(desk.run(&["policy", "schema", text(&folder)]).0, Some(1));
}

#[test]
fn the_folder_of_rules_passes_its_tests_and_fails_without_a_limit() {
    let desk = Desk::new();
    let folder = desk.file("marker", b"").with_file_name("limits");
    copy(Path::new(RULES), &folder);
    let test = || desk.run(&["policy", "test", text(&folder)]);
    assert_eq!(test().0, Some(0));
    let limits = folder.join("rules/limits.cedar");
    let rules = fs::read_to_string(&limits).unwrap();
    fs::write(&limits, rules.replace("decimal(\"50000.0\")", "decimal(\"60000.0\")")).unwrap();
    let (code, told, _) = test();
    assert_eq!(code, Some(1));
    assert!(told.contains("above 50000 EUR nobody can agree"), "{told}");
}

#[test]
fn the_rules_of_a_decision_are_explained() {
    let desk = Desk::new();
    let folder = desk.file("marker", b"").with_file_name("policy");
    fs::create_dir_all(&folder).unwrap();
    fs::write(
        folder.join("gatepass.yaml"),
        "\
environment: prod
actions:
  orders:create: {risk: low}
hosts:
  - names: [orders.example]
    audience: https://orders.example
    routes:
      - match: POST /orders
        action: orders:create
        inputs:
          n: {type: integer, query: n}
",
    )
    .unwrap();
    fs::write(
        folder.join("a.cedar"),
        "\
@id(\"all\")
permit (principal, action, resource);
@id(\"many\")
forbid (principal, action, resource) when { context.inputs has n && context.inputs.n > 9 };
@id(\"few\")
@mode(\"shadow\")
forbid (principal, action, resource) when { context.inputs has n && context.inputs.n > 4 };
",
    )
    .unwrap();
    desk.ok(&["publish", text(&folder)]);
    let token = desk.gatepass(&[]);
    let explain =
        |n: &str| desk.explain(&token, &["--method", "POST", "--path", &format!("/orders?n={n}")]);
    let passed = "  ok      the policy's rules permit it\n            by: permit `all`\n";
    let (code, told) = explain("4");
    assert!(code == 0 && told.contains(passed) && !told.contains("in shadow mode"), "{told}");
    let (code, told) = explain("9");
    let shadow = "            in shadow mode: forbid `few`\n";
    assert!(code == 0 && told.contains(&format!("{passed}{shadow}")), "{told}");
    let (code, told) = explain("10");
    let failed = "  FAILED  the policy's rules permit it: policy_denied: forbidden by `many`
            by: forbid `many`\n";
    assert!(code == 2 && told.contains(&format!("{failed}{shadow}")), "{told}");
}

#[test]
fn each_test_is_told_with_the_rules_that_decided_where_that_is_asked_for() {
    const PURCHASING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/policies/purchasing");
    let desk = Desk::new();
    let told = desk.run(&["policy", "test", PURCHASING, "--verbose"]);
    assert_eq!(told.0, Some(0), "{}", told.2);
    for line in [
        ": a buyer orders within the limits\n    allow by buyers-order\n",
        ": and one more\n    deny, `policy_denied` by day\n",
        ": a gatepass that bounds no amount has no part in the day\n    deny, `budget_missing`\n",
    ] {
        assert!(told.1.contains(line), "{line}\n{}", told.1);
    }
    let brief = desk.run(&["policy", "test", PURCHASING]);
    assert!(!brief.1.contains("buyers-order") && brief.1.contains("18 passed"), "{}", brief.1);
}
