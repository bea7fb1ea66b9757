//! Token confusion: everything that other JWT libraries were once talked into. Each token here is
//! signed by the right key over exactly the bytes shown, unless the test is about the signature.

#![expect(clippy::string_slice, reason = "every text here is ASCII")]

mod claims;

use std::sync::LazyLock;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::*;
use crate::decision::Decision;
use crate::gate::Gate;
use crate::testkit::{
    ISSUER, NOW, OTHER_ISSUER, Pass, STRANGER, Scene, b64, compact, kid, public, sign_text,
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
        Decision::Redeem(redemption) => panic!("{redemption:?}"),
        Decision::Read(awaited) => panic!("{awaited:?}"),
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
