//! Token confusion: what other JWT libraries were once talked into. Each token is signed by the
//! issuer's key over exactly the bytes shown, unless the case is about the signature.

use gatepass_engine::denial::Code;
use serde_json::{Value, json};

use super::GRANTED;
use crate::case::Family;
use crate::keys::{
    FEED, ISSUER, OTHER_ISSUER, STRANGER, b64, hmac_sha512, kid, public, sign_text, with_l_added,
};
use crate::scene::Scene;

type MakeText = fn() -> String;

pub(crate) fn family() -> Family {
    let mut f = Family::new(300, "Token confusion");
    algorithms(&mut f);
    keys(&mut f);
    header(&mut f);
    signature(&mut f);
    parts(&mut f);
    json_spelling(&mut f);
    length(&mut f);
    f
}

fn algorithms(f: &mut Family) {
    for alg in [
        "none", "None", "HS256", "HS384", "HS512", "RS256", "PS256", "ES256", "ES512", "Ed448",
        "eddsa", "ed25519", "",
    ] {
        let name = if alg.is_empty() { "empty" } else { alg };
        f.deny(
            Code::UnsupportedAlgorithm,
            format!("alg_{name}"),
            (GRANTED, &format!("`alg` is `{alg}`; signed as before")),
            "`alg` is exactly the name that the key is registered with.",
            move |s| s.pass.header["alg"] = json!(alg),
        );
    }
    f.live();
    f.deny(
        Code::UnsupportedAlgorithm,
        "alg_ed25519_of_a_key_of_eddsa",
        (GRANTED, "`alg` is `Ed25519`; signed as before"),
        "Both names mean Ed25519, but one is registered.",
        |s| s.pass.header["alg"] = json!("Ed25519"),
    )
    .live();
    f.deny(
        Code::UnsupportedAlgorithm,
        "alg_eddsa_of_a_key_of_ed25519",
        ("key_of_ed25519", "`alg` is `EdDSA`; signed as before"),
        "Both names mean Ed25519, but one is registered.",
        |s| s.pass.header["alg"] = json!("EdDSA"),
    );
    f.deny(
        Code::UnsupportedAlgorithm,
        "public_key_as_hmac_secret",
        (GRANTED, "`alg` is `HS512`, the signature an HMAC with the public key as its secret"),
        "The algorithm is the key's, not the token's.",
        |s| {
            s.pass.header["alg"] = json!("HS512");
            s.pass.spoil(|[header, claims, _]| {
                let input = format!("{header}.{claims}");
                let signature = hmac_sha512(&public(ISSUER), input.as_bytes());
                format!("{input}.{}", b64(signature))
            });
        },
    );
}

fn keys(f: &mut Family) {
    let twin = |what: &'static str| (GRANTED, what);
    let kids: [(&str, &str, MakeText); 7] = [
        ("kid_of_a_key_not_in_force", "`kid` is a key's that only the root names", || {
            kid(OTHER_ISSUER)
        }),
        ("kid_of_the_feed_key", "`kid` is the feed key's", || kid(FEED)),
        ("kid_empty", "`kid` is empty", String::new),
        ("kid_as_a_path", "`kid` is `../../dev/null`", || "../../dev/null".to_owned()),
        ("kid_with_a_quote", "`kid` ends with a quote and SQL", || {
            format!("{}' OR '1'='1", kid(ISSUER))
        }),
        ("kid_in_base64", "`kid` is followed by padding", || format!("{}=", kid(ISSUER))),
        ("kid_in_a_second_spelling", "the unused bits of `kid`'s last character are set", || {
            set_last_bit(&kid(ISSUER))
        }),
    ];
    for (name, changed, make) in kids {
        f.deny(
            Code::UnknownKey,
            name,
            twin(changed),
            "No issuer key in force has this thumbprint.",
            move |s| s.pass.header["kid"] = json!(make()),
        );
    }
    f.deny(
        Code::UnknownKey,
        "key_of_a_stranger",
        twin("signed by a key that no root names, under its own `kid`"),
        "No issuer key in force has this thumbprint.",
        |s| {
            s.pass.header["kid"] = json!(kid(STRANGER));
            s.pass.signer = STRANGER;
        },
    )
    .live();
}

fn header(f: &mut Family) {
    let malformed = |f: &mut Family, name: &str, changed: &str, make: fn(&mut Scene)| {
        f.deny(
            Code::Malformed,
            name,
            (GRANTED, changed),
            "The header's members are exactly `alg`, `typ` and `kid`, each a text, each once.",
            make,
        );
    };
    for (member, value) in [
        ("jwk", json!({"kty": "OKP", "crv": "Ed25519", "x": b64(public(STRANGER))})),
        ("jku", json!("https://evil.example/jwks")),
        ("x5u", json!("https://evil.example/x5u")),
        ("x5c", json!(["AAAA"])),
        ("crit", json!(["exp"])),
        ("b64", json!(false)),
        ("zip", json!("DEF")),
        ("cty", json!("JWT")),
        ("epk", json!({})),
        ("nonce", json!("x")),
    ] {
        f.deny(
            Code::Malformed,
            format!("header_member_{member}"),
            (GRANTED, &format!("the header has a member `{member}`")),
            "The header's members are exactly `alg`, `typ` and `kid`.",
            move |s| s.pass.header[member] = value.clone(),
        );
    }
    for member in ["alg", "typ", "kid"] {
        f.deny(
            Code::Malformed,
            format!("header_without_{member}"),
            (GRANTED, &format!("the header has no `{member}`")),
            "The header's members are exactly `alg`, `typ` and `kid`.",
            move |s| {
                s.pass.header.as_object_mut().unwrap().remove(member);
            },
        );
    }
    for (name, typ) in [
        ("jwt", "JWT"),
        ("in_upper_case", "AT+JWT"),
        ("as_a_media_type", "application/at+jwt"),
        ("of_a_proof", "dpop+jwt"),
    ] {
        f.deny(
            Code::Malformed,
            format!("typ_{name}"),
            (GRANTED, &format!("`typ` is `{typ}`")),
            "`typ` is exactly `at+jwt`, so no other JWT of the issuer passes for a gatepass.",
            move |s| s.pass.header["typ"] = json!(typ),
        );
    }
    malformed(f, "alg_is_null", "`alg` is null", |s| s.pass.header["alg"] = Value::Null);
    malformed(f, "alg_is_a_list", "`alg` is a list", |s| s.pass.header["alg"] = json!(["EdDSA"]));
    malformed(f, "alg_twice", "a second `alg` says `none`", |s| {
        s.pass.respell_header(|header| header.replacen('{', "{\"alg\":\"none\",", 1));
    });
    malformed(f, "alg_twice_with_an_escape", "a second `alg` is spelled `\\u0061lg`", |s| {
        s.pass.respell_header(|header| header.replacen('{', "{\"\\u0061lg\":\"none\",", 1));
    });
    malformed(f, "header_as_a_list", "the header is a list of the three values", |s| {
        let values: Vec<Value> = s.pass.header.as_object().unwrap().values().cloned().collect();
        s.pass.header = json!(values);
    });
    malformed(f, "header_empty", "the header is empty", |s| s.pass.header_text = Some(vec![]));
}

fn signature(f: &mut Family) {
    let mut bad = |name: &str, changed: &str, why: &str, make: fn(&mut Scene)| {
        f.deny(Code::BadSignature, name, (GRANTED, changed), why, make);
    };
    bad("signed_by_another", "signed by another key", "The key of `kid` did not sign it.", |s| {
        s.pass.signer = STRANGER;
    });
    bad("signed_by_the_feed", "signed by the feed key", "A key has one role.", |s| {
        s.pass.signer = FEED;
    });
    bad("signature_of_zeros", "the signature is all zeros", "It does not verify.", |s| {
        s.pass.spoil(|[header, claims, _]| format!("{header}.{claims}.{}", "A".repeat(86)));
    });
    bad("one_bit_of_the_signature", "one bit of `R` is flipped", "It does not verify.", |s| {
        s.pass.spoil(|[header, claims, signature]| {
            let flipped = if signature.starts_with('A') { "B" } else { "A" };
            format!("{header}.{claims}.{flipped}{}", &signature[1..])
        });
    });
    bad(
        "claims_changed_after_signing",
        "`scope` gained a word after signing",
        "The signature is over other claims.",
        |s| {
            let mut claims = s.pass.claims.clone();
            claims["scope"] = json!("orders:write orders:read admin");
            let claims = b64(claims.to_string());
            s.pass.spoil(move |[header, _, signature]| format!("{header}.{claims}.{signature}"));
        },
    );
    bad(
        "header_changed_after_signing",
        "white space was put into the header after signing",
        "The signature is over the bytes, not over the JSON.",
        |s| {
            let header = b64(s.pass.header.to_string().replace(':', ": "));
            s.pass.spoil(move |[_, claims, signature]| format!("{header}.{claims}.{signature}"));
        },
    );
    bad(
        "s_plus_l",
        "the order of the group is added to `s`",
        "`s` is below the order, so that a signature has one form (RFC 8032 section 5.1.7).",
        |s| {
            s.pass.spoil(|[header, claims, signature]| {
                let signature = with_l_added(&unb64(signature));
                format!("{header}.{claims}.{}", b64(signature))
            });
        },
    );
    f.live();
    for (name, changed, spoil) in [
        ("signature_empty", "the signature is empty", (|_| String::new()) as fn(&str) -> String),
        ("signature_of_63_bytes", "the last byte is left out", |signature| {
            let bytes = unb64(signature);
            b64(&bytes[..63])
        }),
        ("signature_of_65_bytes", "a byte is added", |signature| {
            b64([unb64(signature), vec![0]].concat())
        }),
        ("signature_of_32_bytes", "an HMAC-SHA-256 would have 32 bytes", |signature| {
            let bytes = unb64(signature);
            b64(&bytes[..32])
        }),
    ] {
        f.deny(
            Code::Malformed,
            name,
            (GRANTED, changed),
            "An Ed25519 signature has 64 bytes.",
            move |s| {
                s.pass.spoil(move |[header, claims, signature]| {
                    format!("{header}.{claims}.{}", spoil(signature))
                });
            },
        );
    }
}

fn parts(f: &mut Family) {
    let mut malformed = |name: &str, changed: &str, why: &str, make: fn([&str; 3]) -> String| {
        f.deny(Code::Malformed, name, (GRANTED, changed), why, move |s| s.pass.spoil(make));
    };
    let three = "A compact JWS has three parts (RFC 7515 section 7.1).";
    malformed("two_parts", "the signature and its dot are left out", three, |[h, c, _]| {
        format!("{h}.{c}")
    });
    malformed("four_parts", "an empty part follows", three, |[h, c, s]| format!("{h}.{c}.{s}."));
    malformed("five_parts", "two more parts follow, as in a JWE", three, |[h, c, s]| {
        format!("{h}.{c}.{s}.AAAA.AAAA")
    });
    malformed("claims_left_out", "the claims are empty", "Claims are an object.", |[h, _, _]| {
        sign_text(&format!("{h}."), ISSUER)
    });
    let base64 = "Base64url has no padding and one spelling (RFC 7515 section 2).";
    malformed("padded_signature", "the signature is padded", base64, |[h, c, s]| {
        format!("{h}.{c}.{s}==")
    });
    malformed("padded_header", "the header is padded, and signed so", base64, |[h, c, _]| {
        sign_text(&format!("{h}=.{c}"), ISSUER)
    });
    malformed("signature_in_base64", "the signature's alphabet is `+/`", base64, |[h, c, s]| {
        let s = s.replace('-', "+").replace('_', "/");
        // Whether it holds either character depends on the signature; one surely does not fit.
        format!("{h}.{c}.+{}", &s[1..])
    });
    malformed(
        "signature_in_a_second_spelling",
        "the unused bits of the last character are set",
        base64,
        |[h, c, s]| format!("{h}.{c}.{}", set_last_bit(s)),
    );
    malformed("nul_behind_the_token", "a NUL follows", base64, |[h, c, s]| {
        format!("{h}.{c}.{s}\0")
    });
    malformed("percent_encoded_dot", "the dots are percent-encoded", three, |[h, c, s]| {
        format!("{h}%2E{c}%2E{s}")
    });
    f.live();
    f.deny(
        Code::AmbiguousRequest,
        "json_serialization",
        (GRANTED, "it is a flattened JWS in JSON (RFC 7515 section 7.2.2)"),
        "`authorization` holds no comma, and a gatepass is compact.",
        |s| {
            s.pass.spoil(|[h, c, s]| {
                format!(r#"{{"protected":"{h}","payload":"{c}","signature":"{s}"}}"#)
            });
        },
    );
}

fn json_spelling(f: &mut Family) {
    let strict = "JSON has one reading: no member twice, no escape in a name, nothing behind it.";
    for (name, changed, old, new) in [
        ("claim_twice", "a second `env` says `dev`", "{", "{\"env\":\"dev\","),
        (
            "claim_twice_with_an_escape",
            "`env` again, as `\\u0065nv`",
            "{",
            "{\"\\u0065nv\":\"dev\",",
        ),
        ("claim_name_with_an_escape", "`exp` is spelled `\\u0065xp`", "\"exp\"", "\"\\u0065xp\""),
        (
            "nested_member_twice",
            "an actor has a second `owner`",
            "\"act\":{",
            "\"act\":{\"owner\":\"user:corp/bob\",",
        ),
        ("byte_order_mark", "a byte order mark comes first", "{", "\u{feff}{"),
        ("two_documents", "a second object comes first", "{", "{}{"),
        ("comment", "a comment comes first", "{", "/**/{"),
        ("number_beyond_f64", "a claim that is ignored is `1e400`", "{", "{\"ignored\":1e400,"),
        ("not_a_number", "a claim that is ignored is `NaN`", "{", "{\"ignored\":NaN,"),
    ] {
        f.deny(Code::Malformed, format!("json_{name}"), (GRANTED, changed), strict, move |s| {
            s.pass.respell(old, new)
        });
    }
    f.deny(
        Code::Malformed,
        "json_not_utf_8",
        ("unknown_claim", "the claim's text holds a byte that is not UTF-8"),
        "JSON is UTF-8 (RFC 8259 section 8.1).",
        |s| {
            let mut text = s.pass.claims.to_string().into_bytes();
            let at = text.windows(5).position(|w| w == b"nonce").unwrap();
            text[at + 4] = 0xff;
            s.pass.claims_text = Some(text);
        },
    );
    f.deny(
        Code::Malformed,
        "json_claims_as_a_list",
        (GRANTED, "the claims are a list of their values"),
        "Claims are an object.",
        |s| {
            let values: Vec<Value> = s.pass.claims.as_object().unwrap().values().cloned().collect();
            s.pass.claims = json!(values);
        },
    );
    f.allow("json_nested_to_the_limit", "Claims that are ignored may nest.", |s| {
        s.pass.set("deep", nested(14));
    });
    f.deny(
        Code::Malformed,
        "json_nested_too_deep",
        ("json_nested_to_the_limit", "claims that are ignored nest deeper"),
        "Nesting is bounded by 16.",
        |s| s.pass.set("deep", nested(15)),
    );
    f.allow("json_with_as_many_members_as_allowed", "An object has at most 64 members.", |s| {
        let more = 64 - s.pass.claims.as_object().unwrap().len();
        (0..more).for_each(|n| s.pass.set(&format!("ignored-{n}"), json!(n)));
    });
    f.deny(
        Code::Malformed,
        "json_with_one_member_more",
        ("json_with_as_many_members_as_allowed", "one more that is ignored is added"),
        "An object has at most 64 members.",
        |s| s.pass.set("ignored", json!(0)),
    );
}

fn length(f: &mut Family) {
    f.allow("token_of_8_kib", "The longest that is read.", |s| s.pass.claims_of(8192));
    f.deny(
        Code::Malformed,
        "token_over_8_kib",
        ("token_of_8_kib", "it is one byte longer"),
        "A gatepass has at most 8 KiB.",
        |s| s.pass.claims_of(8193),
    );
}

fn nested(levels: usize) -> Value {
    (0..levels).fold(json!([]), |inner, _| json!([inner]))
}

/// A text of 43 or 86 characters has unused bits in its last one.
fn set_last_bit(text: &str) -> String {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (head, last) = text.split_at(text.len() - 1);
    let at = ALPHABET.find(last).unwrap() + 1;
    format!("{head}{}", &ALPHABET[at..=at])
}

fn unb64(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).unwrap()
}
