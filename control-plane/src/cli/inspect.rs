//! `gatepass dev inspect`: what is inside, without believing it.

use std::io::Read as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use gatepass_engine::batch::{Batch, Feed, exact};
use gatepass_engine::bundle::Bundle;
use gatepass_engine::keyring::{IssuerKeys, KeyId};
use gatepass_engine::revocation::Change;
use serde_json::{Value, json};

use super::Outcome;

pub(crate) fn file(path: &Path) -> Outcome<Value> {
    let mut bytes = Vec::new();
    let read = match path.to_str() {
        Some("-") => std::io::stdin().read_to_end(&mut bytes).map(|_| ()),
        _ => std::fs::read(path).map(|read| bytes = read),
    };
    read.map_err(|error| format!("`{}`: {error}", path.display()))?;
    any(&bytes).ok_or_else(|| {
        let shown = path.display();
        format!("`{shown}` is no envelope, feed answer or gatepass that this version knows").into()
    })
}

fn any(bytes: &[u8]) -> Option<Value> {
    json_envelope(bytes)
        .or_else(|| gatepass(bytes))
        .or_else(|| envelope(bytes))
        .or_else(|| feed(bytes))
}

/// DSSE JSON.
fn json_envelope(bytes: &[u8]) -> Option<Value> {
    let envelope: Value = serde_json::from_slice(bytes).ok()?;
    let payload = STANDARD.decode(envelope.get("payload")?.as_str()?).ok()?;
    Some(json!({
        "payload_type": envelope.get("payloadType")?,
        "signatures": envelope.get("signatures")?.as_array()?.len(),
        "payload": serde_json::from_slice::<Value>(&payload).ok()?,
    }))
}

/// A compact JWS.
fn gatepass(bytes: &[u8]) -> Option<Value> {
    let text = core::str::from_utf8(bytes).ok()?.trim();
    let mut parts = text.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).ok());
    let (header, claims, _signature) = (parts.next()??, parts.next()??, parts.next()??);
    let read = |part: &[u8]| serde_json::from_slice::<Value>(part).ok();
    Some(json!({ "header": read(&header)?, "claims": read(&claims)? }))
}

/// DSSE in postcard.
fn envelope(bytes: &[u8]) -> Option<Value> {
    type Wire<'a> = (&'a str, &'a [u8], Vec<&'a [u8]>);
    let (payload_type, payload, signatures) = exact::<Wire<'_>>(bytes, "the envelope").ok()?;
    Some(json!({
        "payload_type": payload_type,
        "signatures": signatures.len(),
        "payload": batch(&Batch::decode(payload).ok()?),
    }))
}

fn feed(bytes: &[u8]) -> Option<Value> {
    let feed = Feed::decode(bytes).ok()?;
    let roots: Option<Vec<Value>> = feed.roots.iter().map(|root| json_envelope(root)).collect();
    let batches: Option<Vec<Value>> = feed.batches.iter().map(|one| envelope(one)).collect();
    Some(json!({ "roots": roots?, "batches": batches? }))
}

fn batch(batch: &Batch<'_>) -> Value {
    let header = &batch.header;
    let digest = |digest: &[u8; 32]| URL_SAFE_NO_PAD.encode(digest);
    json!({
        "header": {
            "shape": format!("{:?}", header.shape()).to_lowercase(),
            "environment": header.environment,
            "feed_audience": header.feed_audience,
            "root_version": header.root_version,
            "epoch": header.epoch,
            "from": header.from,
            "to": header.to,
            "part": header.part,
            "parts": header.parts,
            "whole_digest": digest(&header.whole_digest),
            "hash_key_id": format!("{:016x}", header.hash_key_id),
            "issued_at": header.issued_at,
            "expires_at": header.expires_at,
            "min_filter": header.min_filter,
            "audit_head": header.audit_head.as_ref().map(digest),
        },
        "revocations": batch.revocations.map(revocations),
        "keys": batch.keys.map(keys),
        "bundle": batch.bundle.map(|bytes| match exact::<Bundle>(bytes, "the bundle") {
            Ok(bundle) => json!(bundle),
            Err(_) => json!({ "share_bytes": bytes.len() }),
        }),
    })
}

fn revocations(bytes: &[u8]) -> Value {
    let Ok(change) = exact::<Change>(bytes, "the revocations") else {
        return json!({ "bytes": bytes.len() });
    };
    let items = change.items.iter().map(|item| {
        json!({
            "kind": item.kind,
            "key": format!("{:016x}", item.key),
            "below": item.below,
            "drop_after": item.drop_after,
        })
    });
    json!({
        "hash_key": change.hash_key.map(|key| URL_SAFE_NO_PAD.encode(key)),
        "total": change.total,
        "items": items.collect::<Vec<_>>(),
    })
}

fn keys(bytes: &[u8]) -> Value {
    let Ok(keys) = exact::<IssuerKeys>(bytes, "the keys") else {
        return json!({ "bytes": bytes.len() });
    };
    let list = keys.keys.iter().map(|key| {
        json!({
            "kid": KeyId::of(&key.public).to_string(),
            "issuer": key.issuer,
            "algorithm": gatepass::issue::algorithm_name(key.algorithm),
            "not_before": key.not_before,
            "not_after": key.not_after,
        })
    });
    json!({ "version": keys.version, "keys": list.collect::<Vec<_>>() })
}
