//! The action digest: SHA-256 of the canonical JSON (RFC 8785) of `{action, audience, body_sha256,
//! environment, host, inputs, method, path}`. It is what an approver consents to and what
//! `args_digest` pins.
//!
//! Every value is a string (`inputs` holds strings by input name), so canonical form is sorted
//! members and minimal escapes; numbers never occur.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use crate::inputs::{Found, Inputs};

/// What the digest covers.
#[derive(Clone, Copy, Debug)]
pub struct ActionFacts<'r, 'a> {
    pub environment: &'r str,
    pub audience: &'r str,
    pub action: &'r str,
    pub method: &'r str,
    pub host: &'r str,
    /// Without the query.
    pub path: &'r str,
    pub inputs: &'r Inputs<'a>,
    pub body: BodyDigest,
}

/// SHA-256 of what the action reads of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyDigest {
    Empty,
    /// Of the bytes as they are (`body: digest`), or of their canonical JSON (`body: json`): of the whole
    /// body, or of a JSON-RPC message's `method` and `params` without `_meta`, because `id` and `_meta` are
    /// other ones in each call.
    Of([u8; 32]),
    /// Two bodies that differ could have the same.
    None,
}

impl BodyDigest {
    fn text(self) -> Option<String> {
        match self {
            Self::Empty => Some(EMPTY_SHA256.to_owned()),
            Self::Of(digest) => Some(URL_SAFE_NO_PAD.encode(digest)),
            Self::None => None,
        }
    }
}

impl ActionFacts<'_, '_> {
    /// The digest; `None` when an input is present but not of its kind, because then it has no
    /// canonical text, and when the query holds more than the inputs, because then the digest
    /// would not say all that is asked for.
    #[must_use]
    pub fn digest(&self) -> Option<[u8; 32]> {
        Some(Sha256::digest(self.canonical()?.as_bytes()).into())
    }

    /// The canonical JSON itself, for `explain` and for an approver's tools.
    #[must_use]
    pub fn canonical(&self) -> Option<String> {
        if self.inputs.leave_something_out() {
            return None;
        }
        let body = self.body.text()?;
        let mut inputs = BTreeMap::new();
        for (name, found) in self.inputs.iter() {
            match found {
                Found::Missing => {}
                Found::Invalid => return None,
                Found::Value(value) => {
                    inputs.insert(*name, value.to_string());
                }
            }
        }
        // Names are ASCII, so byte order is the UTF-16 order that RFC 8785 section 3.2.3 asks for.
        let mut out = String::from("{");
        member(&mut out, "action", self.action);
        out.push(',');
        member(&mut out, "audience", self.audience);
        out.push(',');
        member(&mut out, "body_sha256", &body);
        out.push(',');
        member(&mut out, "environment", self.environment);
        out.push(',');
        member(&mut out, "host", self.host);
        out.push_str(",\"inputs\":{");
        for (at, (name, value)) in inputs.iter().enumerate() {
            if at > 0 {
                out.push(',');
            }
            member(&mut out, name, value);
        }
        out.push_str("},");
        member(&mut out, "method", self.method);
        out.push(',');
        member(&mut out, "path", self.path);
        out.push('}');
        Some(out)
    }
}

fn member(out: &mut String, name: &str, value: &str) {
    quote(out, name);
    out.push(':');
    quote(out, value);
}

/// RFC 8785 section 3.2.2.2.
pub(crate) fn quote(out: &mut String, value: &str) {
    out.push('"');
    for c in value.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Base64url of the SHA-256 of nothing.
const EMPTY_SHA256: &str = "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::{Currency, Input, InputKind, Recording, Source};
    use crate::target::Target;

    #[test]
    fn the_canonical_form_is_sorted_and_minimal() {
        let inputs = Inputs::default();
        let facts = ActionFacts {
            environment: "prod",
            audience: "https://orders.example",
            action: "orders:create",
            method: "POST",
            host: "orders.example",
            path: "/o/\u{1}\"\\é",
            inputs: &inputs,
            body: BodyDigest::Empty,
        };
        assert_eq!(
            facts.canonical().unwrap(),
            "{\"action\":\"orders:create\",\"audience\":\"https://orders.example\",\"body_sha256\":\"47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU\",\"environment\":\"prod\",\"host\":\"orders.example\",\"inputs\":{},\"method\":\"POST\",\"path\":\"/o/\\u0001\\\"\\\\é\"}"
        );
        let mut other = facts;
        other.method = "PUT";
        assert_ne!(facts.digest(), other.digest());
    }

    fn inputs_of<'a>(inputs: &'a [Input], target: &Target<'a>) -> Inputs<'a> {
        Inputs::read(inputs, &[], target, &[]).unwrap()
    }

    fn input(name: &str, kind: InputKind) -> Input {
        Input {
            name: name.into(),
            kind,
            source: Source::Query(name.into()),
            record: Recording::None,
        }
    }

    #[test]
    fn inputs_are_strings_sorted_by_name_and_the_missing_are_left_out() {
        let kinds = [
            input("z", InputKind::Integer),
            input("b", InputKind::Decimal),
            input("a-b", InputKind::Money(Currency::Fixed("EUR".into()))),
            input("a", InputKind::Boolean),
            input("a_c", InputKind::Text),
            input("gone", InputKind::Text),
        ];
        let target = Target::parse(b"/?a_c=%22%0A&a=true&a-b=5&b=1.5&z=-7").unwrap();
        let inputs = inputs_of(&kinds, &target);
        let facts = facts(&inputs);
        assert!(facts.canonical().unwrap().contains(
            r#""inputs":{"a":"true","a-b":"5.0000 EUR","a_c":"\"\n","b":"1.5000","z":"-7"}"#
        ));
        assert!(facts.digest().is_some());
    }

    #[test]
    fn an_input_that_is_not_of_its_kind_has_no_digest() {
        let kinds = [input("n", InputKind::Integer)];
        for (path, some) in [("/?n=1", true), ("/", true), ("/?n=01", false), ("/?n=", false)] {
            let target = Target::parse(path.as_bytes()).unwrap();
            let inputs = inputs_of(&kinds, &target);
            assert_eq!(facts(&inputs).digest().is_some(), some, "{path}");
        }
    }

    #[test]
    fn a_query_that_says_more_than_the_inputs_has_no_digest() {
        let kinds = [input("n", InputKind::Integer)];
        for (path, some) in [("/?n=1", true), ("/?n=1&to=x", false), ("/?to", false), ("/?", true)]
        {
            let target = Target::parse(path.as_bytes()).unwrap();
            let inputs = inputs_of(&kinds, &target);
            assert_eq!(facts(&inputs).digest().is_some(), some, "{path}");
        }
    }

    #[test]
    fn each_fact_is_covered() {
        let inputs = Inputs::default();
        let base = facts(&inputs);
        let kinds = [input("n", InputKind::Integer)];
        let target = Target::parse(b"/?n=1").unwrap();
        let other_inputs = inputs_of(&kinds, &target);
        let mut seen = std::collections::BTreeSet::from([base.digest()]);
        for other in [
            ActionFacts { environment: "dev", ..base },
            ActionFacts { audience: "https://x", ..base },
            ActionFacts { action: "orders:list", ..base },
            ActionFacts { method: "PUT", ..base },
            ActionFacts { host: "x.example", ..base },
            ActionFacts { path: "/p/", ..base },
            ActionFacts { inputs: &other_inputs, ..base },
            ActionFacts { body: BodyDigest::Of([0; 32]), ..base },
            ActionFacts { body: BodyDigest::Of([1; 32]), ..base },
            ActionFacts { body: BodyDigest::None, ..base },
        ] {
            assert!(seen.insert(other.digest()), "{other:?}");
        }
    }

    #[test]
    fn no_value_can_pretend_to_be_another_member() {
        let inputs = Inputs::default();
        let base = facts(&inputs);
        let injected = ActionFacts { path: "/p\",\"x\":\"", ..base };
        let text = injected.canonical().unwrap();
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read.as_object().unwrap().len(), 8);
        assert_eq!(read["path"], "/p\",\"x\":\"");
        // serde_json sorts members and escapes minimally, too.
        assert_eq!(read.to_string(), text);
    }

    fn facts<'r, 'a>(inputs: &'r Inputs<'a>) -> ActionFacts<'r, 'a> {
        ActionFacts {
            environment: "prod",
            audience: "https://orders.example",
            action: "orders:create",
            method: "POST",
            host: "orders.example",
            path: "/p",
            inputs,
            body: BodyDigest::Empty,
        }
    }

    #[test]
    fn the_digest_of_nothing_is_right() {
        let digest: [u8; 32] = Sha256::digest(b"").into();
        assert_eq!(URL_SAFE_NO_PAD.encode(digest), EMPTY_SHA256);
    }
}
