//! Each bound, and its twin that stays within.

use axum::http::StatusCode;
use tokio::io::AsyncWriteExt as _;

use super::*;

const SOON: Duration = Duration::from_millis(300);
const CLOSE: &str = "Host: test\r\nConnection: close\r\n";

#[tokio::test]
async fn headers_that_come_too_slowly_end_the_connection() {
    let limits = Limits { header_time: SOON, ..Limits::default() };
    let running = start(None, limits, router()).await;
    let mut slow = running.connect().await;
    slow.write_all(b"GET / HTTP/1.1\r\nHost: te").await.unwrap();
    assert!(!hear(&mut slow).await.contains("hello"));
    assert!(running.say(&format!("GET / HTTP/1.1\r\n{CLOSE}\r\n")).await.ends_with("hello"));
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed() {
    let limits = Limits { idle_time: SOON, ..Limits::default() };
    let running = start(None, limits.clone(), router()).await;
    assert_eq!(hear(&mut running.connect().await).await, "");
    // Not while it is asked for something, however long that takes.
    let long = Limits { idle_time: Duration::from_millis(50), ..limits };
    let running = start(None, long, router()).await;
    assert_eq!(running.ask(get_request("/late")).await, (StatusCode::OK, "late".into()));
}

#[tokio::test]
async fn a_handshake_that_is_not_finished_is_closed() {
    let desk = Desk::new();
    let limits = Limits { handshake_time: SOON, ..Limits::default() };
    let running = start(Some(desk.files()), limits, router()).await;
    let mut silent = running.connect().await;
    // The beginning of a record of TLS.
    silent.write_all(&[22, 3, 1]).await.unwrap();
    assert_eq!(hear(&mut silent).await, "");
    assert!(running.secure(&desk.authority.pem(), None, b"http/1.1").await.is_ok());
}

#[tokio::test]
async fn an_old_connection_is_closed_after_what_it_is_asked() {
    let limits = Limits { age: Duration::from_millis(50), ..Limits::default() };
    let running = start(None, limits, router()).await;
    let mut stream = running.connect().await;
    stream.write_all(b"GET /late HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
    let heard = hear(&mut stream).await;
    assert!(heard.ends_with("late"), "{heard}");
    // What is in progress has its time, and no more.
    let limits = Limits { age: SOON, drain: SOON, request_time: None, ..Limits::default() };
    let running = start(None, limits, router()).await;
    assert!(running.send(get_request("/never")).await.is_err());
}

#[tokio::test]
async fn too_many_or_too_long_headers_are_refused() {
    let limits = Limits { headers: 8, header_bytes: 8 * 1024, ..Limits::default() };
    let running = start(None, limits, router()).await;
    let with = |headers: &str| format!("GET / HTTP/1.1\r\n{CLOSE}{headers}\r\n");
    assert!(running.say(&with(&"a: b\r\n".repeat(6))).await.ends_with("hello"));
    let heard = running.say(&with(&"a: b\r\n".repeat(7))).await;
    assert!(heard.starts_with("HTTP/1.1 431 "), "{heard}");
    let long = |bytes: usize| with(&format!("a: {}\r\n", "b".repeat(bytes)));
    assert!(running.say(&long(4 * 1024)).await.ends_with("hello"));
    let heard = running.say(&long(9 * 1024)).await;
    assert!(heard.starts_with("HTTP/1.1 431 "), "{heard}");
    // HTTP/2 counts in another place.
    let mut sender = over_http2(running.connect().await).await;
    let mut count = async |count: usize| {
        let mut request = get_request(&format!("http://{}/", running.address));
        request.headers_mut().clear();
        (0..count).for_each(|_| {
            request.headers_mut().append("a", "b".parse().unwrap());
        });
        sender.send_request(request).await.unwrap().status()
    };
    assert_eq!(count(8).await, StatusCode::OK);
    assert_eq!(count(9).await, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
}

#[tokio::test]
async fn a_body_that_is_too_long_is_refused_whether_it_says_so_or_not() {
    let limits = Limits { body_bytes: 1000, ..Limits::default() };
    let running = start(None, limits, router()).await;
    for path in ["/length", "/raw"] {
        let declared = |bytes: usize| running.ask(request("POST", path, vec![b'x'; bytes]));
        assert_eq!(declared(1000).await, (StatusCode::OK, "1000".into()));
        let (status, text) = declared(1001).await;
        assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
        assert!(text.contains("\"body_too_long\""), "{text}");
        let chunked = async |bytes: usize| {
            let body = "x".repeat(bytes);
            let head = format!("POST {path} HTTP/1.1\r\n{CLOSE}Transfer-Encoding: chunked\r\n");
            running.say(&format!("{head}\r\n{bytes:x}\r\n{body}\r\n0\r\n\r\n")).await
        };
        let heard = chunked(1000).await;
        assert!(heard.ends_with("\r\n\r\n1000"), "{heard}");
        let heard = chunked(1001).await;
        assert!(heard.starts_with("HTTP/1.1 413 "), "{heard}");
    }
    // Ours is the one number: axum's own, 2 MiB, is not asked.
    let limits = Limits { body_bytes: 3 << 20, ..Limits::default() };
    let running = start(None, limits, router()).await;
    let (status, length) = running.ask(request("POST", "/length", vec![b'x'; 3 << 20])).await;
    assert_eq!((status, length.as_str()), (StatusCode::OK, "3145728"));
}

#[tokio::test]
async fn a_body_that_comes_too_slowly_is_refused() {
    let limits = Limits { body_time: SOON, ..Limits::default() };
    let running = start(None, limits, router()).await;
    for path in ["/length", "/raw"] {
        let head = format!("POST {path} HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\n\r\n");
        let heard = running.say(&format!("{head}ab")).await;
        assert!(heard.starts_with("HTTP/1.1 408 "), "{heard}");
        assert!(heard.contains("\"body_overdue\""), "{heard}");
        assert_eq!(running.ask(request("POST", path, "abcd")).await.1, "4");
    }
}

#[tokio::test]
async fn a_request_has_its_time_unless_its_path_has_none() {
    let limits = Limits {
        request_time: Some(Duration::from_millis(50)),
        untimed_paths: &["/untimed"],
        ..Limits::default()
    };
    let running = start(None, limits.clone(), router()).await;
    let (status, text) = running.ask(get_request("/late")).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(text.contains("\"overdue\""), "{text}");
    assert_eq!(running.ask(get_request("/untimed")).await, (StatusCode::OK, "late".into()));
    let running = start(None, Limits { request_time: None, ..limits }, router()).await;
    assert_eq!(running.ask(get_request("/late")).await, (StatusCode::OK, "late".into()));
}

#[tokio::test]
async fn a_connection_beyond_the_limit_waits_for_a_place() {
    let limits = Limits { connections: 1, ..Limits::default() };
    let running = start(None, limits, router()).await;
    let mut first = running.connect().await;
    first.write_all(b"GET /never HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
    let second = running.send(get_request("/"));
    tokio::pin!(second);
    assert!(tokio::time::timeout(SOON, &mut second).await.is_err());
    drop(first);
    assert_eq!(whole(second.await.unwrap()).await.1, "hello");
}

#[tokio::test]
async fn a_request_beyond_the_limit_is_refused_and_not_queued() {
    let entered = Arc::new(tokio::sync::Semaphore::new(0));
    let signal = Arc::clone(&entered);
    let held = axum::routing::get(|| async move {
        signal.add_permits(1);
        std::future::pending::<()>().await;
    });
    let limits = Limits { requests: 1, ..Limits::default() };
    let running = start(None, limits, router().route("/held", held)).await;
    assert_eq!(running.ask(get_request("/")).await.0, StatusCode::OK);
    let mut first = running.connect().await;
    first.write_all(b"GET /held HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
    let _ = entered.acquire().await.unwrap();
    let (status, text) = running.ask(get_request("/")).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(text.contains("\"busy\""), "{text}");
}

#[tokio::test]
async fn a_stream_beyond_the_limit_waits_for_its_turn() {
    for (streams, is_answered) in [(1, false), (2, true)] {
        let limits = Limits { streams, ..Limits::default() };
        let running = start(None, limits, router()).await;
        let mut sender = over_http2(running.connect().await).await;
        let uri = |path: &str| format!("http://{}{path}", running.address);
        // The answer brings the listener's settings along.
        let greeted = sender.send_request(get_request(&uri("/"))).await.unwrap();
        whole(greeted).await;
        let _held = tokio::spawn(sender.send_request(get_request(&uri("/never"))));
        let second = sender.send_request(get_request(&uri("/")));
        assert_eq!(tokio::time::timeout(SOON, second).await.is_ok(), is_answered);
    }
}
