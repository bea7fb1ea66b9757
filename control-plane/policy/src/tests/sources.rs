//! The files of a policy as one text, and as they lie in a folder.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::*;

const WHOLE: &str = "hosts: []\n";

fn file(name: &str, text: &str) -> SourceFile {
    SourceFile { name: name.to_owned(), text: text.to_owned() }
}

fn told<T>(result: Result<T, Vec<Problem>>) -> Vec<String> {
    let problems = result.err().unwrap_or_default();
    problems.iter().map(|problem| format!("{}:{problem}", problem.file)).collect()
}

fn names(sources: &Sources) -> Vec<&str> {
    sources.files().iter().map(|file| file.name.as_str()).collect()
}

fn written(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    dir
}

#[test]
fn what_is_written_as_one_text_is_read_from_it() {
    let folder = Sources::folder(vec![
        file("gatepass.yaml", "hosts: []"),
        file("actions/b.yaml", ""),
        file("actions/a.yaml", "a\r\n\n--\n -- b --\n-- c\nd --"),
        file("x/y.cedar", "// -- c --\n"),
    ])
    .unwrap();
    assert_eq!(
        folder.to_text(),
        "-- actions/a.yaml --\na\r\n\n--\n -- b --\n-- c\nd --\n-- actions/b.yaml --\n-- gatepass.yaml --\nhosts: []\n-- x/y.cedar --\n// -- c --\n"
    );
    assert_eq!(Sources::parse(&folder.to_text()).unwrap(), folder);
    for yaml in ["", "hosts: []", "---\nhosts: []\n", "a\n-- b --\n", "--\n", "-- a\n"] {
        let single = Sources::parse(yaml).unwrap();
        assert_eq!(single, Sources::single(yaml));
        assert_eq!((single.to_text().as_str(), names(&single)), (yaml, vec!["policy.yaml"]));
    }
}

#[test]
fn a_line_that_would_begin_a_file_is_refused() {
    for line in ["-- a.yaml --", "-- a b --  ", "-- .. --\t", "--  --", "-- a --\r"] {
        let files = vec![file("gatepass.yaml", &format!("hosts: []\n{line}\nx"))];
        let found = told(Sources::folder(files));
        assert_eq!(found.len(), 1, "{line}: {found:?}");
        assert!(
            found[0].starts_with("gatepass.yaml:2:1: this line is how an archive"),
            "{found:?}"
        );
    }
    for line in ["-- a.yaml", "--a --", " -- a --", "-- --", "--- a ---", "-- a -- b"] {
        let files = vec![file("gatepass.yaml", &format!("hosts: []\n{line}\nx"))];
        assert_eq!(told(Sources::folder(files)), [] as [&str; 0], "{line}");
    }
}

#[test]
fn names_that_are_no_part_of_a_policy_are_refused() {
    let of = |name: &str| {
        told(Sources::parse(&format!("-- gatepass.yaml --\nhosts: []\n-- {name} --\n")))
    };
    for name in ["actions/a.yaml", "a.cedar", "a/b/c.cedar", "actions/a.cedar", "A-Z_0.cedar"] {
        assert_eq!(of(name), [] as [&str; 0], "{name}");
    }
    for name in [
        "policy.yaml",
        "actions/a/b.yaml",
        "actions/a.yml",
        "tests/a.yaml",
        "tests/a.cedar",
        "README.md",
        "actions.yaml",
    ] {
        let found = of(name);
        assert_eq!(found.len(), 1, "{name}");
        assert!(found[0].starts_with(&format!("{name}:1:1: this file is no part")), "{found:?}");
    }
    for name in [
        "../a.cedar",
        "/a.cedar",
        "a//b.cedar",
        "a/./b.cedar",
        ".a.cedar",
        "a/.b.cedar",
        "a b.cedar",
        "é.cedar",
        "",
        "a\\b.cedar",
        "a\u{1b}.cedar",
        &format!("{}.cedar", "a".repeat(200)),
    ] {
        let found = of(name);
        assert_eq!(found.len(), 1, "{name}");
        assert!(found[0].contains("the name of a file must be"), "{found:?}");
        assert!(!found[0].contains('\u{1b}'));
    }
    assert_eq!(of("gatepass.yaml"), ["gatepass.yaml:1:1: the file is there twice"]);
    assert_eq!(
        told(Sources::parse("-- a.cedar --\n")),
        [
            "gatepass.yaml:1:1: the folder has no `gatepass.yaml`; write it, with the `hosts` that the gate knows"
        ]
    );
}

#[test]
fn number_and_size_are_bounded() {
    let many = |count: usize| {
        let cedar = (1..count).map(|n| file(&format!("{n}.cedar"), ""));
        told(Sources::folder(cedar.chain([file("gatepass.yaml", WHOLE)]).collect()))
    };
    assert_eq!(many(1_000), [] as [&str; 0]);
    assert!(many(1_001)[0].contains("more than 1000 files"));
    let frame = "-- gatepass.yaml --\n".len();
    let large =
        |bytes: usize| told(Sources::folder(vec![file("gatepass.yaml", &"\n".repeat(bytes))]));
    assert_eq!(large(MAX_BYTES - frame), [] as [&str; 0]);
    assert!(large(MAX_BYTES - frame + 1)[0].contains("the policy is over"));
}

#[test]
fn a_folder_is_read_but_for_its_tests_and_what_is_hidden_or_something_else() {
    let dir = written(&[
        ("gatepass.yaml", WHOLE),
        ("actions/orders.yaml", "actions: {}"),
        ("actions/README.md", "x"),
        ("limits/spend.cedar", ""),
        ("tests/b.yaml", "tests: []\n"),
        ("tests/a.yaml", "tests: []\n"),
        ("tests/data/c.yaml", "x"),
        ("tests/no.cedar", "x"),
        (".git/x.yaml", "x"),
        (".hidden.yaml", "x"),
        ("a b.md", "x"),
    ]);
    let sources = Sources::read(dir.path()).unwrap();
    assert_eq!(names(&sources), ["actions/orders.yaml", "gatepass.yaml", "limits/spend.cedar"]);
    assert_eq!(Sources::parse(&sources.to_text()).unwrap(), sources);
    let tests = Sources::read_tests(dir.path()).unwrap();
    let tests: Vec<&str> = tests.iter().map(|test| test.name.as_str()).collect();
    assert_eq!(tests, ["tests/a.yaml", "tests/b.yaml"]);
    fs::remove_dir_all(dir.path().join("tests")).unwrap();
    assert!(Sources::read_tests(dir.path()).unwrap().is_empty());
}

#[test]
fn one_file_is_read_as_a_document_or_an_archive() {
    let dir = written(&[
        ("p.yml", WHOLE),
        ("archive", "-- gatepass.yaml --\nhosts: []\n"),
        ("bad", "-- gatepass.yml --\n"),
    ]);
    let read = |name: &str| Sources::read(&dir.path().join(name));
    assert_eq!(read("p.yml").unwrap(), Sources::single(WHOLE));
    assert_eq!(names(&read("archive").unwrap()), ["gatepass.yaml"]);
    assert_eq!(told(read("bad")).len(), 2);
    assert!(told(read("none"))[0].contains("cannot be read: "));
    assert!(Sources::read_tests(&dir.path().join("p.yml")).unwrap().is_empty());
}

#[test]
fn what_lies_where_it_does_not_belong_is_told_of() {
    for (name, remedy) in [
        ("orders.yaml", true),
        ("actions/deep/orders.yaml", true),
        ("action/orders.yaml", true),
        ("gatepass.yml", true),
        ("a b.yaml", true),
    ] {
        let dir = written(&[("gatepass.yaml", WHOLE), (name, "x")]);
        let found = told(Sources::read(dir.path()));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with(&format!("{name}:1:1: this file is no part of a policy")));
        assert_eq!(found[0].contains("`actions/*.yaml`"), remedy);
    }
    let dir = written(&[("gatepass.yaml", WHOLE), ("a b.cedar", "x")]);
    assert!(told(Sources::read(dir.path()))[0].contains("the name of a file must be"));
    let dir = written(&[("gatepass.yaml", WHOLE)]);
    fs::write(dir.path().join("a.cedar"), [0xff]).unwrap();
    assert_eq!(told(Sources::read(dir.path())), ["a.cedar:1:1: cannot be read: it is not UTF-8"]);
    let deep = "a/b/c/d/e/f/g/h/i/x.cedar";
    let dir = written(&[("gatepass.yaml", WHOLE), (deep, "x")]);
    assert_eq!(
        told(Sources::read(dir.path())),
        ["a/b/c/d/e/f/g/h/i:1:1: folders are more than 8 deep"]
    );
    assert_eq!(told(Sources::read(&dir.path().join("a"))).len(), 1, "no gatepass.yaml");
}

#[test]
fn a_link_is_followed_to_a_file_inside_the_folder_only() {
    let outside = written(&[("secret.yaml", "x"), ("folder/a.cedar", "x")]);
    let linked = |name: &str, to: &Path| {
        let dir = written(&[("gatepass.yaml", WHOLE), (".data/a.yaml", "actions: {}\n")]);
        fs::create_dir(dir.path().join("actions")).unwrap();
        symlink(to, dir.path().join(name)).unwrap();
        Sources::read(dir.path())
    };
    // As Kubernetes mounts a config map.
    let inside = linked("actions/a.yaml", Path::new("../.data/a.yaml")).unwrap();
    assert_eq!(inside.files()[0], file("actions/a.yaml", "actions: {}\n"));
    let out = linked("actions/a.yaml", &outside.path().join("secret.yaml"));
    assert_eq!(
        told(out),
        ["actions/a.yaml:1:1: this link leads out of the folder; put the file there"]
    );
    let folder = linked("more", &outside.path().join("folder"));
    assert_eq!(
        told(folder),
        ["more:1:1: a link to a folder is not followed; put the folder there"]
    );
    assert!(told(linked("a.cedar", Path::new("none")))[0].contains("cannot be read"));
    assert!(told(linked("a.cedar", Path::new("/dev/null")))[0].contains("leads out"));
    assert_eq!(names(&linked("a.md", Path::new("none")).unwrap()), ["gatepass.yaml"]);
}

/// Whatever is read as an archive is written as one that reads the same.
#[test]
fn what_is_read_is_written_and_read_again_the_same() {
    const PARTS: [&str; 12] = [
        "-- gatepass.yaml --",
        "-- actions/a.yaml --",
        "-- b.cedar --",
        "-- x --",
        "--",
        "-- ",
        " --",
        "hosts: []",
        "\n",
        "\n",
        "\r\n",
        "é",
    ];
    let mut seed = 1_u64;
    let mut next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).unwrap()
    };
    let mut archives = 0;
    for _ in 0..20_000 {
        let mut text = String::from("-- gatepass.yaml --\n");
        for _ in 0..next() % 12 {
            text.push_str(PARTS[next() % PARTS.len()]);
        }
        let Ok(sources) = Sources::parse(&text) else { continue };
        archives += usize::from(sources.files().len() > 1);
        let written = sources.to_text();
        assert_eq!(Sources::parse(&written).as_ref(), Ok(&sources), "{text:?}");
        assert_eq!(Sources::parse(&written).unwrap().to_text(), written);
    }
    assert!(archives > 500, "{archives}");
}

#[test]
fn what_is_not_shown_as_it_is_read_is_refused_in_every_file() {
    let whole = "hosts: []\n";
    for (hidden, name) in [
        ("// nothing is permitted\rpermit (principal, action, resource);\n", "U+000D"),
        ("permit (principal, action, resource);\u{202e}\n", "U+202E"),
        ("permit (principal, action, resource);\u{0}\n", "U+0000"),
    ] {
        let rules = file("a.cedar", hidden);
        let problems = Sources::folder(vec![file("gatepass.yaml", whole), rules]).unwrap_err();
        assert!(problems[0].message.contains(name), "{problems:?}");
        let archive = format!("-- a.cedar --\n{hidden}-- gatepass.yaml --\n{whole}");
        assert!(Sources::parse(&archive).is_err(), "{name}");
        assert!(compile(hidden).is_err(), "{name}");
    }
    // The twin: lines may end as they do elsewhere, and texts are of any language.
    let plain = "// é ü 漢\r\npermit (principal, action, resource);\r\n";
    let all = vec![file("gatepass.yaml", whole), file("a.cedar", plain)];
    assert!(Sources::folder(all).is_ok());
}
