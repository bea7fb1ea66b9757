use super::*;

fn is_read(text: &str) -> bool {
    Document::read(text.as_bytes()).is_ok()
}

#[test]
fn what_is_json_and_what_is_not() {
    for good in [
        "0",
        "-0",
        "-1.50e+7",
        "1E4",
        "\"\"",
        "null",
        " true\r\n\t",
        "[]",
        "{}",
        "[1,[2,{}],\"a\"]",
        r#"{"a":{"b":[1,2]},"":0}"#,
        r#""\ud83d\ude00 \u0000 \/ \b\f\n\r\t\"\\""#,
        "\"\u{7f}é\"",
    ] {
        assert!(is_read(good), "{good}");
        assert!(serde_json::from_str::<serde_json::Value>(good).is_ok(), "{good}");
    }
    for bad in [
        "",
        " ",
        "{",
        "[",
        "[1",
        "[1,",
        "[1,]",
        "{\"a\":1,}",
        "{\"a\"}",
        "{\"a\":}",
        "{a:1}",
        "{1:1}",
        "{,}",
        "[,]",
        "[1 2]",
        "{\"a\":1 \"b\":2}",
        "1 2",
        "[]]",
        "{}}",
        "01",
        "-",
        "+1",
        ".5",
        "1.",
        "1e",
        "1e+",
        "0x1",
        "NaN",
        "Infinity",
        "tru",
        "True",
        "nul",
        "'a'",
        "\"a",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\ud800\"",
        "\"\\udc00\"",
        "\"\\ud800\\u0041\"",
        "\"\n\"",
        "\"\u{0}\"",
        "\u{feff}{}",
        "[1]x",
        "/**/{}",
        "{\"a\":1}//",
        "[1\u{a0}]",
    ] {
        assert!(!is_read(bad), "{bad}");
    }
    assert!(Document::read(b"\"\xff\"").is_err());
    assert!(Document::read(b"\"\xc0\xaf\"").is_err());
    assert!(Document::read(b"\"\xed\xa0\x80\"").is_err());
}

/// Wherever in a text it stands: texts are looked at eight bytes at a time.
#[test]
fn a_text_ends_at_its_quote_and_holds_no_control_character() {
    for before in 0..50 {
        for after in [0, 1, 15, 16, 40] {
            let text =
                |middle: &str| format!("[\"{}{middle}{}\"]", "a".repeat(before), "é".repeat(after));
            for good in ["", "\\\"", "\\\\", "\u{7f}", "\u{80}", "!#[]"] {
                let text = text(good);
                let expected: Vec<String> = serde_json::from_str(&text).unwrap();
                let document = Document::read(text.as_bytes()).unwrap();
                let found = document.root().unwrap().elements().next().unwrap();
                assert_eq!(found.text().as_deref(), Some(expected[0].as_str()), "{text}");
            }
            for bad in ["\"", "\\", "\u{0}", "\u{1f}", "\n"] {
                assert!(!is_read(&text(bad)), "{}", text(bad));
            }
        }
    }
}

#[test]
fn depth_and_size_are_bounded() {
    let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
    assert!(is_read(&deep(MAX_DEPTH)));
    assert!(!is_read(&deep(MAX_DEPTH + 1)));
    assert!(!is_read(&"[".repeat(1 << 20)));
    let wide = |n: usize| format!("[{}]", vec!["1"; n].join(","));
    assert!(is_read(&wide(MAX_NODES - 1)));
    assert!(!is_read(&wide(MAX_NODES)));
}

fn check(text: &str, pointer: &str, expected: Result<Option<&str>, Twice>) {
    let document = Document::read(text.as_bytes()).unwrap();
    let found = Pointer::new(pointer).find(document.root().unwrap());
    let written = found.map(|value| value.map(|value| value.written()));
    assert_eq!(written, expected, "{pointer} of {text}");
}

#[test]
fn a_pointer_finds_what_rfc_6901_says() {
    let text = r#"{"a":{"b":[10,{"c":"x"}]},"m~n":1,"k/l":2,"0":3,"n":null}"#;
    for (pointer, expected) in [
        ("/a/b/0", Some("10")),
        ("/a/b/1/c", Some("\"x\"")),
        ("/a/b", Some(r#"[10,{"c":"x"}]"#)),
        ("/m~0n", Some("1")),
        ("/k~1l", Some("2")),
        ("/0", Some("3")),
        ("/n", Some("null")),
        ("/n/x", None),
        ("/a/b/2", None),
        ("/a/b/00", None),
        ("/a/b/-", None),
        ("/a/b/+1", None),
        ("/a/x", None),
        ("/a/b/0/x", None),
        ("/b", None),
    ] {
        check(text, pointer, Ok(expected));
    }
    for good in ["/a", "/a/b/0", "/m~0n", "/k~1l", "/_x-y.z"] {
        assert!(is_pointer(good), "{good}");
    }
    for bad in ["", "a", "/", "/a/", "//a", "/a~", "/a~2", "/é", "/a b", "/a/-"] {
        assert!(!is_pointer(bad), "{bad}");
    }
}

#[test]
fn a_member_on_the_way_stands_there_once_and_plainly() {
    let amount = |text: &str, expected| check(text, "/order/amount", expected);
    amount(r#"{"order":{"amount":1}}"#, Ok(Some("1")));
    amount(r#"{"order":{"amounts":1,"amoun":2}}"#, Ok(None));
    // Twice, elsewhere: nobody asks for it.
    amount(r#"{"x":1,"x":2,"order":{"y":1,"y":2,"amount":1}}"#, Ok(Some("1")));
    for twice in [
        r#"{"order":{"amount":1,"amount":2}}"#,
        r#"{"order":{"amount":1},"order":{"amount":2}}"#,
        r#"{"order":{"amount":1},"order":2}"#,
        r#"{"order":{"amount":1,"Amount":2}}"#,
        r#"{"order":{"AMOUNT":1}}"#,
        r#"{"Order":{"amount":1}}"#,
        r#"{"order":{"am\u006funt":1}}"#,
        r#"{"order":{"amount":1,"am\u006funt":2}}"#,
        r#"{"order":{"amount":1,"AM\u004FUNT":2}}"#,
        r#"{"order":{"amount\u0000":9,"amount":1}}"#,
        r#"{"order":{"amount\u0000x":9}}"#,
    ] {
        amount(twice, Err(Twice));
    }
    let words = |text: &str, expected| check(text, "/order_id", expected);
    words(r#"{"order_id":1,"order":2,"id":3,"order_ids":4}"#, Ok(Some("1")));
    for twice in [
        // Protobuf and Pydantic take both.
        r#"{"order_id":1,"orderId":2}"#,
        r#"{"order_id":1,"order-id":2}"#,
        r#"{"order_id":1,"_orderId":2}"#,
        r#"{"orderId":1}"#,
        // To C a text ends at a zero byte.
        r#"{"order_id":1,"order_id\u0000":2}"#,
        r#"{"order_id\u0000x":2,"order_id":1}"#,
    ] {
        words(twice, Err(Twice));
    }
    // What Go, Java and .NET take for k, s and i.
    for (pointer, text) in [
        ("/key", "{\"\u{212a}ey\":1}"),
        ("/sum", "{\"\u{17f}um\":1}"),
        ("/id", "{\"\u{131}d\":1}"),
        ("/id", "{\"\u{130}D\":1}"),
        ("/id", "{\"\\u0131d\":1}"),
    ] {
        check(text, pointer, Err(Twice));
    }
}

#[test]
fn nothing_is_looked_for_among_too_many() {
    let wide = |count: usize| {
        let members: Vec<String> = (1..count).map(|nth| format!("\"x{nth}\":1")).collect();
        format!("{{\"a\":1,{}}}", members.join(","))
    };
    check(&wide(MAX_MEMBERS), "/a", Ok(Some("1")));
    check(&wide(MAX_MEMBERS + 1), "/a", Err(Twice));
    // Elsewhere there may be as many as fit.
    check(&format!("{{\"b\":{},\"a\":2}}", wide(MAX_MEMBERS + 1)), "/a", Ok(Some("2")));
}

#[test]
fn it_reads_what_another_reader_reads() {
    let mut dice = crate::testkit::Dice::new(5);
    let (mut read, mut refused) = (0, 0);
    for _ in 0..60_000 {
        let text = crate::testkit::json_text(&mut dice, &LEAVES, &NAMES);
        let mut bytes = text.into_bytes();
        if dice.roll(3) == 0 && !bytes.is_empty() {
            let at = dice.roll(bytes.len());
            bytes[at] = b"{}[],:\"\\1e.-+ u\x01\xff"[dice.roll(17)];
        }
        let ours = Document::read(&bytes);
        let theirs = serde_json::from_slice::<serde_json::Value>(&bytes);
        // Theirs refuses a number that overflows a double, which is well-formed.
        let overflows =
            theirs.as_ref().is_err_and(|error| error.to_string().contains("out of range"));
        if !overflows {
            assert_eq!(ours.is_ok(), theirs.is_ok(), "{}", String::from_utf8_lossy(&bytes));
        }
        match (ours, theirs) {
            (Ok(ours), Ok(theirs)) => {
                read += 1;
                same(ours.root().unwrap(), &theirs);
            }
            _ => refused += 1,
        }
    }
    assert!(read > 20_000 && refused > 5_000, "{read} {refused}");
}

/// Where no name is there twice, all is the same.
fn same(ours: Value<'_, '_>, theirs: &serde_json::Value) {
    match (ours.found().unwrap(), theirs) {
        (Found::Null, serde_json::Value::Null) => {}
        (Found::Boolean(a), serde_json::Value::Bool(b)) => assert_eq!(a, *b),
        (Found::Number(a), serde_json::Value::Number(b)) => {
            assert_eq!(a.parse::<f64>().ok(), b.as_f64());
        }
        (Found::Text(a), serde_json::Value::String(b)) => assert_eq!(a, *b),
        (Found::Array, serde_json::Value::Array(all)) => {
            assert_eq!(ours.elements().count(), all.len());
            ours.elements().zip(all).for_each(|(a, b)| same(a, b));
        }
        (Found::Object, serde_json::Value::Object(all)) => {
            let names: Vec<_> = ours.members().map(|(name, _)| name.text().unwrap()).collect();
            let distinct: std::collections::BTreeSet<_> = names.iter().collect();
            assert_eq!(distinct.len(), all.len());
            if distinct.len() == names.len() {
                ours.members().for_each(|(name, value)| same(value, &all[&*name.text().unwrap()]));
            }
        }
        (found, theirs) => panic!("{found:?} for {theirs}"),
    }
}

const LEAVES: [&str; 14] = [
    "\"a\"",
    "\"\\u0061\\n\"",
    "1",
    "-0",
    "1.50",
    "1e9",
    "-1E-2",
    "true",
    "null",
    "false",
    "\"\"",
    " 7 ",
    "\"\\ud83d\\ude00\"",
    "\"é\"",
];
const NAMES: [&str; 4] = ["\"a\"", " \"b\" ", "\"c\"", "\"\\u0062\""];

#[test]
fn canonical_text_is_that_of_rfc_8785() {
    // Section 3.2.4, but for the two numbers with more digits than every reader keeps.
    let text = r#"{
      "numbers": [333333333.333333, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
      "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
      "literals": [null, true, false]
    }"#;
    let expected = concat!(
        r#"{"literals":[null,true,false],"numbers":[333333333.333333,1e+30,4.5,0.002,1e-27],"#,
        "\"string\":\"€$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"}"
    );
    let document = Document::read(text.as_bytes()).unwrap();
    assert_eq!(canonical(document.root().unwrap()).as_deref(), Some(expected));
    // Section 3.2.3: sorted by UTF-16 code units.
    let text = "{\"\\u20ac\":1,\"\\r\":2,\"\\ufb33\":3,\"1\":4,\"\\ud83d\\ude00\":5,\"\\u0080\":6,\"\\u00f6\":7}";
    let document = Document::read(text.as_bytes()).unwrap();
    let expected = "{\"\\r\":2,\"1\":4,\"\u{80}\":6,\"ö\":7,\"€\":1,\"😀\":5,\"\u{fb33}\":3}";
    assert_eq!(canonical(document.root().unwrap()).as_deref(), Some(expected));
    // What could be written alike and is not the same has no canonical text.
    for bad in [
        r#"{"a":1,"\u0061":2}"#,
        r#"{"a":1,"A":2}"#,
        "{\"k\":1,\"\u{212a}\":2}",
        "[9007199254740993]",
        "[[{\"a\":1,\"a\":1}]]",
    ] {
        let document = Document::read(bad.as_bytes()).unwrap();
        assert_eq!(canonical(document.root().unwrap()), None, "{bad}");
    }
}
