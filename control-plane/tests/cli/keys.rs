//! Root documents and signing keys on the command line, without a server: what an operator does
//! before anything is adopted.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

/// A working directory `d` and root keys in `roots`, two of which must sign.
struct Site(tempfile::TempDir);

impl Site {
    fn new() -> Self {
        let site = Self(tempfile::tempdir().unwrap());
        site.ok("root init --root-dir roots --keys 2 --threshold 2");
        site.ok(
            "init --dir d --environment prod --issuer https://issuer.example --roots roots/pinned.json --port 0",
        );
        site.ok("root sign --root-dir roots d/roots/1.unsigned.json --out d/roots/1.json");
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Whether it succeeded, and all that it said. Arguments have no blanks.
    fn run(&self, arguments: &str) -> (bool, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gatepass"));
        let output =
            command.args(arguments.split(' ')).current_dir(self.0.path()).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(said).unwrap())
    }

    fn ok(&self, arguments: &str) -> String {
        let (ok, said) = self.run(arguments);
        assert!(ok, "{arguments}: {said}");
        said
    }

    fn fails(&self, arguments: &str, expected: &str) {
        let (ok, said) = self.run(arguments);
        assert!(!ok && said.contains(expected), "{arguments}: {said}");
    }

    /// The public key that `keys new` prints.
    fn new_key(&self, role: &str) -> String {
        let said = self.ok(&format!("keys new {role} --dir d"));
        said.lines().find_map(|line| line.strip_prefix("public: ")).unwrap().to_owned()
    }

    fn document(&self, name: &str) -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(self.path(name)).unwrap()).unwrap()
    }
}

#[test]
fn the_next_root_is_written_from_the_one_in_force() {
    let site = Site::new();
    let first = site.document("d/roots/1.unsigned.json");
    let was = first["keys"][0]["public"].as_str().unwrap();
    assert_eq!(first["keys"][0]["role"], "feed");
    let public = site.new_key("feed");
    let said = site.ok(&format!("root rotate --dir d --add feed={public} --drop {was} --reset"));
    assert!(said.contains("(new)") && said.contains(&format!("no longer feed {was}")), "{said}");
    let second = site.document("d/roots/2.unsigned.json");
    assert_eq!((&second["version"], &second["reset"]), (&2.into(), &true.into()));
    assert_eq!(second["root"], first["root"]);
    let keys = second["keys"].as_array().unwrap();
    assert_eq!(keys.len(), 4);
    assert_eq!(keys[3], serde_json::json!({ "role": "feed", "public": public }));
    site.fails("root rotate --dir d", "exists already");
    let out = "--out elsewhere.json";
    for (arguments, expected) in [
        (format!("--dir d --drop {was}"), "no feed key would be left"),
        (format!("--dir d --add audit={was}"), "one key has one role"),
        ("--dir d --add feed".to_owned(), "expected ROLE=PUBLIC"),
        (format!("--dir d --add root={public}"), "expected ROLE=PUBLIC"),
        ("--dir d --days 400".to_owned(), "1 to 366 days"),
        ("--dir nowhere".to_owned(), "nowhere"),
        (String::from("d/gatepass.toml"), "is no root document"),
        (String::new(), ""),
    ] {
        let asked = format!("root rotate {arguments} {out}");
        site.fails(&asked.replace("  ", " "), expected);
    }
    assert!(!site.path("elsewhere.json").exists());
    site.ok(&format!("root rotate d/roots/1.json --days 366 {out}"));
}

#[test]
fn a_root_is_signed_in_two_places_and_not_named_before_it_is_whole() {
    let site = Site::new();
    for (dir, key) in [("a", "root-1.key"), ("b", "root-2.key")] {
        std::fs::create_dir(site.path(dir)).unwrap();
        std::fs::rename(site.path("roots").join(key), site.path(dir).join("root-1.key")).unwrap();
    }
    site.ok("root rotate --dir d");
    let sign = |dir: &str, from: &str, to: &str| {
        format!("root sign --root-dir {dir} d/roots/{from} --out d/roots/{to}")
    };
    site.fails(&sign("a", "2.unsigned.json", "2.json"), "1 of 2 of the root before");
    let said = site.ok(&sign("a", "2.unsigned.json", "2.part.json"));
    assert!(said.contains("signed in part"), "{said}");
    let said = site.ok(&sign("b", "2.part.json", "2.json"));
    assert!(said.contains("root document 2 of `prod` is signed"), "{said}");
    // And the newest is where the next begins.
    site.ok("root rotate --dir d");
    assert_eq!(site.document("d/roots/3.unsigned.json")["version"], 3);
}

#[test]
fn keys_are_made_beside_those_in_use_and_listed() {
    let site = Site::new();
    let public = site.new_key("issuer");
    let path = site.path("d/issuer-2.key");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_ne!(site.new_key("issuer"), public);
    assert!(site.path("d/issuer-3.key").exists());
    let listed = site.ok("keys list --dir d");
    assert!(listed.contains("no root document is in force"), "{listed}");
    let state = |file: &str| {
        let line = listed.lines().find(|line| line.starts_with(file)).unwrap();
        line.split_whitespace().nth(1).unwrap().to_owned()
    };
    assert_eq!((state("issuer.key"), state("feed.key")), ("signs".into(), "signs".into()));
    assert_eq!(state("issuer-2.key"), "not");
    site.fails("keys new root --dir d", "possible values: feed, issuer, audit");
    site.fails("keys new feed --dir roots", "is no gatepass directory");
    site.fails("keys list --dir roots", "is no gatepass directory");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    site.fails("keys list --dir d", "chmod 600");
}

#[test]
fn a_grace_is_signed_by_the_root_keys_in_force_wherever_they_are() {
    let site = Site::new();
    let grace = "root grace d/roots/1.json --root-dir";
    let said = site.ok(&format!("{grace} roots --action orders:read --hours 1 --out grace.json"));
    assert!(said.contains("\"grace\": \"") && said.contains("3600 seconds"), "{said}");
    let payload = |name: &str| {
        let payload = site.document(name)["payload"].as_str().unwrap().to_owned();
        let payload = STANDARD.decode(payload).unwrap();
        serde_json::from_slice::<serde_json::Value>(&payload).unwrap()
    };
    assert_eq!(payload("grace.json")["actions"], serde_json::json!(["orders:read"]));
    // The two keys are not in one place.
    for number in [1, 2] {
        let dir = site.path(&format!("at-{number}"));
        std::fs::create_dir(&dir).unwrap();
        let name = format!("root-{number}.key");
        std::fs::copy(site.path("roots").join(&name), dir.join(&name)).unwrap();
    }
    let said = site.ok(&format!("{grace} at-1 --action orders:read --out half.json"));
    assert!(said.contains("signed by 1 of 2") && !said.contains("\"grace\""), "{said}");
    site.fails(&format!("{grace} at-1 --begun half.json --out x.json"), "none of these keys");
    let said = site.ok(&format!("{grace} at-2 --begun half.json --out whole.json"));
    assert!(said.contains("\"grace\": \""), "{said}");
    assert_eq!(payload("whole.json"), payload("half.json"));
    site.fails(&format!("{grace} roots --action a:b --hours 5 --out x.json"), "four hours");
    site.fails(&format!("{grace} roots --action a:b --hours 0 --out x.json"), "one second");
    site.fails(&format!("{grace} roots --out x.json"), "--action");
    site.fails(&format!("{grace} d --action a:b --out x.json"), "holds no root key");
    site.fails(&format!("{grace} roots --action a:b --out half.json"), "half.json");
}
