//! One endpoint of the admin API: what serves it and what the OpenAPI document says of it, in one
//! place, so that neither can be without the other.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, get, post};
use serde::de::DeserializeOwned;
use serde_json::Value;
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::problem::Problem;
use super::{auth, json};
use crate::desk::change::{Asked, Change};
use crate::desk::operators::{Need, Who};
use crate::desk::proposals::{self, Outcome};
use crate::desk::{Refused, apply, compiled};
use crate::metrics::ChangeName;
use crate::server::Shared;

pub(crate) struct Endpoint {
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    pub(crate) summary: &'static str,
    pub(crate) need: Need,
    /// Query parameters with what they are for.
    pub(crate) query: &'static [(&'static str, &'static str)],
    pub(crate) request: Option<Value>,
    pub(crate) answer: Value,
    /// The answer's media type.
    pub(crate) kind: &'static str,
    /// The schemas that those of request and answer refer to, by name.
    pub(crate) referred: Vec<(String, RefOr<Schema>)>,
    /// Whether the request states why.
    pub(crate) has_reason: bool,
    /// Whether it may answer 202 and wait for a second person.
    pub(crate) may_wait: bool,
    pub(crate) handler: MethodRouter<Arc<Shared>>,
}

/// Parameters of a path and of a query.
pub(super) type Names = BTreeMap<String, String>;
/// What a path says, or why it cannot be read; [`in_path`] makes that a problem like any other.
pub(super) type PathNames = Result<Path<Names>, PathRejection>;
type QueryNames = Result<Query<Names>, QueryRejection>;

impl Endpoint {
    /// A change: its members are the body's and the path's, and `reason` goes on record.
    pub(super) fn change<C>(path: &'static str, summary: &'static str) -> Self
    where
        C: DeserializeOwned + Asked + ToSchema + Send + 'static,
    {
        let handler =
            async |State(shared): State<Arc<Shared>>,
                   names: PathNames,
                   headers: HeaderMap,
                   body: Bytes| { change::<C>(&shared, names, &headers, &body).await };
        Self {
            method: "post",
            path,
            summary,
            need: C::NEED,
            query: &[],
            request: Some(schema::<C>()),
            answer: schema::<apply::Done>(),
            kind: JSON,
            referred: referred::<C>(),
            has_reason: true,
            may_wait: true,
            handler: post(handler),
        }
    }

    /// A question.
    pub(super) fn read<T, A>(
        path: &'static str,
        summary: &'static str,
        need: Need,
        ask: fn(Arc<Shared>, Names, Names) -> A,
    ) -> Self
    where
        T: ToSchema,
        A: Future<Output = Result<Value, Refused>> + Send + 'static,
    {
        let handler = async move |State(shared): State<Arc<Shared>>,
                                  names: PathNames,
                                  query: QueryNames,
                                  headers: HeaderMap| {
            let answered: Result<Response, Problem> = async {
                auth::operator(&shared, &headers, need).await?;
                let (names, query) = (in_path(names)?, in_query(query)?);
                Ok(json(&ask(Arc::clone(&shared), names, query).await?))
            }
            .await;
            answered
        };
        Self {
            method: "get",
            path,
            summary,
            need,
            query: &[],
            request: None,
            answer: schema::<T>(),
            kind: JSON,
            referred: referred::<T>(),
            has_reason: false,
            may_wait: false,
            handler: get(handler),
        }
    }

    pub(super) const fn with_query(
        mut self,
        query: &'static [(&'static str, &'static str)],
    ) -> Self {
        self.query = query;
        self
    }
}

async fn change<C>(
    shared: &Arc<Shared>,
    names: PathNames,
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<Response, Problem>
where
    C: DeserializeOwned + Asked,
{
    // Before the body is looked at: whoever may not ask learns nothing from what they sent.
    let who = auth::operator(shared, headers, C::NEED).await?;
    let (members, reason) = members(headers, body)?;
    let change: C = read(members, in_path(names)?)?;
    let change: Change = change.into();
    let name = change.name();
    let outcome = asked(shared, who, change, reason).await;
    let told = match &outcome {
        Ok(Outcome::Done(_)) => "done",
        Ok(Outcome::Proposed { .. }) => "proposed",
        Err(_) => "refused",
    };
    shared.metrics.changes.get_or_create(&ChangeName { change: name, outcome: told }).inc();
    let outcome = outcome?;
    let status = match &outcome {
        Outcome::Done(_) => StatusCode::OK,
        Outcome::Proposed { .. } => StatusCode::ACCEPTED,
    };
    let mut response = json(&serde_json::to_value(&outcome).unwrap_or_default());
    *response.status_mut() = status;
    Ok(response)
}

async fn asked(
    shared: &Arc<Shared>,
    who: Who,
    change: Change,
    reason: String,
) -> Result<Outcome, Refused> {
    who.demand(change.need())?;
    compiled::prepare(&change, shared.db.readers()).await?;
    shared.db.write(async move |tx| proposals::ask(tx, &who, change, &reason).await).await
}

/// # Errors
/// [`Refused::Invalid`] for what is not UTF-8 once its percent-encoding is undone.
pub(super) fn in_path(names: PathNames) -> Result<Names, Refused> {
    let Path(names) = names.map_err(|error| Refused::invalid("path", error.body_text()))?;
    Ok(names)
}

fn in_query(query: QueryNames) -> Result<Names, Refused> {
    let Query(query) = query.map_err(|error| Refused::invalid("query", error.body_text()))?;
    Ok(query)
}

/// The body's members without `reason`, and the reason.
pub(super) fn members(
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<(serde_json::Map<String, Value>, String), Refused> {
    let mut members = object(headers, body)?;
    match members.remove("reason") {
        Some(Value::String(reason)) => Ok((members, reason)),
        _ => Err(Refused::invalid("reason", "say why: it goes on record")),
    }
}

/// The body of a question.
///
/// # Errors
/// [`Refused::Invalid`] names the member that is missing, unknown or ill-formed.
pub(super) fn question<Q: DeserializeOwned>(
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<Q, Refused> {
    read(object(headers, body)?, Names::new())
}

fn object(headers: &HeaderMap, body: &Bytes) -> Result<serde_json::Map<String, Value>, Refused> {
    let is_json = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|kind| kind.split(';').next().is_some_and(|k| k.trim() == "application/json"));
    if !is_json {
        return Err(Refused::invalid("content-type", "send `application/json`"));
    }
    // As strict as what is signed: a member twice means two things to two readers.
    let members: BTreeMap<String, Value> = gatepass_engine::json::from_slice(body)
        .map_err(|error| Refused::invalid("body", error.to_string()))?;
    Ok(members.into_iter().collect())
}

fn read<C: DeserializeOwned>(
    mut members: serde_json::Map<String, Value>,
    names: Names,
) -> Result<C, Refused> {
    for (name, value) in names {
        if members.contains_key(&name) {
            return Err(Refused::invalid(name, "stands in the path already"));
        }
        let number = value.parse::<u64>().ok().filter(|_| name == "version");
        members.insert(name, number.map_or(Value::String(value), Value::from));
    }
    serde_path_to_error::deserialize(Value::Object(members)).map_err(|error| {
        let path = error.path().to_string();
        let why = error.into_inner().to_string();
        // Of a member that is missing serde tells the name in its text only.
        let missing = why.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`'));
        let field = match (path.as_str(), missing) {
            (".", None) => "body".to_owned(),
            (".", Some(name)) => name.to_owned(),
            (_, None) => path,
            (_, Some(name)) => format!("{path}.{name}"),
        };
        Refused::invalid(field, why)
    })
}

pub(super) fn referred<T: ToSchema>() -> Vec<(String, RefOr<Schema>)> {
    let mut all = Vec::new();
    T::schemas(&mut all);
    all
}

/// A type's JSON schema.
pub(super) fn schema<T: ToSchema>() -> Value {
    serde_json::to_value(<T as PartialSchema>::schema()).unwrap_or_default()
}

/// An answer that is not JSON.
pub(super) fn text(kind: &'static str, body: String) -> Response {
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-store")], body).into_response()
}

pub(super) const JSON: &str = "application/json";
