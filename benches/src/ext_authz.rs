//! The smallest server that Envoy's `ext_authz` can ask for the same check: gRPC over HTTP/2 on one
//! thread, the signature by a native library, the claims that the benchmark's `rbac` asks for.
//!
//! It does less than the gate (no revocation, no entries, no policy), in its own favour.
//!
//! Usage: `ext-authz-min KEY KID`; it prints the port that it listens on.
#![expect(clippy::unwrap_used, reason = "a part of a benchmark should stop where it cannot go on")]

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::{HeaderMap, Request, Response};
use prost::Message;
use serde::Deserialize;

/// `envoy.service.auth.v3.CheckRequest`, as much of it as is read.
#[derive(Clone, PartialEq, Message)]
struct CheckRequest {
    #[prost(message, optional, tag = "1")]
    attributes: Option<Attributes>,
}

#[derive(Clone, PartialEq, Message)]
struct Attributes {
    #[prost(message, optional, tag = "4")]
    request: Option<RequestOf>,
}

#[derive(Clone, PartialEq, Message)]
struct RequestOf {
    #[prost(message, optional, tag = "2")]
    http: Option<HttpRequest>,
}

#[derive(Clone, PartialEq, Message)]
struct HttpRequest {
    #[prost(string, tag = "2")]
    method: String,
    #[prost(map = "string, string", tag = "3")]
    headers: HashMap<String, String>,
    #[prost(string, tag = "4")]
    path: String,
}

/// `envoy.service.auth.v3.CheckResponse`.
#[derive(Clone, PartialEq, Message)]
struct CheckResponse {
    #[prost(message, optional, tag = "1")]
    status: Option<Status>,
}

#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(int32, tag = "1")]
    code: i32,
}

#[derive(Deserialize)]
struct Header<'a> {
    alg: &'a str,
    kid: &'a str,
}

#[derive(Deserialize)]
struct Claims<'a> {
    iss: &'a str,
    #[serde(borrow)]
    aud: Vec<&'a str>,
    exp: u64,
    env: &'a str,
    client_id: &'a str,
    assurance: &'a str,
    scope: &'a str,
}

struct Server {
    key: UnparsedPublicKey<Vec<u8>>,
    kid: String,
}

impl Server {
    fn allows(&self, request: &HttpRequest) -> Option<()> {
        let token = request.headers.get("authorization")?.strip_prefix("Bearer ")?;
        let (input, signature) = token.rsplit_once('.')?;
        let (header, payload) = input.split_once('.')?;
        let header = URL_SAFE_NO_PAD.decode(header).ok()?;
        let header: Header<'_> = serde_json::from_slice(&header).ok()?;
        if header.alg != "EdDSA" || header.kid != self.kid {
            return None;
        }
        self.key.verify(input.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).ok()?).ok()?;
        let payload = URL_SAFE_NO_PAD.decode(payload).ok()?;
        let claims: Claims<'_> = serde_json::from_slice(&payload).ok()?;
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).ok()?;
        let good = claims.iss == "https://gatepass.example/prod"
            && claims.aud.contains(&"https://orders.example")
            && claims.exp > now.as_secs()
            && claims.env == "prod"
            && claims.client_id.starts_with("agent:")
            && claims.assurance == "federated"
            && claims.scope.split(' ').any(|one| one == "orders.read")
            && request.method == "GET"
            && request.path.starts_with("/orders");
        good.then_some(())
    }

    async fn check(&self, request: Request<Incoming>) -> Option<CheckResponse> {
        let body = request.into_body().collect().await.ok()?.to_bytes();
        // gRPC's frame: a flag and the length before each message.
        let message = CheckRequest::decode(body.get(5..)?).ok()?;
        let http = message.attributes?.request?.http?;
        let code = if self.allows(&http).is_some() { OK } else { PERMISSION_DENIED };
        Some(CheckResponse { status: Some(Status { code }) })
    }
}

async fn answer(
    server: Arc<Server>,
    request: Request<Incoming>,
) -> Result<Response<impl hyper::body::Body<Data = Bytes, Error = Infallible>>, Infallible> {
    let refused = CheckResponse { status: Some(Status { code: PERMISSION_DENIED }) };
    let response = server.check(request).await.unwrap_or(refused);
    let mut framed = vec![0];
    framed.extend(u32::try_from(response.encoded_len()).unwrap().to_be_bytes());
    framed.extend(response.encode_to_vec());
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", hyper::header::HeaderValue::from_static("0"));
    let body = Full::new(Bytes::from(framed)).with_trailers(async { Some(Ok(trailers)) });
    Ok(Response::builder().header("content-type", "application/grpc").body(body).unwrap())
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let key = URL_SAFE_NO_PAD.decode(arguments.next().unwrap()).unwrap();
    let server =
        Server { key: UnparsedPublicKey::new(&ED25519, key), kid: arguments.next().unwrap() };
    let server = Arc::new(server);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", listener.local_addr().unwrap().port());
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let server = Arc::clone(&server);
        tokio::spawn(async move {
            let service =
                hyper::service::service_fn(|request| answer(Arc::clone(&server), request));
            let io = hyper_util::rt::TokioIo::new(stream);
            let executor = hyper_util::rt::TokioExecutor::new();
            let http = hyper::server::conn::http2::Builder::new(executor);
            // Ends with Envoy's connection.
            let _ = http.serve_connection(io, service).await;
        });
    }
}

const OK: i32 = 0;
const PERMISSION_DENIED: i32 = 7;
