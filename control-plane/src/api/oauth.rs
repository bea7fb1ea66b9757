//! The endpoints for agents: OAuth 2.0 as published clients speak it (RFC 6749, 8693, 7523, 9396,
//! 8707, 8414, 7662, 7009), and their tasks.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, Query, State};
use axum::http::{HeaderMap, Request as HttpRequest, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use gatepass_engine::bundle::{RouteTarget, Treatment};
use gatepass_engine::routes::Index;
use serde_json::{Value, json};

use super::{auth, status};
use crate::audit::Entry;
use crate::db::Tx;
use crate::desk::assertion::{self, ASSERTION_TYPE, AgentKeys, Assertion};
use crate::desk::operators::Need;
use crate::desk::tasks::{self, Task};
use crate::desk::token::{self, Denied, OAuthError, Request};
use crate::desk::{Refused, agents, ceiling};
use crate::issue;
use crate::jwks::jwks;
use crate::metrics::Outcome;
use crate::server::Shared;

pub(super) fn router(shared: &Shared) -> Router<Arc<Shared>> {
    // RFC 8414 section 3.1: the well-known part goes before the issuer's path.
    let path = shared.issuer.split_once("://").and_then(|(_, rest)| rest.split_once('/'));
    let path = path.map_or(String::new(), |(_, path)| format!("/{}", path.trim_end_matches('/')));
    let mut router = Router::new()
        .route("/oauth2/token", post(issue_one))
        .route("/oauth2/introspect", post(introspect))
        .route("/oauth2/revoke", post(revoke))
        .route("/oauth2/jwks", get(keys))
        .route(PROTECTED_RESOURCE, get(protected_resource))
        .route("/v1/tasks", post(open_task))
        .route("/v1/tasks/complete", post(complete_task))
        .route("/healthz", get(status::health))
        .route(WELL_KNOWN, get(metadata));
    if path != "/" && !path.is_empty() {
        router = router
            .route(&format!("{WELL_KNOWN}{path}"), get(metadata))
            .route(&format!("{path}/oauth2/token"), post(issue_one))
            .route(&format!("{path}/oauth2/introspect"), post(introspect))
            .route(&format!("{path}/oauth2/revoke"), post(revoke))
            .route(&format!("{path}/oauth2/jwks"), get(keys))
            .route(&format!("{path}{PROTECTED_RESOURCE}"), get(protected_resource));
    }
    router
}

/// RFC 8414.
async fn metadata(State(shared): State<Arc<Shared>>) -> Response {
    let issuer = shared.issuer.trim_end_matches('/');
    answer(
        StatusCode::OK,
        &json!({
            "issuer": shared.issuer,
            "token_endpoint": format!("{issuer}/oauth2/token"),
            "introspection_endpoint": format!("{issuer}/oauth2/introspect"),
            "revocation_endpoint": format!("{issuer}/oauth2/revoke"),
            "jwks_uri": format!("{issuer}/oauth2/jwks"),
            "grant_types_supported": [CLIENT_CREDENTIALS, TOKEN_EXCHANGE],
            "response_types_supported": [],
            "token_endpoint_auth_methods_supported": ["private_key_jwt"],
            "token_endpoint_auth_signing_alg_values_supported": ["EdDSA", "ES256", "PS256", "RS256"],
            "introspection_endpoint_auth_methods_supported": ["private_key_jwt"],
            "introspection_endpoint_auth_signing_alg_values_supported":
                ["EdDSA", "ES256", "PS256", "RS256"],
            "revocation_endpoint_auth_methods_supported": ["private_key_jwt"],
            "revocation_endpoint_auth_signing_alg_values_supported":
                ["EdDSA", "ES256", "PS256", "RS256"],
            "authorization_details_types_supported": [gatepass_engine::entry::ENTRY_TYPE],
        }),
    )
}

/// RFC 9728: what gates name in their challenges to callers of MCP and its like. Here and not at the resource,
/// because the policy is here; a client takes the address that the challenge gives.
async fn protected_resource(
    State(shared): State<Arc<Shared>>,
    Query(asked): Query<Vec<(String, String)>>,
) -> Response {
    let mut named = asked.iter().filter(|(name, _)| name == "resource").map(|(_, value)| value);
    let (Some(resource), None) = (named.next(), named.next()) else {
        return answer(
            StatusCode::BAD_REQUEST,
            &json!({"error": "invalid_request", "error_description": "`resource` is asked for, once"}),
        );
    };
    let index = shared.db.book().index();
    let Some(scopes) = scopes_of(&index, resource) else {
        return answer(
            StatusCode::NOT_FOUND,
            &json!({"error": "invalid_target", "error_description": "no such resource"}),
        );
    };
    answer(
        StatusCode::OK,
        &json!({
            "resource": resource,
            "authorization_servers": [shared.issuer],
            "scopes_supported": scopes,
            "bearer_methods_supported": ["header"],
            "authorization_details_types_supported": [gatepass_engine::entry::ENTRY_TYPE],
        }),
    )
}

/// What the actions at hosts of an audience demand; `None` where the policy has no such host.
fn scopes_of(index: &Index, audience: &str) -> Option<BTreeSet<String>> {
    let bundle = index.bundle();
    let mut hosts = bundle.hosts.iter().filter(|host| host.audience == audience).peekable();
    hosts.peek()?;
    let routes = hosts.flat_map(|host| match &host.treatment {
        Treatment::Guarded(routes) => routes.as_slice(),
        Treatment::PassedThrough => &[],
    });
    let actions = routes.filter_map(|route| match route.target {
        RouteTarget::Public => None,
        RouteTarget::Action(at) => usize::try_from(at).ok().and_then(|at| bundle.actions.get(at)),
    });
    let scopes = actions.flat_map(|action| action.scopes_all.iter().chain(&action.scopes_any));
    Some(scopes.cloned().collect())
}

async fn keys(State(shared): State<Arc<Shared>>) -> Response {
    answer(StatusCode::OK, &jwks(&shared.db.book().issuer_keys()))
}

async fn issue_one(State(shared): State<Arc<Shared>>, form: Posted) -> Response {
    let issued = issued(&shared, form).await;
    let outcome = match &issued {
        Ok(_) => "issued",
        Err(denied) => denied.error.as_str(),
    };
    shared.metrics.issued.get_or_create(&Outcome { outcome }).inc();
    match issued {
        Ok(body) => answer(StatusCode::OK, &body),
        Err(denied) => {
            // As Debug: the description may repeat what was sent, line feeds too.
            tracing::info!(error = %denied.error, why = ?denied.description, "nothing was issued");
            refusal(&denied)
        }
    }
}

async fn issued(shared: &Arc<Shared>, form: Posted) -> Result<Value, Denied> {
    let form = Parameters::read(form)?;
    let exchange = match form.one("grant_type")? {
        Some(CLIENT_CREDENTIALS) => false,
        Some(TOKEN_EXCHANGE) => true,
        Some(_) => {
            return Err(Denied::new(
                OAuthError::UnsupportedGrantType,
                "expected `client_credentials` or token exchange",
            ));
        }
        None => return Err(missing("grant_type")),
    };
    let assertion = known_client(shared, &form).await?;
    shared.rates.take(&assertion.agent, shared.config.issued_per_minute, shared.db.now())?;
    let request = request(&form, assertion, exchange)?;
    let agent = request.assertion.agent.clone();
    let issued: Result<token::Issued, Denied> =
        shared.db.write_in_one(async move |tx: &mut Tx| token::issue(tx, request).await).await?;
    let issued = issued.inspect_err(|denied| {
        // Its key may have been removed: whoever has that is not the agent, and must not use up the
        // agent's share.
        if denied.error == OAuthError::InvalidClient {
            shared.known_keys.forget(&agent);
        }
    })?;
    // Signed after the commit: whoever holds it is on record.
    let algorithm = gatepass_engine::keyring::Algorithm::EdDsa;
    let signed = issue::sign_text(&issued.claims, algorithm, &*issued.key.key);
    let mut body = json!({
        "access_token": signed,
        "token_type": "Bearer",
        "expires_in": issued.expires_in,
        "authorization_details": issued.details,
        "task": issued.task,
    });
    if let Some(members) = body.as_object_mut() {
        if !issued.scope.is_empty() {
            members.insert("scope".to_owned(), issued.scope.into());
        }
        if exchange {
            members.insert("issued_token_type".to_owned(), ACCESS_TOKEN.into());
        }
    }
    Ok(body)
}

fn request(form: &Parameters, assertion: Assertion, exchange: bool) -> Result<Request, Denied> {
    let details =
        form.one("authorization_details")?.ok_or_else(|| missing("authorization_details"))?;
    let subject_token = match exchange {
        false => None,
        true => {
            let kind =
                form.one("subject_token_type")?.ok_or_else(|| missing("subject_token_type"))?;
            if kind != ACCESS_TOKEN && kind != JWT {
                return Err(Denied::new(
                    OAuthError::InvalidRequest,
                    "`subject_token_type`: a gatepass is an access token",
                ));
            }
            for unsupported in ["actor_token", "actor_token_type"] {
                if form.one(unsupported)?.is_some() {
                    return Err(Denied::new(
                        OAuthError::InvalidRequest,
                        "the actor is whoever made the client assertion: leave `actor_token` out",
                    ));
                }
            }
            if form
                .one("requested_token_type")?
                .is_some_and(|kind| kind != ACCESS_TOKEN && kind != JWT)
            {
                return Err(Denied::new(
                    OAuthError::InvalidRequest,
                    "`requested_token_type`: only access tokens are issued",
                ));
            }
            Some(form.one("subject_token")?.ok_or_else(|| missing("subject_token"))?.to_owned())
        }
    };
    let lifetime = form.one("lifetime")?.map(|text| text.parse::<u64>().ok().filter(|s| *s > 0));
    let lifetime = match lifetime {
        Some(None) => {
            return Err(Denied::new(
                OAuthError::InvalidRequest,
                "`lifetime` is a number of seconds",
            ));
        }
        other => other.flatten(),
    };
    let scopes = form.one("scope")?.unwrap_or_default().split_ascii_whitespace();
    let mut resources: Vec<String> = form.all("resource").map(str::to_owned).collect();
    resources.extend(form.all("audience").map(str::to_owned));
    if resources.len() > MAX_RESOURCES {
        return Err(Denied::new(OAuthError::InvalidTarget, "too many of `resource`"));
    }
    Ok(Request {
        assertion,
        entries: ceiling::entries(details)?,
        scopes: scopes.map(str::to_owned).collect(),
        resources,
        task: form.one("task")?.map(str::to_owned),
        lifetime,
        subject_token,
    })
}

/// RFC 7662, for agents and for operators who may read.
async fn introspect(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    form: Posted,
) -> Response {
    let answered: Result<Value, Denied> = async {
        let form = Parameters::read(form)?;
        let spent = match auth::bearer(&headers) {
            Some(_) => {
                auth::operator(&shared, &headers, Need::Read).await.map_err(|refused| {
                    Denied::new(OAuthError::InvalidClient, refused.to_string())
                })?;
                None
            }
            None => Some(client(&shared, &form).await?),
        };
        let presented = form.one("token")?.ok_or_else(|| missing("token"))?.to_owned();
        let active: Result<Result<Value, String>, Denied> = shared
            .db
            .write(async move |tx: &mut Tx| {
                if let Some(assertion) = &spent {
                    token::spend(tx, assertion).await?;
                }
                let now = tx.now();
                Ok(token::is_active(&presented, tx.publisher(), now))
            })
            .await;
        Ok(match active? {
            Ok(Value::Object(mut claims)) => {
                claims.insert("active".to_owned(), true.into());
                claims.insert("token_type".to_owned(), "Bearer".into());
                Value::Object(claims)
            }
            // RFC 7662 section 2.2: nothing else is said of a token that is not active.
            Ok(_) | Err(_) => json!({ "active": false }),
        })
    }
    .await;
    match answered {
        Ok(body) => answer(StatusCode::OK, &body),
        Err(denied) => refusal(&denied),
    }
}

/// RFC 7009: an agent gives a gatepass of its own back. Unknown ones are answered alike.
async fn revoke(State(shared): State<Arc<Shared>>, form: Posted) -> Response {
    let answered: Result<Value, Denied> = async {
        let form = Parameters::read(form)?;
        let assertion = client(&shared, &form).await?;
        let presented = form.one("token")?.ok_or_else(|| missing("token"))?.to_owned();
        shared
            .db
            .write(async move |tx: &mut Tx| {
                token::spend(tx, &assertion).await?;
                token::give_back(tx, &assertion.agent, &presented).await
            })
            .await?;
        Ok(json!({}))
    }
    .await;
    match answered {
        Ok(body) => answer(StatusCode::OK, &body),
        Err(denied) => refusal(&denied),
    }
}

async fn open_task(State(shared): State<Arc<Shared>>, form: Posted) -> Response {
    let answered: Result<Value, Denied> = async {
        let form = Parameters::read(form)?;
        let assertion = client(&shared, &form).await?;
        shared.rates.take(&assertion.agent, shared.config.issued_per_minute, shared.db.now())?;
        let purpose = form.one("purpose")?.unwrap_or_default().to_owned();
        if purpose.chars().count() > MAX_PURPOSE || purpose.chars().any(char::is_control) {
            return Err(Denied::new(
                OAuthError::InvalidRequest,
                "`purpose`: at most 200 characters on one line",
            ));
        }
        let opened: Result<String, Denied> = shared
            .db
            .write(async move |tx: &mut Tx| -> Result<_, Denied> {
                token::spend(tx, &assertion).await?;
                token::kept(opened(tx, &assertion, &purpose).await)
            })
            .await?;
        Ok(json!({ "task": opened? }))
    }
    .await;
    match answered {
        Ok(body) => answer(StatusCode::OK, &body),
        Err(denied) => refusal(&denied),
    }
}

async fn opened(tx: &mut Tx, assertion: &Assertion, purpose: &str) -> Result<String, Denied> {
    token::may_work(tx, assertion).await?;
    let task = tasks::new_id();
    tasks::open(tx, &task, &assertion.agent, purpose).await?;
    tx.audit(Entry {
        actor: &assertion.agent,
        action: "task.open",
        target: &assertion.agent,
        before: Value::Null,
        after: json!({ "task": task }),
        reason: purpose,
    })
    .await?;
    Ok(task)
}

/// The work is done: every gatepass under the task is dead.
async fn complete_task(State(shared): State<Arc<Shared>>, form: Posted) -> Response {
    let answered: Result<Value, Denied> = async {
        let form = Parameters::read(form)?;
        let assertion = client(&shared, &form).await?;
        let id = form.one("task")?.ok_or_else(|| missing("task"))?.to_owned();
        let position: Result<String, Denied> = shared
            .db
            .write(async move |tx: &mut Tx| -> Result<_, Denied> {
                token::spend(tx, &assertion).await?;
                token::kept(completed(tx, &assertion.agent, &id).await)
            })
            .await?;
        Ok(json!({ "position": position? }))
    }
    .await;
    match answered {
        Ok(body) => answer(StatusCode::OK, &body),
        Err(denied) => refusal(&denied),
    }
}

async fn completed(tx: &mut Tx, agent: &str, id: &str) -> Result<String, Denied> {
    let unknown = || Denied::new(OAuthError::InvalidRequest, "the agent has no task of this id");
    let task = match Task::find(tx.sql(), id).await {
        Ok(task) if task.agent == agent => task,
        Ok(_) | Err(Refused::NotFound { .. }) => return Err(unknown()),
        Err(other) => return Err(other.into()),
    };
    if tasks::end(tx, &task, "completed").await? {
        tx.audit(Entry {
            actor: agent,
            action: "task.complete",
            target: agent,
            before: json!({ "task": task.id, "state": "open" }),
            after: json!({ "task": task.id, "state": "completed" }),
            reason: "",
        })
        .await?;
    }
    Ok(tx.position().to_string())
}

/// The agent that made the client assertion. Its `jti` is not spent yet: that is part of whatever
/// it is for.
async fn client(shared: &Arc<Shared>, form: &Parameters) -> Result<Assertion, Denied> {
    proved(shared, Proof::read(form)?).await
}

/// [`client`] for issuing, whose transaction asks again whether the key is the agent's: the keys may
/// be those that were read for an earlier request.
async fn known_client(shared: &Arc<Shared>, form: &Parameters) -> Result<Assertion, Denied> {
    let proof = Proof::read(form)?;
    let known = shared.known_keys.of(&proof.agent);
    let known = known.map(|keys| keys.verify(proof.assertion, &shared.issuer, shared.db.now()));
    match known {
        Some(Ok(assertion)) => Ok(assertion),
        // A key may have been added since.
        Some(Err(_)) | None => proved(shared, proof).await,
    }
}

async fn proved(shared: &Arc<Shared>, proof: Proof<'_>) -> Result<Assertion, Denied> {
    let invalid = |why: String| Denied::new(OAuthError::InvalidClient, why);
    let mut connection = shared.db.readers().acquire().await?;
    let stored = agents::keys(&mut connection, &proof.agent).await?;
    drop(connection);
    let keys = AgentKeys::read(&proof.agent, &stored).map_err(invalid)?;
    let assertion = keys.verify(proof.assertion, &shared.issuer, shared.db.now());
    let assertion = assertion.map_err(invalid)?;
    shared.known_keys.keep(proof.agent, keys);
    Ok(assertion)
}

/// A client assertion that nobody has verified yet.
struct Proof<'a> {
    assertion: &'a str,
    /// Whose it claims to be.
    agent: String,
}

impl<'a> Proof<'a> {
    fn read(form: &'a Parameters) -> Result<Self, Denied> {
        let invalid = |why: String| Denied::new(OAuthError::InvalidClient, why);
        match form.one("client_assertion_type")? {
            Some(ASSERTION_TYPE) => {}
            Some(_) => {
                return Err(invalid(format!("`client_assertion_type` must be `{ASSERTION_TYPE}`")));
            }
            None => {
                return Err(invalid(
                    "agents prove themselves with `client_assertion` (private_key_jwt)".to_owned(),
                ));
            }
        }
        let assertion = form.one("client_assertion")?.ok_or_else(|| missing("client_assertion"))?;
        let agent = assertion::claimed_agent(assertion).map_err(invalid)?;
        if form.one("client_id")?.is_some_and(|id| id != agent) {
            return Err(invalid("`client_id` is not the agent of the assertion".to_owned()));
        }
        Ok(Self { assertion, agent })
    }
}

/// A form as it was posted, not read yet.
struct Posted {
    is_form: bool,
    body: Bytes,
}

impl<S: Send + Sync> FromRequest<S> for Posted {
    type Rejection = BytesRejection;

    async fn from_request(request: HttpRequest<Body>, state: &S) -> Result<Self, BytesRejection> {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let kind = kind.and_then(|kind| kind.split(';').next());
        let is_form = kind.is_some_and(|kind| kind.trim() == FORM);
        Ok(Self { is_form, body: Bytes::from_request(request, state).await? })
    }
}

/// The parameters of a form; each at most once, but for those that may repeat.
struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// Reads no more than may be there: a body of `&` and `=` would be twenty times its size.
    fn read(form: Posted) -> Result<Self, Denied> {
        let invalid = |why: &str| Err(Denied::new(OAuthError::InvalidRequest, why));
        if !form.is_form {
            return invalid("send `application/x-www-form-urlencoded`");
        }
        let pairs = form_urlencoded::parse(&form.body).take(MAX_PARAMETERS + 1);
        let pairs: Vec<(String, String)> =
            pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
        if pairs.len() > MAX_PARAMETERS {
            return invalid("too many parameters");
        }
        Ok(Self(pairs))
    }

    /// RFC 6749 section 3.2: a parameter twice is an error, an empty one is none.
    fn one(&self, name: &str) -> Result<Option<&str>, Denied> {
        let mut all = self.all(name);
        match (all.next(), all.next()) {
            (one, None) => Ok(one),
            (_, Some(_)) => {
                Err(Denied::new(OAuthError::InvalidRequest, format!("`{name}` stands there twice")))
            }
        }
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        let named = self.0.iter().filter(move |(key, value)| key == name && !value.is_empty());
        named.map(|(_, value)| value.as_str())
    }
}

fn missing(name: &str) -> Denied {
    Denied::new(OAuthError::InvalidRequest, format!("`{name}` is missing"))
}

fn refusal(denied: &Denied) -> Response {
    let status = match denied.error {
        OAuthError::InvalidClient => StatusCode::UNAUTHORIZED,
        OAuthError::AccessDenied => StatusCode::FORBIDDEN,
        OAuthError::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
        OAuthError::TemporarilyUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        OAuthError::ServerError => StatusCode::INTERNAL_SERVER_ERROR,
        OAuthError::InvalidRequest
        | OAuthError::InvalidGrant
        | OAuthError::UnauthorizedClient
        | OAuthError::UnsupportedGrantType
        | OAuthError::InvalidScope
        | OAuthError::InvalidTarget
        | OAuthError::InvalidAuthorizationDetails => StatusCode::BAD_REQUEST,
    };
    // RFC 6749 section 5.2 allows printable ASCII without quotes and backslashes.
    let description: String = denied
        .description
        .chars()
        .map(|c| if c.is_ascii() && !c.is_ascii_control() && c != '\\' { c } else { '?' })
        .map(|c| if c == '"' { '\'' } else { c })
        .collect();
    let body = json!({ "error": denied.error.as_str(), "error_description": description });
    let mut response = answer(status, &body);
    if status == StatusCode::UNAUTHORIZED {
        let challenge = header::HeaderValue::from_static("Bearer");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    }
    if matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
        response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("5"));
    }
    response
}

fn answer(status: StatusCode, body: &Value) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-store"),
        (header::PRAGMA, "no-cache"),
    ];
    (status, headers, Bytes::from(body.to_string())).into_response()
}

const PROTECTED_RESOURCE: &str = "/oauth2/protected-resource";
const WELL_KNOWN: &str = "/.well-known/oauth-authorization-server";
const CLIENT_CREDENTIALS: &str = "client_credentials";
const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
const FORM: &str = "application/x-www-form-urlencoded";
const MAX_PARAMETERS: usize = 64;
const MAX_RESOURCES: usize = 8;
const MAX_PURPOSE: usize = 200;
