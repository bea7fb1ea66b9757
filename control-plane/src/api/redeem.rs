//! `POST /v1/redeem`: a gate has a use spent or a record stored, and gets a verdict that is signed.
//!
//! Whoever may ask could use up what others were granted, so it takes more than to follow the feed: a client
//! certificate. A join token, which every Envoy of a fleet has in its environment, is refused.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use gatepass_engine::clock::UnixSeconds;
use gatepass_engine::ids::is_token;
use gatepass_engine::position::Position;
use gatepass_engine::redeem::Verdict;
use serde::Deserialize;
use serde_json::Value;

use super::endpoint::text;
use super::problem::Problem;
use crate::desk::Refused;
use crate::desk::redeem::{Asks, Decided, Question, redeem, verdict};
use crate::listen::Peer;
use crate::metrics::Redeemed;
use crate::server::Shared;

/// The question's JSON.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    jti: String,
    nonce: String,
    exp: UnixSeconds,
    kind: Kind,
    /// Where the gate is.
    position: (u64, u64),
    record: Option<Value>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Use,
    Audit,
}

pub(super) async fn answer(
    State(shared): State<Arc<Shared>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let counted = |verdict| {
        shared.metrics.redeemed.get_or_create(&Redeemed { verdict }).inc();
    };
    let answered = answered(&shared, &peer, &headers, body).await;
    match &answered {
        Ok((verdict, _)) => counted(name(*verdict)),
        Err(_) => counted("error"),
    }
    answered.map(|(_, response)| response)
}

async fn answered(
    shared: &Arc<Shared>,
    peer: &Peer,
    headers: &HeaderMap,
    body: Body,
) -> Result<(Verdict, Response), Problem> {
    let Some(identity) = &peer.identity else {
        return Err(weak(headers));
    };
    let gate = identity.name().as_str().to_owned();
    // Before the body is held: only so many may hold one.
    let Ok(_place) = shared.redeems.try_acquire() else {
        return Err(busy());
    };
    let body = to_bytes(body, MAX_BODY_BYTES)
        .await
        .map_err(|_| Refused::invalid("body", format!("send at most {MAX_BODY_BYTES} bytes")))?;
    let question = question(&body)?;
    let signers = shared.db.book().signers();
    if signers.redeem().is_empty() {
        tracing::error!("no redeem key signs: name one in the next root document");
        return Err(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "no_redeem_key",
            "no `redeem` key that the root document in force names lies in the directory: nothing was spent",
        ));
    }
    let asked = question.clone();
    let decided: Decided =
        shared.db.write_in_one(async move |tx| redeem(tx, &gate, &asked).await).await?;
    // It is on the disk. What fails from here on loses an answer, and not the use.
    let envelope =
        verdict(&shared.environment, &question, decided, &signers).map_err(Refused::from)?;
    Ok((decided.verdict, text("application/json", envelope)))
}

fn question(body: &[u8]) -> Result<Question, Refused> {
    let wire: Wire = gatepass_engine::json::from_slice(body)
        .map_err(|error| Refused::invalid("body", error.to_string()))?;
    for (name, value) in [("jti", &wire.jti), ("nonce", &wire.nonce)] {
        if !is_token(value) {
            return Err(Refused::invalid(name, "1 to 128 visible ASCII characters"));
        }
    }
    if wire.nonce.len() < MIN_NONCE {
        return Err(Refused::invalid("nonce", "too short to be of one question alone"));
    }
    let record = match wire.record {
        None => None,
        Some(record @ Value::Object(_)) => Some(record.to_string()),
        Some(_) => return Err(Refused::invalid("record", "expected an object")),
    };
    let asks = match (wire.kind, record) {
        (Kind::Use, record) => Asks::Use(record),
        (Kind::Audit, Some(record)) => Asks::Record(record),
        (Kind::Audit, None) => return Err(Refused::invalid("record", "what is to be stored?")),
    };
    Ok(Question {
        jti: wire.jti,
        nonce: wire.nonce,
        expires: wire.exp,
        position: Position { epoch: wire.position.0, sequence: wire.position.1 },
        asks,
    })
}

/// Whoever shows no certificate, with a join token or without.
fn weak(headers: &HeaderMap) -> Problem {
    let with = match headers.contains_key(header::AUTHORIZATION) {
        true => "a join token is for following the feed",
        false => "no client certificate was shown",
    };
    Problem::new(
        StatusCode::FORBIDDEN,
        "weak_identity",
        format!(
            "{with}: uses are spent and records confirmed for gates that show a client certificate"
        ),
    )
}

fn busy() -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "too many ask at once; try again")
}

const fn name(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Granted => "granted",
        Verdict::Spent => "spent",
        Verdict::Stored => "stored",
        Verdict::Refused => "refused",
    }
}

/// Of a question with its record.
const MAX_BODY_BYTES: usize = 16 * 1024;
/// Characters: 96 bits in base64url.
const MIN_NONCE: usize = 16;
