//! Targets for what the feed brings: envelopes, batches, bundles, the answer that holds them.

use gatepass_engine::batch::{Batch, Feed, Shape, exact};
use gatepass_engine::bundle::{Bundle, RouteTarget, Treatment};
use gatepass_engine::ed25519::PublicKey;
use gatepass_engine::envelope::{PayloadType, Unverified};
use gatepass_engine::routes::{HostMatch, Index, Matched};
use gatepass_engine::target::Target;
use serde::Deserialize;

use super::scene::{self, FEED};

/// Both encodings round-trip, and nothing verifies that another implementation does not verify.
pub fn envelope(bytes: &[u8]) {
    if let Ok(envelope) = Unverified::from_json(bytes) {
        assert_eq!(Unverified::from_json(envelope.to_json().as_bytes()).as_ref(), Ok(&envelope));
        check(&envelope);
    }
    if let Ok(envelope) = Unverified::from_postcard(bytes) {
        let written = envelope.to_postcard().unwrap_or_default();
        assert_eq!(Unverified::from_postcard(&written).as_ref(), Ok(&envelope));
        check(&envelope);
    }
}

fn check(envelope: &Unverified) {
    let Ok(key) = PublicKey::from_bytes(&scene::public(FEED)) else {
        return;
    };
    let ours = is_signed_batch(&envelope.to_postcard().unwrap_or_default());
    let verified = envelope.clone().verify(PayloadType::Batch, &[key]);
    assert_eq!(verified.is_ok(), ours);
    assert!(envelope.clone().verify(PayloadType::Batch, &[]).is_err());
}

/// Whether an envelope in postcard is a batch that the feed key signed, found by other means.
#[must_use]
pub fn is_signed_batch(bytes: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Wire<'a>(&'a str, &'a [u8], #[serde(borrow)] Vec<&'a [u8]>);
    let Ok(Wire(kind, payload, signatures)) = postcard::from_bytes::<Wire<'_>>(bytes) else {
        return false;
    };
    let mut message = format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len()).into_bytes();
    message.extend_from_slice(payload);
    kind == "application/vnd.gatepass.batch.v1+postcard"
        && signatures.iter().any(|signature| scene::signed_by(FEED, &message, signature))
}

/// What decodes is encoded and decoded to the same.
pub fn batch(bytes: &[u8]) {
    let Ok(batch) = Batch::decode(bytes) else {
        return;
    };
    let written = batch.encode().unwrap_or_default();
    assert_eq!(Batch::decode(&written).as_ref(), Ok(&batch));
    let header = &batch.header;
    assert!(header.part < header.parts && header.from <= header.to);
    assert!(header.epoch > 0 && header.to > 0);
    let changes = [batch.revocations, batch.keys, batch.bundle];
    if header.shape() == Shape::Checkpoint {
        assert!(changes.iter().all(Option::is_none));
    }
    let without = Batch { revocations: None, keys: None, bundle: None, ..batch.clone() };
    assert_eq!(without.digest() == batch.digest(), changes.iter().all(Option::is_none));
}

/// As [`batch`], of the answer that holds them.
pub fn feed(bytes: &[u8]) {
    let Ok(feed) = Feed::decode(bytes) else {
        return;
    };
    let written = feed.encode().unwrap_or_default();
    assert_eq!(Feed::decode(&written).as_ref(), Ok(&feed));
    assert!(feed.batches.len() <= 512 && feed.roots.len() <= 64);
}

/// A bundle that a gate takes finds each of its own routes.
pub fn bundle(bytes: &[u8]) {
    let Ok(bundle) = exact::<Bundle>(bytes, "the bundle") else {
        return;
    };
    assert_eq!(exact(&scene::postcard(&bundle), "the bundle").as_ref(), Ok(&bundle));
    let Ok(index) = Index::build(bundle.clone()) else {
        return;
    };
    for host in &bundle.hosts {
        for name in &host.names {
            let found = index.host(name);
            match (&host.treatment, found) {
                (Treatment::PassedThrough, Some(HostMatch::PassedThrough)) => {}
                (Treatment::Guarded(routes), Some(HostMatch::Guarded(guarded))) => {
                    assert_eq!(guarded.audience(), host.audience);
                    for route in routes {
                        check_route(&bundle, route, &guarded);
                    }
                }
                (_, found) => assert!(found.is_none() && host.names.is_empty(), "`{name}`"),
            }
        }
    }
    assert!(index.host("no.such.host").is_none() || bytes.len() > 12);
}

fn check_route(
    bundle: &Bundle,
    route: &gatepass_engine::bundle::Route,
    guarded: &gatepass_engine::routes::GuardedHost<'_>,
) {
    // A parameter's value that is no literal of a sensible policy.
    let segments = route.path.split('/').map(|segment| match segment.starts_with('{') {
        true => "zq.9",
        false => segment,
    });
    let path = segments.collect::<Vec<_>>().join("/");
    let target = Target::parse(path.as_bytes());
    assert!(target.is_ok(), "a template that could never match: `{path}`");
    let Ok(target) = target else { return };
    for method in &route.methods {
        // A second spelling of another route's literal may be ambiguous; it is never no route.
        let Ok(matched) = guarded.route(method, &target, &[]) else {
            continue;
        };
        assert!(matched.is_some(), "`{method} {path}` has no route");
        let found = match (matched, &route.call) {
            (Some(Matched::Route(found)), None) => Some(found),
            (Some(Matched::Calls(calls)), Some(call)) => {
                calls.find(&call.method, call.name.as_deref()).ok().flatten()
            }
            // A more specific route of the other kind.
            (_, _) => continue,
        };
        let action = found.as_ref().and_then(|found| found.action).map(|(_, action)| action);
        let RouteTarget::Action(id) = route.target else {
            continue;
        };
        let own = usize::try_from(id).ok().and_then(|id| bundle.actions.get(id));
        let literal = !route.path.contains('{');
        assert!(!literal || action == own, "`{method} {path}` is another route's");
    }
}
