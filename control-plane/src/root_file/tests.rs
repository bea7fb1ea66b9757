use super::*;
use crate::roots::first;
use crate::setup::make_root_keys;

const NOW: UnixSeconds = UnixSeconds(1_000_000);

fn public(seed: u8) -> String {
    public_text(&SecretKey::from_seed(&[seed; 32]).unwrap().public())
}

/// Root 1: feed 4, issuer 5, audit 6 and an issuer 7; root keys that nobody has.
fn one() -> Document {
    let publics = |seed: u8| SecretKey::from_seed(&[seed; 32]).unwrap().public();
    let keys = [(Role::Feed, 4), (Role::Issuer, 5), (Role::Audit, 6), (Role::Issuer, 7)]
        .map(|(role, seed)| (role, publics(seed)));
    first("prod", &PinnedRoots::new(&[publics(1)], 1), &keys, NOW.plus(1000))
}

fn named(document: &Document) -> Vec<(Role, String)> {
    document.keys.iter().map(|key| (key.role, key.public.clone())).collect()
}

#[test]
fn the_next_document_differs_in_what_was_asked_for_and_nothing_else() {
    let plain = next(&one(), &Wanted::default(), NOW.plus(5000)).unwrap();
    let renewed = Document { version: 2, expires: NOW.plus(5000), ..one() };
    assert_eq!(plain, renewed);
    let wanted = Wanted {
        add: vec![(Role::Feed, public(8)), (Role::Receipt, public(9))],
        drop: vec![
            public(4),
            KeyId::of(&SecretKey::from_seed(&[5; 32]).unwrap().public()).to_string(),
        ],
        reset: true,
        root_keys: Some(PinnedRoots { keys: vec![public(2), public(3)], threshold: 2 }),
    };
    let next = next(&one(), &wanted, NOW.plus(9)).unwrap();
    let expected = [
        (Role::Audit, public(6)),
        (Role::Issuer, public(7)),
        (Role::Feed, public(8)),
        (Role::Receipt, public(9)),
    ];
    assert_eq!(named(&next), expected);
    assert_eq!(next.root, RootKeys { threshold: 2, keys: vec![public(2), public(3)] });
    assert!(next.reset);
}

#[test]
fn what_no_gate_would_take_is_not_written() {
    let refusal = |wanted: Wanted| next(&one(), &wanted, NOW).unwrap_err().to_string();
    let add = |role, text: &str| Wanted { add: vec![(role, text.to_owned())], ..Wanted::default() };
    let drop = |names: &[u8]| Wanted {
        drop: names.iter().map(|n| public(*n)).collect(),
        ..Wanted::default()
    };
    let roots = |keys: Vec<String>, threshold| Wanted {
        root_keys: Some(PinnedRoots { keys, threshold }),
        ..Wanted::default()
    };
    for (wanted, expected) in [
        (add(Role::Feed, &public(5)), "names `"),
        (add(Role::Feed, &public(1)), "is a root key"),
        (add(Role::Feed, "x"), "expected an Ed25519 public key"),
        (drop(&[9]), "names no key"),
        (drop(&[4]), "no feed key would be left"),
        (drop(&[5, 7]), "no issuer key would be left"),
        (drop(&[6]), "no audit key would be left"),
        (roots(vec![public(5)], 1), "is a root key"),
        (roots(vec![public(2)], 2), "threshold"),
        (roots(vec![], 0), "threshold"),
    ] {
        let said = refusal(wanted);
        assert!(said.contains(expected), "{expected}: {said}");
    }
    assert!(next(&one(), &drop(&[5]), NOW).is_ok(), "the twin");
}

/// Two folders of root keys, two of three each, and the first document under the first.
struct Offline {
    dir: tempfile::TempDir,
    new: PinnedRoots,
}

impl Offline {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let old = make_root_keys(&dir.path().join("old"), 3, 2).unwrap();
        let new = make_root_keys(&dir.path().join("new"), 3, 2).unwrap();
        let keys: Vec<(Role, [u8; 32])> = one()
            .keys
            .iter()
            .map(|key| (key.role, *public_key(&key.public).unwrap().as_bytes()))
            .collect();
        let offline = Self { dir, new };
        let document = first("prod", &old, &keys, NOW.plus(1000));
        write_unsigned(&document, &offline.path("1.unsigned.json")).unwrap();
        let signed = offline.sign(&["old"], "1.unsigned.json", "1.json").unwrap();
        assert_eq!((signed.own, signed.previous, signed.is_complete()), (3, None, true));
        offline
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A folder with some keys of another.
    fn share(&self, from: &str, numbers: &[u8]) -> String {
        let name = format!("{from}-{numbers:?}");
        std::fs::create_dir(self.path(&name)).unwrap();
        for number in numbers {
            let file = format!("root-{number}.key");
            std::fs::copy(self.path(from).join(&file), self.path(&name).join(&file)).unwrap();
        }
        name
    }

    /// The second document, with the new root keys.
    fn rotated(&self) {
        let wanted = Wanted { root_keys: Some(self.new.clone()), ..Wanted::default() };
        let document =
            next(&read(&newest(self.dir.path()).unwrap()).unwrap(), &wanted, NOW.plus(2000));
        write_unsigned(&document.unwrap(), &self.path("2.unsigned.json")).unwrap();
    }

    fn sign(&self, dirs: &[&str], document: &str, out: &str) -> Result<Signed, SetupError> {
        Signing {
            root_dirs: dirs.iter().map(|dir| self.path(dir)).collect(),
            document: self.path(document),
            previous: None,
            out: self.path(out),
        }
        .sign(NOW)
    }

    /// What a gate that pins the first root keys makes of both documents.
    fn walked(&self) -> Result<u64, RootError> {
        let text = |name: &str| std::fs::read_to_string(self.path(name)).unwrap();
        let chain = [text("1.json"), text("2.json")];
        let root = unverified_document(&chain[0]).unwrap().root;
        let pinned = PinnedRoots { keys: root.keys, threshold: root.threshold };
        crate::roots::walk(pinned.pinned("prod")?, &chain, NOW).map(|trust| trust.version())
    }
}

#[test]
fn old_and_new_root_keys_sign_together() {
    let offline = Offline::new();
    offline.rotated();
    let signed = offline.sign(&["old", "new"], "2.unsigned.json", "2.json").unwrap();
    assert_eq!((signed.own, signed.previous), (2, Some((2, 2))), "as many as are needed");
    assert_eq!(offline.walked().unwrap(), 2);
}

#[test]
fn root_keys_that_are_apart_sign_one_after_the_other() {
    let offline = Offline::new();
    offline.rotated();
    let (first, second) = (offline.share("old", &[1]), offline.share("old", &[3]));
    let refused = offline.sign(&[&first], "2.unsigned.json", "2.json").unwrap_err().to_string();
    assert!(
        refused.contains("signatures are missing (1 of 2 of the root before, 0 of 2 of its own)"),
        "{refused}"
    );
    let a = offline.sign(&[&first], "2.unsigned.json", "a.json").unwrap();
    assert_eq!((a.own, a.previous, a.is_complete()), (0, Some((1, 2)), false));
    let again = offline.sign(&[&first], "a.json", "again.json").unwrap_err().to_string();
    assert!(again.contains("none of these keys adds a signature"), "{again}");
    let b = offline.sign(&["new"], "a.json", "b.json").unwrap();
    assert_eq!((b.own, b.previous, b.is_complete()), (2, Some((1, 2)), false));
    let c = offline.sign(&[&second], "b.json", "2.json").unwrap();
    assert_eq!((c.own, c.previous, c.is_complete()), (2, Some((2, 2)), true));
    assert_eq!(offline.walked().unwrap(), 2);
}

#[test]
fn without_the_root_before_it_a_document_is_not_named_as_a_whole_one() {
    let offline = Offline::new();
    offline.rotated();
    std::fs::rename(offline.path("1.json"), offline.path("one.json")).unwrap();
    let refused = offline.sign(&["old", "new"], "2.unsigned.json", "2.json").unwrap_err();
    assert!(refused.to_string().contains("put 1.json beside it"), "{refused}");
    let mut named = Signing {
        root_dirs: vec![offline.path("old"), offline.path("new")],
        document: offline.path("2.unsigned.json"),
        previous: Some(offline.path("one.json")),
        out: offline.path("2.json"),
    };
    assert!(named.sign(NOW).unwrap().is_complete());
    named.previous = None;
    named.out = offline.path("other.json");
    assert_eq!(named.sign(NOW).unwrap().previous, None);
}

#[test]
fn what_is_not_the_next_or_is_there_already_is_refused() {
    let offline = Offline::new();
    offline.rotated();
    let wanted = Wanted::default();
    let two = read(&offline.path("2.unsigned.json")).unwrap();
    let said = write_unsigned(&two, &offline.path("2.unsigned.json")).unwrap_err().to_string();
    assert!(said.contains("exists already"), "{said}");
    // The third has the first beside it and not the second.
    let three = next(&two, &wanted, NOW.plus(2000)).unwrap();
    write_unsigned(&three, &offline.path("3.unsigned.json")).unwrap();
    let other = Signing {
        root_dirs: vec![offline.path("new")],
        document: offline.path("3.unsigned.json"),
        previous: Some(offline.path("1.json")),
        out: offline.path("3.json"),
    };
    let said = other.sign(NOW).unwrap_err().to_string();
    assert!(said.contains("not the one before root 3"), "{said}");
    let twice = Document { keys: [two.keys.clone(), two.keys.clone()].concat(), ..two.clone() };
    write_unsigned(&twice, &offline.path("t.unsigned.json")).unwrap();
    let said = offline.sign(&["old", "new"], "t.unsigned.json", "t.json").unwrap_err().to_string();
    assert!(said.contains("second role"), "{said}");
    let long = Document { expires: NOW.plus(MAX_DOCUMENT_LIFE + 1), ..two };
    write_unsigned(&long, &offline.path("l.unsigned.json")).unwrap();
    assert!(matches!(
        offline.sign(&["old"], "l.unsigned.json", "l.json"),
        Err(SetupError::Root(RootError::LongLived))
    ));
}
