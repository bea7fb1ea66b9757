//! Targets for documents in JSON and YAML: the strict reader, root documents, the plugin's
//! configuration, a policy.

use gatepass_engine::batch::{Feed, exact};
use gatepass_engine::bundle::Bundle;
use gatepass_engine::clock::UnixSeconds;
use gatepass_engine::root::{Document, Pinned, Trust};
use gatepass_engine::routes::Index;
use gatepass_filter::configuration::Configuration;
use serde_json::Value;

use super::bytes::Bytes;
use super::scene::{self, NOW, ROOT};

/// What the strict reader accepts is an object that any reader takes, with each name once and
/// spelled plainly; and it accepts all such objects within its bounds.
pub fn json(bytes: &[u8]) {
    let strict = gatepass_engine::json::from_slice::<Value>(bytes).ok();
    let plain = serde_json::from_slice::<Value>(bytes).ok().filter(Value::is_object);
    let shape = core::str::from_utf8(bytes).ok().and_then(Shape::of);
    if let Some(strict) = strict {
        assert_eq!(Some(&strict), plain.as_ref());
        assert!(shape.is_some_and(|shape| shape.depth <= 16 && shape.members <= 64));
    } else if plain.is_some() {
        let within = |shape: &Shape| shape.depth < 16 && shape.members < 64;
        assert!(!shape.as_ref().is_some_and(within), "strict JSON is refused: {shape:?}");
    }
}

/// How a JSON text is nested, found without a JSON reader. Only asked of texts that are JSON.
#[derive(Debug)]
struct Shape {
    depth: usize,
    /// Of the largest object.
    members: usize,
}

impl Shape {
    /// `None`: a name occurs twice in an object, or is not spelled plainly.
    fn of(text: &str) -> Option<Self> {
        let mut shape = Self { depth: 0, members: 0 };
        let mut open: Vec<Vec<&str>> = Vec::new();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let after = rest.get(first.len_utf8()..)?;
            rest = match first {
                '{' | '[' => {
                    open.push(Vec::new());
                    shape.depth = shape.depth.max(open.len());
                    after
                }
                '}' | ']' => {
                    open.pop();
                    after
                }
                '"' => {
                    let end = end_of_string(after)?;
                    let (inner, after) = (after.get(..end)?, after.get(end + 1..)?);
                    if after.trim_start_matches([' ', '\t', '\n', '\r']).starts_with(':') {
                        let names = open.last_mut()?;
                        if names.contains(&inner) || inner.contains('\\') {
                            return None;
                        }
                        names.push(inner);
                        shape.members = shape.members.max(names.len());
                    }
                    after
                }
                _ => after,
            };
        }
        Some(shape)
    }
}

fn end_of_string(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })
}

/// Blocks of a byte and a document: who signs it, one bit for each of four root keys. Without the
/// pinned key nothing is believed, and what is believed is signed by its own threshold.
pub fn root(bytes: &[u8]) {
    let mut bytes = Bytes(bytes);
    let mut sealed: Vec<Vec<u8>> = Vec::new();
    let mut documents: Vec<(u8, Document)> = Vec::new();
    while !bytes.is_empty() && sealed.len() < MAX_DOCUMENTS {
        let (mask, document) = (bytes.byte(), bytes.block());
        let signers: Vec<u8> =
            (0..4).filter(|bit| mask & (1 << bit) != 0).map(|b| ROOT + b).collect();
        // Bit 7: the envelope itself is fuzzed.
        sealed.push(if mask & 0x80 == 0 {
            scene::root(document, &signers)
        } else {
            document.to_vec()
        });
        if let Ok(document) = serde_json::from_slice::<Document>(document) {
            documents.push((mask, document));
        }
    }
    let Ok(pinned) = Pinned::new("prod", &[scene::base64url(&scene::public(ROOT))], 1, 1) else {
        return;
    };
    let start = Trust::new(pinned);
    let envelopes: Vec<&[u8]> = sealed.iter().map(Vec::as_slice).collect();
    let Ok(trust) = start.advance(&envelopes, UnixSeconds(NOW)) else {
        return;
    };
    assert!(trust.version() >= 1);
    assert!(trust.expires() > Some(UnixSeconds(NOW)));
    let fuzzed = sealed.iter().any(|envelope| envelope.as_slice() == scene::root_version(1, false));
    let pinned_signed = documents.iter().any(|(mask, _)| mask & 1 != 0);
    assert!(pinned_signed || fuzzed, "believed without a signature of the pinned key");
    if let Some((mask, document)) = documents.iter().find(|(_, d)| d.version == trust.version())
        && !fuzzed
        && documents.iter().filter(|(_, d)| d.version == document.version).count() == 1
    {
        let own = |seed: u8| {
            let key = scene::base64url(&scene::public(seed));
            mask & (1 << (seed - ROOT)) != 0 && document.root.keys.contains(&key)
        };
        let signers = (ROOT..ROOT + 4).filter(|seed| own(*seed)).count();
        assert!(signers >= document.root.threshold && document.root.threshold > 0);
    }
    // Walking the same documents again changes nothing.
    let again = trust.advance(&envelopes, UnixSeconds(NOW));
    assert_eq!(again.map(|trust| trust.version()).ok(), Some(trust.version()));
}

const MAX_DOCUMENTS: usize = 6;

/// A configuration that is accepted is plain JSON within its bounds.
pub fn configuration(bytes: &[u8]) {
    let Ok(configuration) = Configuration::parse(bytes) else {
        return;
    };
    let read = serde_json::from_slice::<Value>(bytes).unwrap_or_default();
    assert_eq!(read["environment"], configuration.settings.environment);
    assert_eq!(read["feed_audience"], configuration.settings.feed_audience);
    assert!(configuration.hold.0 <= 10_000);
    assert!(configuration.pinned.threshold > 0);
    assert!(configuration.pinned.threshold <= configuration.pinned.keys.len());
    let key = configuration.prefix.key("log");
    assert!(key.len() == 36 && key.ends_with("/log"), "{key}");
    if let Some(baseline) = &configuration.baseline {
        assert!(Feed::decode(baseline).is_ok());
    }
    let expose = read.get("expose_position").and_then(Value::as_bool).unwrap_or(false);
    assert_eq!(configuration.expose_position, expose);
}

/// What compiles is what a gate takes; what does not says where.
pub fn policy(bytes: &[u8]) {
    let Ok(text) = core::str::from_utf8(bytes) else {
        return;
    };
    match gatepass_policy::compile(text) {
        Ok(compiled) => {
            let encoded = scene::postcard(&compiled.bundle);
            assert_eq!(exact::<Bundle>(&encoded, "bundle").as_ref(), Ok(&compiled.bundle));
            let index = Index::build(compiled.bundle);
            assert!(index.is_ok(), "a gate would refuse it: {:?}", index.err());
        }
        Err(problems) => {
            assert!(!problems.is_empty() && problems.len() <= gatepass_policy::MAX_PROBLEMS);
            assert!(problems.iter().all(|problem| !problem.message.is_empty()));
        }
    }
}
