//! Against `listen.rs`, in clear and with TLS.

use axum::Router;
use axum::routing::{get, post};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::listen::Limits;
use crate::listen::fixture::{Authority, Desk, Running, start, write};

fn token(text: &str) -> Option<Zeroizing<String>> {
    Some(Zeroizing::new(text.to_owned()))
}

/// `/echo` gives back method, token and body, `/status` 418, `/long` 1000 bytes, `/never` nothing.
fn router() -> Router {
    let echo = |method: Method, headers: HeaderMap, body: Bytes| async move {
        let header = |name| headers.get(name).map_or("-", |v: &HeaderValue| v.to_str().unwrap());
        format!(
            "{method} {} {} {}",
            header(header::AUTHORIZATION),
            header(header::CONTENT_TYPE),
            String::from_utf8(body.to_vec()).unwrap()
        )
    };
    let status = || async { (StatusCode::IM_A_TEAPOT, [("x-why", "tea")], "no") };
    let elsewhere = || async { (StatusCode::FOUND, [("location", "/echo")]) };
    Router::new()
        .route("/echo", post(echo).get(echo))
        .route("/status", get(status))
        .route("/elsewhere", get(elsewhere))
        .route("/long", get(|| async { "x".repeat(1000) }))
        .route("/never", get(std::future::pending::<()>))
}

fn limits() -> ClientLimits {
    ClientLimits { answer_bytes: 1000, ..ClientLimits::default() }
}

async fn clear() -> (Running, Client) {
    let running = start(None, Limits::default(), router()).await;
    let client = Client::new(&format!("http://{}", running.address), token("secret"), None);
    (running, client.unwrap().with_limits(limits()))
}

async fn text(client: &Client, path: &str) -> Result<String, ClientError> {
    let answer = client.request(Method::GET, path, None).await?;
    Ok(String::from_utf8(answer.body.to_vec()).unwrap())
}

#[tokio::test]
async fn a_request_is_answered_in_clear_on_loopback() {
    let (running, client) = clear().await;
    assert_eq!(text(&client, "/echo?a=b").await.unwrap(), "GET Bearer secret - ");
    let json = serde_json::json!({"a": 1});
    let answer = client.request(Method::POST, "/echo", Some(&json)).await.unwrap();
    assert_eq!(answer.body, "POST Bearer secret application/json {\"a\":1}");
    let bare = Client::new(&format!("http://localhost:{}/", running.address.port()), None, None);
    assert_eq!(text(&bare.unwrap(), "/echo").await.unwrap(), "GET - - ");
}

#[tokio::test]
async fn an_answer_of_any_status_is_an_answer_and_no_redirect_is_followed() {
    let (_running, client) = clear().await;
    let answer = client.request(Method::GET, "/status", None).await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.body.as_ref()), (418, b"no".as_slice()));
    assert_eq!(answer.headers["x-why"], "tea");
    let answer = client.request(Method::GET, "/elsewhere", None).await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.body.len()), (302, 0));
}

#[tokio::test]
async fn over_tls_the_authority_of_the_file_is_believed_and_no_other() {
    let (desk, other) = (Desk::new(), Desk::new());
    let running = start(Some(desk.files()), Limits::default(), router()).await;
    let url = format!("https://{}", running.address);
    let ask = async |url: &str, ca: Option<&Path>| {
        text(&Client::new(url, token("secret"), ca).unwrap(), "/echo").await
    };
    assert_eq!(ask(&url, Some(&desk.ca())).await.unwrap(), "GET Bearer secret - ");
    let refused = ask(&url, Some(&other.ca())).await.unwrap_err();
    assert!(matches!(refused, ClientError::UnknownAuthority { .. }), "{refused}");
    write(&other.ca(), &Authority::named("theirs").pem(), 0o644);
    let refused = ask(&url, Some(&other.ca())).await.unwrap_err();
    assert!(matches!(refused, ClientError::UnknownAuthority { .. }), "{refused}");
    // The certificate is for 127.0.0.1.
    let named = format!("https://localhost:{}", running.address.port());
    let refused = ask(&named, Some(&desk.ca())).await.unwrap_err();
    assert!(matches!(refused, ClientError::OtherName { .. }), "{refused}");
    let mut params = rcgen::CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    desk.put(&desk.authority.issue(params));
    let refused = ask(&url, Some(&desk.ca())).await.unwrap_err();
    assert!(matches!(refused, ClientError::OutOfDate { .. }), "{refused}");
}

#[tokio::test]
async fn a_listener_that_wants_a_certificate_is_told_apart() {
    let desk = Desk::new();
    let running = start(Some(desk.mutual(true)), Limits::default(), router()).await;
    let url = format!("https://{}", running.address);
    let client = Client::new(&url, None, Some(&desk.ca())).unwrap();
    let refused = text(&client, "/echo").await.unwrap_err();
    assert!(matches!(refused, ClientError::ClientCertificate { .. }), "{refused:?}");
}

#[tokio::test]
async fn the_wrong_protocol_is_told_apart() {
    let (running, _client) = clear().await;
    let desk = Desk::new();
    let url = format!("https://{}", running.address);
    let client = Client::new(&url, None, Some(&desk.ca())).unwrap();
    let refused = text(&client, "/echo").await.unwrap_err();
    assert!(matches!(refused, ClientError::NoTls { .. }), "{refused:?}");
    let running = start(Some(desk.files()), Limits::default(), router()).await;
    let client = Client::new(&format!("http://{}", running.address), None, None).unwrap();
    let refused = text(&client, "/echo").await.unwrap_err();
    assert!(matches!(refused, ClientError::NotHttp { .. }), "{refused:?}");
}

#[tokio::test]
async fn an_answer_has_a_length_and_a_time() {
    let (_running, client) = clear().await;
    assert_eq!(text(&client, "/long").await.unwrap().len(), 1000);
    let client = client.with_limits(ClientLimits { answer_bytes: 999, ..limits() });
    let refused = text(&client, "/long").await.unwrap_err();
    assert!(matches!(refused, ClientError::TooLong { most: 999, .. }), "{refused}");
    let time = Duration::from_millis(100);
    let client = client.with_limits(ClientLimits { request_time: time, ..limits() });
    let refused = text(&client, "/never").await.unwrap_err();
    assert!(matches!(refused, ClientError::Overdue { .. }), "{refused}");
}

#[tokio::test]
async fn a_connection_that_breaks_or_is_not_there_says_so() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let client = Client::new(&url, None, None).unwrap();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = [0; 16];
        stream.read_exact(&mut head).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf").await.unwrap();
    });
    let refused = text(&client, "/echo").await.unwrap_err();
    assert!(matches!(refused, ClientError::Broken { .. }), "{refused:?}");
    server.await.unwrap();
    // The listener went with its task.
    let refused = text(&client, "/echo").await.unwrap_err();
    assert!(refused.to_string().contains("is the control plane running there?"), "{refused}");
}

#[test]
fn a_token_goes_in_clear_to_this_machine_only() {
    let new = |url: &str| Client::new(url, token("secret"), None).map(|_| ());
    for url in ["http://127.0.0.1:1", "http://[::1]:1/", "http://localhost:1", "http://127.9.9.9"] {
        assert!(new(url).is_ok(), "{url}");
    }
    for url in [
        "http://192.0.2.1:1",
        "http://control.corp",
        "http://localhost.corp:1",
        "http://127.0.0.1.corp",
        "http://[2001:db8::1]:1",
        "http://0.0.0.0:1",
    ] {
        let text = new(url).unwrap_err().to_string();
        assert!(text.contains("use https://"), "{url}: {text}");
    }
}

#[test]
fn what_is_no_url_of_a_control_plane_is_refused() {
    let new = |url: &str| Client::new(url, None, None).map(|_| ()).unwrap_err().to_string();
    for url in ["", "localhost", "ftp://localhost", "http://", "http://localhost/v1", "http://a b"]
    {
        assert!(new(url).contains("is not the URL of a control plane"), "{url}: {}", new(url));
    }
    for url in ["http://me:hunter2@localhost", "me:hunter2@localhost"] {
        assert!(new(url).contains("user or password"), "{}", new(url));
        assert!(!new(url).contains("hunter2"));
    }
}

#[tokio::test]
async fn a_bad_token_or_path_or_ca_file_is_refused_before_anything_is_sent() {
    let refused = Client::new("http://localhost", token("a\nb"), None).map(|_| ()).unwrap_err();
    assert!(!refused.to_string().contains('\n'), "{refused}");
    let (_running, client) = clear().await;
    for path in ["echo", "", "/a b", "//\u{1}"] {
        let refused = text(&client, path).await.unwrap_err();
        assert!(matches!(refused, ClientError::Path(_)), "{path}: {refused}");
    }
    let desk = Desk::new();
    let file = |path: &Path| Client::new("https://localhost", None, Some(path)).map(|_| ());
    assert!(file(&desk.ca()).is_ok());
    assert!(matches!(file(Path::new("/missing.pem")), Err(ClientError::CaFile { .. })));
    assert!(matches!(file(&desk.files().key), Err(ClientError::Ca { .. })));
    write(&desk.ca(), "", 0o644);
    assert!(matches!(file(&desk.ca()), Err(ClientError::Ca { .. })));
}
