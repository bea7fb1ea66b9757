//! Certificates, a listener and its callers for tests.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::http::{Request, Response, StatusCode, Uri};
use axum::routing::{get, post};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;

/// An authority of our own.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate with its key, in PEM.
pub(crate) struct Pair {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Authority {
    /// All have one name unless told otherwise: who signs is what counts.
    pub(crate) fn new() -> Self {
        Self::named("ours")
    }

    pub(crate) fn named(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    pub(crate) fn server(&self, name: &str) -> Pair {
        self.issue(CertificateParams::new([name.to_owned()]).unwrap())
    }

    pub(crate) fn client(&self, uris: &[&str], names: &[&str]) -> Pair {
        let mut params = CertificateParams::default();
        let uris = uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap()));
        let names = names.iter().map(|name| SanType::DnsName((*name).try_into().unwrap()));
        params.subject_alt_names = uris.chain(names).collect();
        self.issue(params)
    }

    pub(crate) fn issue(&self, params: CertificateParams) -> Pair {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap().pem();
        Pair { certificate, key: key.serialize_pem() }
    }
}

/// A directory with what [`TlsFiles`] names.
pub(crate) struct Desk {
    dir: tempfile::TempDir,
    pub(crate) authority: Authority,
}

impl Desk {
    /// A certificate for `127.0.0.1` and its authority.
    pub(crate) fn new() -> Self {
        let desk = Self { dir: tempfile::tempdir().unwrap(), authority: Authority::new() };
        desk.put(&desk.authority.server("127.0.0.1"));
        write(&desk.ca(), &desk.authority.pem(), 0o644);
        desk
    }

    pub(crate) fn put(&self, pair: &Pair) {
        write(&self.files().certificate, &pair.certificate, 0o644);
        write(&self.files().key, &pair.key, 0o600);
    }

    pub(crate) fn ca(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    pub(crate) fn files(&self) -> TlsFiles {
        TlsFiles {
            certificate: self.dir.path().join("server.pem"),
            key: self.dir.path().join("server.key"),
            client_ca: None,
            require_client: false,
        }
    }

    pub(crate) fn mutual(&self, require_client: bool) -> TlsFiles {
        TlsFiles { client_ca: Some(self.ca()), require_client, ..self.files() }
    }
}

/// Renamed into place, so that never half a file is there.
pub(crate) fn write(path: &Path, text: &str, mode: u32) {
    let new = path.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(mode)).unwrap();
    std::fs::rename(new, path).unwrap();
}

/// A listener that serves.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) stop: watch::Sender<bool>,
    pub(crate) task: JoinHandle<()>,
}

pub(crate) async fn start(tls: Option<TlsFiles>, limits: Limits, router: Router) -> Running {
    let listen = Listen { address: ([127, 0, 0, 1], 0).into(), tls, limits };
    let bound = listen.bind("test").await.unwrap();
    let (stop, stopping) = watch::channel(false);
    Running { address: bound.local_addr(), stop, task: bound.serve(router, stopping) }
}

/// `/` greets, `/peer` says who calls, `/length` and `/raw` measure a body, `/never` and `/late`
/// are slow.
pub(crate) fn router() -> Router {
    let peer = |Extension(peer): Extension<Peer>| async move {
        peer.identity.map_or("nobody".to_owned(), |identity| {
            format!("{} {}", identity.name().as_str(), identity.thumbprint())
        })
    };
    let raw = |body: Body| async move {
        match axum::body::to_bytes(body, usize::MAX).await {
            Ok(bytes) => Ok(bytes.len().to_string()),
            Err(_) => Err(StatusCode::BAD_REQUEST),
        }
    };
    let late = || async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        "late"
    };
    Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/peer", get(peer))
        .route("/length", post(|body: Bytes| async move { body.len().to_string() }))
        .route("/raw", post(raw))
        .route("/never", get(std::future::pending::<()>))
        .route("/late", get(late))
        .route("/untimed", get(late))
}

impl Running {
    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends `text` as it is and reads until the listener closes.
    pub(crate) async fn say(&self, text: &str) -> String {
        let mut stream = self.connect().await;
        stream.write_all(text.as_bytes()).await.unwrap();
        hear(&mut stream).await
    }

    /// Status and body of one request in clear.
    pub(crate) async fn ask(&self, request: Request<Full<Bytes>>) -> (StatusCode, String) {
        whole(self.send(request).await.unwrap()).await
    }

    pub(crate) async fn send(
        &self,
        request: Request<Full<Bytes>>,
    ) -> hyper::Result<Response<Incoming>> {
        over_http1(self.connect().await, request).await
    }

    /// A TLS connection that offers `alpn`.
    pub(crate) async fn secure(
        &self,
        ca: &str,
        client: Option<&Pair>,
        alpn: &[u8],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from("127.0.0.1").unwrap();
        connector(ca, client, alpn).connect(name, self.connect().await).await
    }
}

fn connector(ca: &str, client: Option<&Pair>, alpn: &[u8]) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider);
    let config = config.with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots);
    let mut config = match client {
        None => config.with_no_client_auth(),
        Some(pair) => {
            let certificate = CertificateDer::from_pem_slice(pair.certificate.as_bytes()).unwrap();
            let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
            config.with_client_auth_cert(vec![certificate], key).unwrap()
        }
    };
    config.alpn_protocols = vec![alpn.to_vec()];
    TlsConnector::from(Arc::new(config))
}

pub(crate) async fn over_http1<S>(
    stream: S,
    request: Request<Full<Bytes>>,
) -> hyper::Result<Response<Incoming>>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    sender.send_request(request).await
}

pub(crate) async fn over_http2<S>(stream: S) -> http2::SendRequest<Full<Bytes>>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let io = TokioIo::new(stream);
    let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    sender
}

pub(crate) fn request(method: &str, uri: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    let uri: Uri = uri.parse().unwrap();
    Request::builder()
        .method(method)
        .uri(uri)
        .header("host", "test")
        .body(Full::new(body.into()))
        .unwrap()
}

pub(crate) fn get_request(path: &str) -> Request<Full<Bytes>> {
    request("GET", path, "")
}

pub(crate) async fn whole(response: Response<Incoming>) -> (StatusCode, String) {
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

/// Until the other side closes. A reset after the last byte is an end as well.
pub(crate) async fn hear(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> String {
    let mut heard = Vec::new();
    let _ = stream.read_to_end(&mut heard).await;
    String::from_utf8_lossy(&heard).into_owned()
}
