//! The command line's HTTP client: one request, one connection, one answer within bounds.
//!
//! It refuses to speak in clear to anything but loopback, to follow a redirect, and to read an
//! answer without end. A token goes to the host it was given for and to no other. Its errors are
//! for the person at the terminal: what went wrong, and what to do.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::uri::{Authority, Scheme, Uri};
use axum::http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

mod error;
mod trust;

pub use error::ClientError;

/// Speaks to one control plane.
pub struct Client {
    host: String,
    port: u16,
    authority: Authority,
    /// `None` is for loopback only.
    tls: Option<(TlsConnector, ServerName<'static>)>,
    token: Option<Zeroizing<String>>,
    limits: ClientLimits,
}

/// How long a client waits and how much it reads.
#[derive(Clone, Copy, Debug)]
pub struct ClientLimits {
    /// To connect, TLS included.
    pub connect_time: Duration,
    /// For the whole request, the connection included.
    pub request_time: Duration,
    pub answer_bytes: usize,
}

/// What came back, whatever its status.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// One part of a path, query or form: everything but unreserved characters is escaped (RFC 3986).
#[must_use]
pub fn escaped(text: &str) -> String {
    let plain =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    let one = |byte: u8| match plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    text.bytes().map(one).collect()
}

impl Client {
    /// `base_url` is a scheme, a host and perhaps a port. Without `ca_file` the authorities of
    /// this system are believed.
    ///
    /// # Errors
    /// [`ClientError`]: the URL, a token in it or beside it, clear text to another host, a file.
    pub fn new(
        base_url: &str,
        token: Option<Zeroizing<String>>,
        ca_file: Option<&Path>,
    ) -> Result<Self, ClientError> {
        let url = |what| ClientError::Url { url: base_url.to_owned(), what };
        if base_url.contains('@') {
            // Not repeated in the error: what stands before the `@` is a secret.
            return Err(ClientError::UserInUrl);
        }
        let parsed: Uri = base_url.parse().map_err(|_| url("it does not parse"))?;
        let parts = parsed.into_parts();
        let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else {
            return Err(url("it must begin with `https://` or `http://`"));
        };
        if parts.path_and_query.is_some_and(|path| path != "/") {
            return Err(url("it must end after the host and port"));
        }
        if let Some(token) = &token
            && HeaderValue::from_str(token).is_err()
        {
            return Err(ClientError::Token);
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let (tls, port) = if scheme == Scheme::HTTPS {
            let name =
                ServerName::try_from(host.clone()).map_err(|_| url("its host is no name"))?;
            (Some((TlsConnector::from(Arc::new(secure(ca_file)?)), name)), 443)
        } else if scheme == Scheme::HTTP {
            if !may_be_loopback(&host) {
                return Err(ClientError::InClear { host });
            }
            (None, 80)
        } else {
            return Err(url("it must begin with `https://` or `http://`"));
        };
        let port = authority.port_u16().unwrap_or(port);
        Ok(Self { host, port, authority, tls, token, limits: ClientLimits::default() })
    }

    #[must_use]
    pub const fn with_limits(mut self, limits: ClientLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Sends one request. `path` begins with `/` and may have a query. An answer of any status is
    /// an answer; redirects are not followed.
    ///
    /// # Errors
    /// [`ClientError`] when there is no answer.
    pub async fn request(
        &self,
        method: Method,
        path: &str,
        json_body: Option<&serde_json::Value>,
    ) -> Result<Answer, ClientError> {
        let body = json_body.map(|json| ("application/json", json.to_string()));
        self.send(self.compose(method, path, body)?).await
    }

    /// Posts a form, as OAuth wants it.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub async fn post_form(
        &self,
        path: &str,
        parameters: &[(&str, &str)],
    ) -> Result<Answer, ClientError> {
        let pairs = parameters.iter().map(|(name, value)| format!("{name}={}", escaped(value)));
        let form = pairs.collect::<Vec<_>>().join("&");
        let body = Some(("application/x-www-form-urlencoded", form));
        self.send(self.compose(Method::POST, path, body)?).await
    }

    /// Posts a JSON-RPC message as MCP's streamable HTTP wants it, with more headers.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub async fn post_message(
        &self,
        path: &str,
        message: &serde_json::Value,
        more: &[(&'static str, String)],
    ) -> Result<Answer, ClientError> {
        let body = Some(("application/json", message.to_string()));
        let mut request = self.compose(Method::POST, path, body)?;
        let headers = request.headers_mut();
        let either = HeaderValue::from_static("application/json, text/event-stream");
        headers.insert(header::ACCEPT, either);
        for (name, value) in more {
            let value = HeaderValue::from_str(value);
            headers.insert(*name, value.map_err(|_| ClientError::Path(path.to_owned()))?);
        }
        self.send(request).await
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Answer, ClientError> {
        let time = self.limits.request_time;
        match tokio::time::timeout(time, self.exchange(request)).await {
            Ok(answered) => answered,
            Err(_) => Err(ClientError::Overdue { host: self.authority.to_string(), time }),
        }
    }

    fn compose(
        &self,
        method: Method,
        path: &str,
        body: Option<(&'static str, String)>,
    ) -> Result<Request<Full<Bytes>>, ClientError> {
        let bad_path = || ClientError::Path(path.to_owned());
        if !path.starts_with('/') {
            return Err(bad_path());
        }
        let uri: Uri = path.parse().map_err(|_| bad_path())?;
        let (kind, body) = body.unzip();
        let mut request = Request::new(Full::new(Bytes::from(body.unwrap_or_default())));
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        let host = HeaderValue::from_str(self.authority.as_str());
        headers.insert(header::HOST, host.map_err(|_| bad_path())?);
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        if let Some(kind) = kind {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        if let Some(token) = &self.token {
            let text = Zeroizing::new(format!("Bearer {}", token.as_str()));
            // This copy is hyper's and is not wiped; the process ends with the request.
            let mut value = HeaderValue::from_str(&text).map_err(|_| ClientError::Token)?;
            value.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, value);
        }
        Ok(request)
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Answer, ClientError> {
        let connected = tokio::time::timeout(self.limits.connect_time, self.connect()).await;
        let overdue = |_| ClientError::Overdue {
            host: self.authority.to_string(),
            time: self.limits.connect_time,
        };
        let stream = connected.map_err(overdue)??;
        let Some((connector, name)) = &self.tls else {
            return self.converse(stream, request).await;
        };
        let handshake = connector.connect(name.clone(), stream);
        let secured = tokio::time::timeout(self.limits.connect_time, handshake).await;
        let stream = secured
            .map_err(overdue)?
            .map_err(|error| ClientError::of_handshake(self.authority.as_str(), error))?;
        self.converse(stream, request).await
    }

    /// To the first address that answers; in clear only to those that are loopback, whatever a
    /// hosts file makes of `localhost`.
    async fn connect(&self) -> Result<TcpStream, ClientError> {
        let unresolved = |source| ClientError::Resolve { host: self.host.clone(), source };
        let found = tokio::net::lookup_host((self.host.as_str(), self.port)).await;
        let mut addresses: Vec<SocketAddr> = found.map_err(unresolved)?.collect();
        if self.tls.is_none() {
            addresses.retain(|address| address.ip().is_loopback());
            if addresses.is_empty() {
                return Err(ClientError::InClear { host: self.host.clone() });
            }
        }
        let mut last = std::io::Error::from(std::io::ErrorKind::AddrNotAvailable);
        for address in addresses {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Err(error) => last = error,
            }
        }
        Err(ClientError::Connect { host: self.authority.to_string(), source: last })
    }

    async fn converse<S>(
        &self,
        stream: S,
        request: Request<Full<Bytes>>,
    ) -> Result<Answer, ClientError>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let host = self.authority.as_str();
        let broken = |error: hyper::Error| ClientError::of_http(host, error);
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(MAX_HEADER_BYTES)
            .max_headers(MAX_HEADERS)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(broken)?;
        // Ends with the request or with its time, and takes the connection with it.
        let mut driver = tokio::task::JoinSet::new();
        driver.spawn(connection);
        let response = match sender.send_request(request).await {
            Ok(response) => response,
            Err(error) => {
                // TLS 1.3: a server that refuses our certificate says so after the handshake, and
                // only the connection heard it.
                let why = driver.join_next().await.and_then(Result::ok).and_then(Result::err);
                return Err(broken(why.unwrap_or(error)));
            }
        };
        let (parts, body) = response.into_parts();
        let most = self.limits.answer_bytes;
        let body = Limited::new(body, most).collect().await.map_err(|error| match error
            .downcast::<hyper::Error>()
        {
            Ok(error) => broken(*error),
            Err(_) => ClientError::TooLong { host: host.to_owned(), most },
        })?;
        Ok(Answer { status: parts.status, headers: parts.headers, body: body.to_bytes() })
    }
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self {
            connect_time: Duration::from_secs(10),
            request_time: Duration::from_secs(60),
            answer_bytes: 16 * 1024 * 1024,
        }
    }
}

fn secure(ca_file: Option<&Path>) -> Result<ClientConfig, ClientError> {
    let roots = trust::roots(ca_file)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(ClientError::Settings)?;
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Whether a host can be spoken to in clear; where it leads is looked at once more when it is
/// known.
fn may_be_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

const USER_AGENT: &str = concat!("gatepass/", env!("CARGO_PKG_VERSION"));
const MAX_HEADER_BYTES: usize = 16 * 1024;
const MAX_HEADERS: usize = 64;

#[cfg(test)]
mod tests;
