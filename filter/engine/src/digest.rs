//! The action digest: SHA-256 of the canonical JSON (RFC 8785) of `{action, audience, body_sha256,
//! environment, host, inputs, method, path}`. It is what an approver consents to and what
//! `args_digest` pins.
//!
//! Every value is a string (`inputs` holds strings by input name), so canonical form is sorted
//! members and minimal escapes; numbers never occur.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::inputs::{Found, Inputs};

/// What the digest covers, for a request whose body is empty.
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
}

impl ActionFacts<'_, '_> {
    /// The digest; `None` when an input is present but not of its kind, because then it has no
    /// canonical text.
    #[must_use]
    pub fn digest(&self) -> Option<[u8; 32]> {
        Some(Sha256::digest(self.canonical()?.as_bytes()).into())
    }

    /// The canonical JSON itself, for `explain` and for an approver's tools.
    #[must_use]
    pub fn canonical(&self) -> Option<String> {
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
        member(&mut out, "body_sha256", EMPTY_SHA256);
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
    text(out, name);
    out.push(':');
    text(out, value);
}

/// RFC 8785 section 3.2.2.2.
fn text(out: &mut String, value: &str) {
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
    use base64::Engine as _;

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
        };
        assert_eq!(
            facts.canonical().unwrap(),
            "{\"action\":\"orders:create\",\"audience\":\"https://orders.example\",\"body_sha256\":\"47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU\",\"environment\":\"prod\",\"host\":\"orders.example\",\"inputs\":{},\"method\":\"POST\",\"path\":\"/o/\\u0001\\\"\\\\é\"}"
        );
        let mut other = facts;
        other.method = "PUT";
        assert_ne!(facts.digest(), other.digest());
    }

    #[test]
    fn the_digest_of_nothing_is_right() {
        let digest: [u8; 32] = Sha256::digest(b"").into();
        assert_eq!(
            base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(digest),
            EMPTY_SHA256
        );
    }
}
