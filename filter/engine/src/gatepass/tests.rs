//! Token confusion: everything that other JWT libraries were once talked into. Each token here is
//! signed by the right key over exactly the bytes shown, unless the test is about the signature.

#![expect(clippy::string_slice, reason = "every text here is ASCII")]

use std::sync::LazyLock;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::*;
use crate::decision::Decision;
use crate::gate::Gate;
use crate::testkit::{
    AGENT, AT, AUDIENCE, BLUEPRINT, EPOCH, ISS, ISSUER, NOW, OTHER_ISSUER, OWNER, PRIOR_AGENT,
    Pass, STRANGER, Scene, USER, b64, compact, issuer_key, kid, public, sign_text,
};

static GATE: LazyLock<Gate> = LazyLock::new(|| Scene::good().gate());

const MALFORMED: Option<Code> = Some(Code::Malformed);

/// Presents these bytes as the gatepass of the good request; `None` is allowed.
fn check(token: impl AsRef<[u8]>, expected: Option<Code>, why: &str) {
    check_in(&Scene::good(), &GATE, token.as_ref(), expected, why);
}

fn check_in(scene: &Scene, gate: &Gate, token: &[u8], expected: Option<Code>, why: &str) {
    let mut scene = scene.clone();
    scene.authorization = Some([b"Bearer ", token].concat());
    let code = match scene.decide_at(gate) {
        Decision::Allow(_) => None,
        Decision::Deny(denial) => Some(denial.code()),
    };
    assert_eq!(code, expected, "{why}");
}

fn check_header(header: &str, expected: Option<Code>) {
    let claims = good_claims();
    check(compact(header.as_bytes(), claims.as_bytes(), ISSUER), expected, header);
}

fn check_claims(claims: &str, expected: Option<Code>) {
    let header = good_header();
    check(compact(header.as_bytes(), claims.as_bytes(), ISSUER), expected, claims);
}

/// Sets one claim.
fn check_claim(claim: &str, value: Value, expected: Option<Code>) {
    let mut pass = Pass::good();
    pass.set(claim, value);
    check(pass.token(), expected, &pass.claims[claim].to_string());
}

/// Replaces one piece of the good claims' text.
fn check_spelling(old: &str, new: &str, expected: Option<Code>) {
    let claims = good_claims();
    assert!(claims.contains(old), "{old}");
    check_claims(&claims.replacen(old, new, 1), expected);
}

fn good_header() -> String {
    format!(r#"{{"alg":"EdDSA","typ":"at+jwt","kid":"{}"}}"#, kid(ISSUER))
}

fn good_claims() -> String {
    Pass::good().claims.to_string()
}

#[test]
fn the_good_token_is_allowed() {
    check(Pass::good().token(), None, "good");
    check_header(&good_header(), None);
    check_claims(&good_claims(), None);
}

#[test]
fn no_other_algorithm_is_believed() {
    for alg in [
        "none",
        "None",
        "NONE",
        "nOnE",
        "HS256",
        "HS384",
        "HS512",
        "RS256",
        "PS256",
        "ES256",
        "ES256K",
        "ES384",
        "ES512",
        "Ed448",
        "Ed25519",
        "ed25519",
        "eddsa",
        "EDDSA",
        "EdDSA ",
        " EdDSA",
        "EdDSA\\u0000",
        "",
    ] {
        let mut pass = Pass::good();
        pass.header["alg"] = json!(alg);
        // An escape in the text makes it no plain text, before it is no algorithm.
        let expected = if alg.contains('\\') {
            [Code::Malformed, Code::UnsupportedAlgorithm]
        } else {
            [Code::UnsupportedAlgorithm; 2]
        };
        let scene = Scene::with(|s| s.pass = pass.clone());
        let Decision::Deny(denial) = scene.decide_at(&GATE) else {
            panic!("{alg} is allowed");
        };
        assert!(expected.contains(&denial.code()), "{alg}: {denial}");
    }
}

#[test]
fn an_unsigned_token_is_denied() {
    let header = b64(good_header().replace("EdDSA", "none"));
    let claims = b64(good_claims());
    check(format!("{header}.{claims}."), MALFORMED, "no signature");
    check(format!("{header}.{claims}"), MALFORMED, "two parts");
    let zeros = b64([0; 64]);
    check(format!("{header}.{claims}.{zeros}"), Some(Code::UnsupportedAlgorithm), "none");
    let header = b64(good_header());
    check(format!("{header}.{claims}."), MALFORMED, "stripped");
    check(format!("{header}.{claims}.{zeros}"), Some(Code::BadSignature), "zeros");
}

#[test]
fn a_mac_with_the_public_key_as_its_secret_is_denied() {
    let mac = |message: &[u8]| {
        let pad = |byte: u8| {
            let mut block = [byte; 64];
            for (b, k) in block.iter_mut().zip(public(ISSUER)) {
                *b ^= k;
            }
            block
        };
        let inner = Sha256::new().chain_update(pad(0x36)).chain_update(message).finalize();
        Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize()
    };
    for (alg, long, expected) in [
        ("HS256", false, Code::Malformed),
        ("HS256", true, Code::UnsupportedAlgorithm),
        ("EdDSA", true, Code::BadSignature),
    ] {
        let header = b64(good_header().replace("EdDSA", alg));
        let input = format!("{header}.{}", b64(good_claims()));
        let mut tag = mac(input.as_bytes()).to_vec();
        if long {
            tag.extend(tag.clone());
        }
        check(format!("{input}.{}", b64(tag)), Some(expected), alg);
    }
}

#[test]
fn a_key_verifies_only_under_the_algorithm_registered_with_it() {
    let scene = Scene::with(|s| s.keys[0].algorithm = Algorithm::Ed25519);
    let gate = scene.gate();
    let named = |alg: &str| {
        let header = good_header().replace("EdDSA", alg);
        compact(header.as_bytes(), good_claims().as_bytes(), ISSUER)
    };
    let other = Some(Code::UnsupportedAlgorithm);
    check_in(&scene, &gate, named("Ed25519").as_bytes(), None, "registered");
    check_in(&scene, &gate, named("EdDSA").as_bytes(), other, "not registered");
    check(named("EdDSA"), None, "registered");
    check(named("Ed25519"), other, "not registered");
}

#[test]
fn a_header_member_beyond_the_three_is_refused() {
    for member in [
        r#""jwk":{"kty":"OKP","crv":"Ed25519","x":"AA"}"#,
        r#""jku":"https://evil.example/keys""#,
        r#""x5c":["AA"]"#,
        r#""x5u":"https://evil.example""#,
        r#""x5t#S256":"AA""#,
        r#""crit":["exp"]"#,
        r#""crit":[]"#,
        r#""b64":false"#,
        r#""b64":true"#,
        r#""cty":"JWT""#,
        r#""zip":"DEF""#,
        r#""enc":"A256GCM""#,
        r#""epk":{}"#,
        r#""Alg":"none""#,
        r#""":1"#,
    ] {
        check_header(&good_header().replacen('{', &format!("{{{member},"), 1), MALFORMED);
        check_header(&good_header().replacen('}', &format!(",{member}}}"), 1), MALFORMED);
    }
}

#[test]
fn a_header_with_a_member_missing_or_of_another_type_is_refused() {
    let id = kid(ISSUER);
    for header in [
        r#"{"alg":"EdDSA","typ":"at+jwt"}"#.to_owned(),
        format!(r#"{{"alg":"EdDSA","kid":"{id}"}}"#),
        format!(r#"{{"typ":"at+jwt","kid":"{id}"}}"#),
        format!(r#"{{"alg":["EdDSA"],"typ":"at+jwt","kid":"{id}"}}"#),
        format!(r#"{{"alg":null,"typ":"at+jwt","kid":"{id}"}}"#),
        r#"{"alg":"EdDSA","typ":"at+jwt","kid":0}"#.to_owned(),
        r#"{"alg":"EdDSA","typ":"at+jwt","kid":null}"#.to_owned(),
        format!(r#"["EdDSA","at+jwt","{id}"]"#),
        format!(r#"[{}]"#, good_header()),
        "null".to_owned(),
        "{}".to_owned(),
        String::new(),
    ] {
        check_header(&header, MALFORMED);
    }
    for typ in ["JWT", "jwt", "AT+JWT", "application/at+jwt", "at+jwt ", "dpop+jwt", ""] {
        check_header(&good_header().replace("at+jwt", typ), MALFORMED);
    }
}

#[test]
fn a_kid_names_a_key_in_force_in_its_one_spelling_or_none() {
    let good = kid(ISSUER);
    // 43 characters carry 258 bits: the last character has three more spellings.
    let last = good.as_bytes()[42];
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let value = alphabet.iter().position(|c| *c == last).unwrap();
    let mut bad: Vec<String> =
        (1..4).map(|bits| format!("{}{}", &good[..42], alphabet[value | bits] as char)).collect();
    bad.extend([
        String::new(),
        "../../../../etc/passwd".into(),
        "/dev/null".into(),
        "key' OR '1'='1".into(),
        "x'; DROP TABLE keys; --".into(),
        "https://evil.example/key".into(),
        "0".into(),
        format!("{good}="),
        format!(" {good}"),
        format!("{good} "),
        good.to_uppercase(),
        good[..42].into(),
        kid(STRANGER),
        kid(OTHER_ISSUER),
        b64(public(ISSUER)),
    ]);
    for id in bad {
        let mut pass = Pass::good();
        pass.header["kid"] = json!(id);
        check(pass.token(), Some(Code::UnknownKey), &id);
    }
    let mut nul = Pass::good();
    nul.header["kid"] = json!(format!("{good}\0"));
    check(nul.token(), MALFORMED, "an escape in the `kid`");
}

#[test]
fn a_member_that_occurs_twice_is_refused_at_every_level() {
    check_header(&good_header().replacen('{', r#"{"alg":"EdDSA","#, 1), MALFORMED);
    check_header(&good_header().replacen('{', r#"{"alg":"none","#, 1), MALFORMED);
    check_spelling("{", &format!(r#"{{"exp":{},"#, NOW + 280), MALFORMED);
    check_spelling("{", r#"{"sub":"user:corp/root","#, MALFORMED);
    check_spelling(r#""type":"#, r#""type":"agent_action","type":"#, MALFORMED);
    check_spelling(r#""act":{"#, r#""act":{"sub":"a","#, MALFORMED);
    check_spelling("{", r#"{"ignored":{"a":1,"a":1},"#, MALFORMED);
    check_spelling("{", r#"{"ignored":[[{"a":1,"a":1}]],"#, MALFORMED);
    check_spelling("{", r#"{"ignored":{"a":1,"b":1},"#, None);
}

#[test]
fn an_escaped_member_name_is_refused_and_so_is_an_escaped_id() {
    check_spelling(r#""exp":"#, r#""\u0065xp":"#, MALFORMED);
    check_spelling("{", r#"{"\u0065xp":1,"#, MALFORMED);
    check_spelling("{", r#"{"ignored":{"\u0061":1},"#, MALFORMED);
    check_spelling("{", r#"{"cn\u0066":{},"#, MALFORMED);
    check_spelling("https://orders", r"https:\/\/orders", MALFORMED);
    check_spelling("jti-1", r"jti\u002d1", MALFORMED);
    check_spelling("{", r#"{"ignored":"\u0061","#, None);
    check_header(&good_header().replace("EdDSA", r"Ed\u0044SA"), MALFORMED);
    check_header(&good_header().replace("alg", r"\u0061lg"), MALFORMED);
}

#[test]
fn white_space_is_json_and_nothing_else_around_it_is() {
    let claims = good_claims();
    check_claims(&format!(" \t\r\n{claims} \t\r\n"), None);
    check_spelling(":", " : ", None);
    for around in [
        format!("\u{feff}{claims}"),
        format!("{claims}\0"),
        format!("\0{claims}"),
        format!("{claims}{claims}"),
        format!("{claims},"),
        format!("\u{a0}{claims}"),
        format!("\u{c}{claims}"),
        format!("{claims}//"),
        format!("/**/{claims}"),
        claims.replace('"', "'"),
        format!("{},}}", &claims[..claims.len() - 1]),
        claims[..claims.len() - 1].to_owned(),
        format!("[{claims}]"),
        format!("\"{}\"", b64(&claims)),
        String::new(),
    ] {
        check_claims(&around, MALFORMED);
    }
    check_header(&format!("\u{feff}{}", good_header()), MALFORMED);
    check_header(&format!("{}\0", good_header()), MALFORMED);
    check_header(&format!(" {}\n", good_header()), None);
}

#[test]
fn what_is_not_utf_8_is_refused() {
    let claims = good_claims().into_bytes();
    for bad in [&b"\xff"[..], b"\xc0\xaf", b"\xed\xa0\x80", b"\xc3"] {
        let mut bytes = claims.clone();
        bytes.splice(1..1, [b"\"ignored\":\"", bad, b"\","].concat());
        let token = compact(good_header().as_bytes(), &bytes, ISSUER);
        check(token, MALFORMED, "claims");
        let token = [Pass::good().token().as_bytes(), bad].concat();
        check(token, MALFORMED, "token");
    }
    check(b"\xff\xfe.\xff.\xff", MALFORMED, "no text at all");
}

#[test]
fn base64_has_one_spelling() {
    let token = Pass::good().token();
    let parts: Vec<&str> = token.split('.').collect();
    let [header, claims, signature] = parts[..] else {
        panic!("three parts");
    };
    for (bad, why) in [
        (format!("{header}.{claims}.{signature}=="), "padding"),
        (format!("{header}.{claims}.{signature}="), "half padding"),
        (format!("{header}.{claims}.{signature}A"), "one more"),
        (format!("{header}.{claims}.{signature}AA"), "65 bytes"),
        (format!("{header}.{claims}.{}", &signature[..85]), "one less"),
        (format!("{header}.{claims}.{}", &signature[..84]), "63 bytes"),
        (format!("{header}.{claims}.{signature}\0"), "NUL"),
        (format!("{header}.{claims}.{signature}%3D"), "percent"),
    ] {
        check(bad, MALFORMED, why);
    }
    // The signature's last character has four bits that say nothing.
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for (at, c) in alphabet.chars().enumerate() {
        let spelled = format!("{header}.{claims}.{}{c}", &signature[..85]);
        let expected = match (at % 16, spelled == token) {
            (_, true) => None,
            (0, false) => Some(Code::BadSignature),
            (_, false) => MALFORMED,
        };
        check(spelled, expected, "last character of the signature");
    }
    // Spellings of header and claims, signed as they are spelled.
    for (bad, why) in [
        (format!("{header}=.{claims}"), "padded header"),
        (format!("{header}.{claims}="), "padded claims"),
        (format!("{header}.{claims}=="), "padded claims"),
        (format!("{header}.{claims}\u{0}"), "NUL"),
        (format!("{}.{claims}", header.replacen('e', "+", 1)), "+"),
        (format!("{}.{claims}", header.replacen('e', "/", 1)), "/"),
        (format!(".{claims}"), "no header"),
        (format!("{header}."), "no claims"),
        (".".to_owned(), "nothing"),
    ] {
        check(sign_text(&bad, ISSUER), MALFORMED, why);
    }
    let padded = b64(format!("{} ", good_claims()));
    let padded_two = b64(format!("{}  ", good_claims()));
    for claims in [padded, padded_two] {
        if claims.len() % 4 == 0 {
            continue;
        }
        check(sign_text(&format!("{header}.{claims}"), ISSUER), None, "ends early");
        let next = alphabet.find(claims.chars().last().unwrap()).unwrap() + 1;
        let second = format!("{}{}", &claims[..claims.len() - 1], &alphabet[next..=next]);
        check(sign_text(&format!("{header}.{second}"), ISSUER), MALFORMED, "trailing bits");
    }
}

#[test]
fn white_space_in_the_token_is_refused() {
    let token = Pass::good().token();
    let middle = token.len() / 2;
    for space in [" ", "\t", "\n", "\r", "\r\n", "\u{b}", "\u{c}", "\u{a0}", "\u{200b}"] {
        check(format!("{token}{space}"), MALFORMED, "behind");
        check(format!("{space}{token}"), MALFORMED, "in front");
        let (a, b) = token.split_at(middle);
        check(format!("{a}{space}{b}"), MALFORMED, "within");
    }
}

#[test]
fn a_token_has_exactly_three_parts() {
    let token = Pass::good().token();
    for bad in [
        format!("{token}."),
        format!(".{token}"),
        format!("{token}.{}", b64("x")),
        format!("{token}...."),
        token.replacen('.', "..", 1),
        token.replacen('.', "", 1),
        token.replace('.', ""),
        ".".into(),
        "..".into(),
        "...".into(),
        "a".into(),
        "e30.e30.e30".into(),
        // JWE has five.
        format!("{token}.a.b"),
        // The JSON serialisation of RFC 7515 section 7.2.
        format!(r#"{{"payload":"{}"}}"#, b64("{}")),
    ] {
        check(&bad, MALFORMED, &bad);
    }
}

#[test]
fn a_number_is_a_whole_number_in_digits() {
    let exp = NOW + 280;
    for (spelled, expected) in [
        (format!("{exp}"), None),
        (format!("{exp}.0"), MALFORMED),
        (format!("{exp}.5"), MALFORMED),
        (format!("{exp}e0"), MALFORMED),
        ("1.80000028e9".into(), MALFORMED),
        (format!("\"{exp}\""), MALFORMED),
        (format!("[{exp}]"), MALFORMED),
        (format!("{{\"exp\":{exp}}}"), MALFORMED),
        (format!("-{exp}"), MALFORMED),
        (format!("+{exp}"), MALFORMED),
        (format!("0{exp}"), MALFORMED),
        (format!("0x{exp:x}"), MALFORMED),
        ("-0".into(), MALFORMED),
        ("-1".into(), MALFORMED),
        ("1e400".into(), MALFORMED),
        ("-1e400".into(), MALFORMED),
        ("1e-400".into(), MALFORMED),
        ("18446744073709551615".into(), MALFORMED),
        ("18446744073709551616".into(), MALFORMED),
        ("9".repeat(400), MALFORMED),
        ("null".into(), MALFORMED),
        ("true".into(), MALFORMED),
        ("NaN".into(), MALFORMED),
        ("Infinity".into(), MALFORMED),
    ] {
        check_spelling(&format!(r#""exp":{exp}"#), &format!(r#""exp":{spelled}"#), expected);
    }
    check_spelling("{", r#"{"ignored":1e400,"#, MALFORMED);
    check_spelling("{", r#"{"ignored":1.5,"#, None);
}

#[test]
fn seq_is_two_whole_numbers() {
    check_claim("seq", json!([EPOCH, AT]), None);
    for bad in [
        json!([EPOCH]),
        json!([EPOCH, AT, 0]),
        json!([]),
        json!(["7", 50]),
        json!([7, "50"]),
        json!([7.0, 50]),
        json!([-7, 50]),
        json!([7, -50]),
        json!([[7, 50]]),
        json!({"0": 7, "1": 50}),
        json!({"epoch": 7, "sequence": 50}),
        json!("7.50"),
        json!(750),
        json!(null),
    ] {
        check_claim("seq", bad, MALFORMED);
    }
    check_spelling("[7,50]", "[7,50,]", MALFORMED);
    check_spelling("[7,50]", "[7,18446744073709551616]", MALFORMED);
    check_spelling("[7,50]", "[7,18446744073709551615]", Some(Code::Behind));
}

#[test]
fn every_claim_that_decides_is_demanded() {
    for claim in [
        "iss",
        "aud",
        "exp",
        "iat",
        "jti",
        "seq",
        "sub",
        "client_id",
        "owner",
        "blueprint",
        "txn",
        "env",
        "assurance",
    ] {
        let mut pass = Pass::good();
        pass.remove(claim);
        check(pass.token(), MALFORMED, claim);
        check_claim(claim, json!(null), MALFORMED);
        check_claim(claim, json!({}), MALFORMED);
        check_claim(claim, json!(true), MALFORMED);
    }
    for claim in ["anc", "scope", "nbf", "approval"] {
        let mut pass = Pass::good();
        pass.remove(claim);
        check(pass.token(), None, claim);
    }
    check_claims("{}", MALFORMED);
    check_claims("[]", MALFORMED);
    check_claims("null", MALFORMED);
}

#[test]
fn claims_are_an_object_and_so_is_each_actor() {
    // What a struct's fields in order would be to a lenient reader.
    let details = json!([{"type": "agent_action", "actions": ["orders:create"]}]);
    let fields = json!([
        ISS, [AUDIENCE], NOW + 280, NOW - 20, null, "jti-1", [EPOCH, AT], AGENT,
        {"sub": AGENT, "owner": OWNER, "blueprint": BLUEPRINT},
        AGENT, [], OWNER, BLUEPRINT, "", details, "task-1", "prod", "attested", {}, {}, null, {},
    ]);
    check_claims(&fields.to_string(), MALFORMED);
    check_claim("act", json!([AGENT, OWNER, BLUEPRINT]), MALFORMED);
    check_claim("act", json!([AGENT, OWNER, BLUEPRINT, null]), MALFORMED);
    let nested = json!({
        "sub": AGENT, "owner": OWNER, "blueprint": BLUEPRINT,
        "act": [PRIOR_AGENT, OWNER, BLUEPRINT],
    });
    check_claim("act", nested, MALFORMED);
    check_claim("assurance", json!({"attested": null}), MALFORMED);
    let details = json!([["agent_action", ["orders:create"]]]);
    check_claim("authorization_details", details, MALFORMED);
    check_claim("approval", json!(["ap", USER, 1, ["hwk"], b64([0; 32])]), MALFORMED);
}

#[test]
fn an_id_of_another_kind_is_refused() {
    for (claim, bad) in [
        ("client_id", json!(USER)),
        ("client_id", json!("bbbbbbbb-0000-4000-8000-000000000001")),
        ("client_id", json!(AGENT.to_uppercase())),
        ("sub", json!("agent:root")),
        ("sub", json!("root")),
        ("sub", json!("")),
        ("owner", json!(AGENT)),
        ("owner", json!("bob")),
        ("owner", json!("user:corp/b/ob")),
        ("blueprint", json!("")),
        ("blueprint", json!("bp b")),
        ("jti", json!("")),
        ("jti", json!("a,b")),
        ("jti", json!("a".repeat(129))),
        ("txn", json!("task\n1")),
        ("txn", json!("tâche")),
        ("env", json!("")),
        ("iss", json!("desk.example")),
        ("aud", json!("orders.example")),
        ("aud", json!([])),
        ("aud", json!([AUDIENCE, "orders.example"])),
        ("aud", json!([AUDIENCE, 1])),
        ("aud", json!([[AUDIENCE]])),
        ("aud", json!([AUDIENCE, null])),
        ("scope", json!(["orders:write"])),
        ("assurance", json!("ATTESTED")),
    ] {
        check_claim(claim, bad, MALFORMED);
    }
}

#[test]
fn lists_are_bounded() {
    let audiences = |count: usize| {
        let mut all = vec![AUDIENCE.to_owned()];
        all.extend((1..count).map(|n| format!("https://a{n}.example")));
        json!(all)
    };
    check_claim("aud", audiences(16), None);
    check_claim("aud", audiences(17), MALFORMED);
    let ancestors = |count: usize| json!((0..count).map(|n| format!("j{n}")).collect::<Vec<_>>());
    check_claim("anc", ancestors(8), None);
    check_claim("anc", ancestors(9), MALFORMED);
    check_claim("anc", json!([]), None);
    check_claim("anc", json!("jti-0"), MALFORMED);
    let entry = json!({"type": "agent_action", "actions": ["orders:create"]});
    check_claim("authorization_details", json!(vec![entry.clone(); 16]), None);
    check_claim("authorization_details", json!(vec![entry; 17]), MALFORMED);
    let actions = |count: usize| {
        let mut all = vec!["orders:create".to_owned()];
        all.extend((1..count).map(|n| format!("a{n}")));
        json!([{"type": "agent_action", "actions": all}])
    };
    check_claim("authorization_details", actions(32), None);
    check_claim("authorization_details", actions(33), MALFORMED);
    let choices = |count: usize| {
        let all: Vec<usize> = (0..count).collect();
        json!([{
            "type": "agent_action", "actions": ["orders:create"],
            "constraints": {"count": {"in": all}},
        }])
    };
    check_claim("authorization_details", choices(64), None);
    check_claim("authorization_details", choices(65), MALFORMED);
    let constraints = |count: usize| {
        let all: serde_json::Map<String, Value> =
            (0..count).map(|n| (format!("i{n}"), json!({"max": 1}))).collect();
        json!([{"type": "agent_action", "actions": ["orders:create"], "constraints": all}])
    };
    let violated = Some(Code::ConstraintViolated);
    check_claim("authorization_details", constraints(32), violated);
    check_claim("authorization_details", constraints(33), MALFORMED);
    check_claim("ignored", json!(vec![0; 2000]), None);
}

#[test]
fn nesting_and_members_are_bounded() {
    let nested = |depth: usize| {
        let text = format!("{{\"ignored\":{}{},", "[".repeat(depth), "]".repeat(depth));
        good_claims().replacen('{', &text, 1)
    };
    check_claims(&nested(15), None);
    check_claims(&nested(17), MALFORMED);
    check_claims(&nested(2000), MALFORMED);
    check_claims(&"[".repeat(4000), MALFORMED);
    check_claims(&"{\"a\":".repeat(1000), MALFORMED);
    let members = |count: usize| {
        let mut pass = Pass::good();
        let mut n = 0;
        while pass.claims.as_object().unwrap().len() < count {
            pass.set(&format!("x{n}"), json!(0));
            n += 1;
        }
        pass.token()
    };
    check(members(64), None, "64 members");
    check(members(65), MALFORMED, "65 members");
}

/// A good token of exactly this many bytes.
fn of_length(bytes: usize) -> String {
    for spaces in 0..4 {
        let header = format!("{}{}", good_header(), " ".repeat(spaces));
        let mut pad = bytes * 3 / 4 - header.len() - good_claims().len() - 120;
        loop {
            let claims =
                good_claims().replacen('{', &format!(r#"{{"pad":"{}","#, "x".repeat(pad)), 1);
            let length = b64(&header).len() + b64(&claims).len() + 2 + 86;
            if length == bytes {
                return compact(header.as_bytes(), claims.as_bytes(), ISSUER);
            }
            if length > bytes {
                break;
            }
            pad += 1;
        }
    }
    panic!("no token of {bytes} bytes");
}

#[test]
fn a_token_of_8_kib_is_read_and_one_of_a_byte_more_is_not() {
    for (bytes, expected) in [(8191, None), (8192, None), (8193, MALFORMED), (9000, MALFORMED)] {
        let token = of_length(bytes);
        assert_eq!(token.len(), bytes);
        check(token, expected, &bytes.to_string());
    }
    check("A".repeat(1 << 20), MALFORMED, "a megabyte");
    check(".".repeat(1 << 20), MALFORMED, "a megabyte of dots");
}

fn actor(agent: &str, next: Option<Value>) -> Value {
    let mut actor = json!({"sub": agent, "owner": OWNER, "blueprint": BLUEPRINT});
    if let Some(next) = next {
        actor["act"] = next;
    }
    actor
}

#[test]
fn the_acting_party_is_an_agent_and_is_the_client() {
    let chain = |sub: &str, act: Option<Value>, client: &str| {
        let mut pass = Pass::good();
        pass.set("sub", json!(sub)).set("client_id", json!(client));
        match act {
            Some(act) => pass.set("act", act),
            None => pass.remove("act"),
        };
        pass.token()
    };
    let b = || actor(AGENT, None);
    check(chain(AGENT, None, AGENT), None, "A alone");
    check(chain(PRIOR_AGENT, Some(b()), AGENT), None, "B for A");
    check(chain(USER, Some(b()), AGENT), None, "B for U");
    let b_for_a = actor(AGENT, Some(actor(PRIOR_AGENT, None)));
    check(chain(USER, Some(b_for_a), AGENT), None, "B for A for U");
    check(chain(USER, None, AGENT), MALFORMED, "a person acts");
    check(chain(AGENT, None, PRIOR_AGENT), MALFORMED, "another client");
    check(chain(PRIOR_AGENT, Some(b()), PRIOR_AGENT), MALFORMED, "the subject as client");
    let a_for_b = actor(PRIOR_AGENT, Some(b()));
    check(chain(USER, Some(a_for_b), AGENT), MALFORMED, "the inner actor as client");
    check(chain(USER, Some(actor(USER, None)), AGENT), MALFORMED, "a person as actor");
    check_claim("act", json!(null), MALFORMED);
    check_claim("act", json!(AGENT), MALFORMED);
    check_claim("act", json!({}), MALFORMED);
}

#[test]
fn the_acting_agents_owner_and_blueprint_are_stated_once_and_agree() {
    for (claim, other) in [("owner", "user:corp/eve"), ("blueprint", "bp-x")] {
        check_claim(claim, json!(other), MALFORMED);
        let mut act = actor(AGENT, None);
        act[claim] = json!(other);
        check_claim("act", act.clone(), MALFORMED);
        act.as_object_mut().unwrap().remove(claim);
        check_claim("act", act, MALFORMED);
    }
}

#[test]
fn an_actor_with_an_unknown_member_is_refused_at_any_depth() {
    for member in ["iss", "cnf", "client_id", "Act"] {
        let mut outer = actor(AGENT, None);
        outer[member] = json!("x");
        check_claim("act", outer, MALFORMED);
        let mut inner = actor(PRIOR_AGENT, None);
        inner[member] = json!("x");
        check_claim("act", actor(AGENT, Some(inner)), MALFORMED);
    }
}

#[test]
fn a_chain_has_at_most_eight_actors() {
    let chain = |count: usize| {
        let mut act = None;
        for n in (0..count).rev() {
            let agent = format!("agent:bbbbbbbb-0000-4000-8000-{:012}", n + 1);
            act = Some(actor(&agent, act));
        }
        act.unwrap()
    };
    check_claim("act", chain(1), None);
    check_claim("act", chain(8), None);
    check_claim("act", chain(9), MALFORMED);
    check_claim("act", chain(14), MALFORMED);
}

#[test]
fn an_issuer_speaks_only_with_its_own_key() {
    let mut scene = Scene::good();
    let mut second = issuer_key(OTHER_ISSUER);
    second.issuer = "https://second.example".into();
    scene.keys.push(second);
    let gate = scene.gate();
    for (signer, iss, expected) in [
        (ISSUER, ISS, None),
        (OTHER_ISSUER, "https://second.example", None),
        (OTHER_ISSUER, ISS, Some(Code::WrongIssuer)),
        (ISSUER, "https://second.example", Some(Code::WrongIssuer)),
        (ISSUER, "https://desk.example/", Some(Code::WrongIssuer)),
    ] {
        let mut pass = Pass::good();
        pass.signer = signer;
        pass.header["kid"] = json!(kid(signer));
        pass.set("iss", json!(iss));
        check_in(&scene, &gate, pass.token().as_bytes(), expected, iss);
    }
    let mut crossed = Pass::good();
    crossed.signer = OTHER_ISSUER;
    check_in(&scene, &gate, crossed.token().as_bytes(), Some(Code::BadSignature), "crossed");
}

#[test]
fn a_key_is_believed_from_its_first_second_to_before_its_last() {
    for (not_before, not_after, expected) in [
        (NOW, NOW + 1, None),
        (0, u64::MAX, None),
        (NOW + 1, NOW + 10, Some(Code::RevokedKey)),
        (NOW - 10, NOW, Some(Code::RevokedKey)),
        (NOW, NOW, Some(Code::RevokedKey)),
        (NOW + 10, NOW - 10, Some(Code::RevokedKey)),
    ] {
        let scene = Scene::with(|s| {
            s.keys[0].not_before = UnixSeconds(not_before);
            s.keys[0].not_after = UnixSeconds(not_after);
        });
        let token = Pass::good().token();
        check_in(&scene, &scene.gate(), token.as_bytes(), expected, "window");
    }
}

#[test]
fn every_changed_bit_of_a_token_is_denied() {
    let token = Pass::good().token().into_bytes();
    let scene = Scene::good();
    for at in 0..token.len() {
        for bit in [0, 1, 3, 5] {
            let mut bad = token.clone();
            bad[at] ^= 1 << bit;
            let mut scene = scene.clone();
            scene.authorization = Some([b"Bearer ", &bad[..]].concat());
            let decision = scene.decide_at(&GATE);
            assert!(matches!(decision, Decision::Deny(_)), "byte {at} bit {bit}");
        }
    }
    for length in 0..token.len() {
        let mut scene = scene.clone();
        scene.authorization = Some([b"Bearer ", &token[..length]].concat());
        let decision = scene.decide_at(&GATE);
        assert!(matches!(decision, Decision::Deny(_)), "{length} bytes");
    }
}

#[test]
fn parts_of_two_good_tokens_do_not_mix() {
    let mut pass = Pass::good();
    let first = pass.token();
    let second = pass.set("jti", json!("jti-2")).token();
    let a: Vec<&str> = first.split('.').collect();
    let b: Vec<&str> = second.split('.').collect();
    check(&second, None, "the second");
    for mixed in [[a[0], b[1], a[2]].join("."), [a[0], a[1], b[2]].join(".")] {
        check(mixed, Some(Code::BadSignature), "mixed");
    }
}
