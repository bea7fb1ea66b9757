//! Request confusion against a real Envoy: what the upstream received is held against what was
//! decided, over HTTP/1.1 and HTTP/2, with Envoy's path normalization and without it.
//!
//! A row is a hostile request and its twin, which differs in one thing and is allowed. Verdicts
//! without a code (`400`, `reset 1`) are Envoy's own refusals; they are facts about Envoy 1.40,
//! pinned so that an upgrade shows what it changes.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop where it is"
)]

mod ask;
mod bodies;
mod credentials;
mod digests;
mod gates;
mod grpc;
mod guide;
mod hosts;
mod methods;
mod paths;
mod queries;
mod reads;
mod smuggling;
mod spoofs;
mod streams;
mod survival;
mod trailers;
mod uploads;
