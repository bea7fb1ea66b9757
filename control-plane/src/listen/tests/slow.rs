//! Peers that are slow or do nothing, each beside its twin that is served; and what they cost meanwhile.

use axum::http::StatusCode;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::client::TlsStream;

use super::*;

const SOON: Duration = Duration::from_millis(300);
const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n";
const LARGE: usize = 32 << 20;

async fn greeted(running: &Running, desk: &Desk) -> StatusCode {
    let stream = running.secure(&desk.authority.pem(), None, b"http/1.1").await.unwrap();
    whole(over_http1(stream, get_request("/")).await.unwrap()).await.0
}

/// `/large` answers with one piece of memory, as the feed does: how many hold it shows who has not read.
fn large() -> (Arc<Vec<u8>>, Router) {
    struct Shared(Arc<Vec<u8>>);
    impl AsRef<[u8]> for Shared {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }
    let memory = Arc::new(vec![7; LARGE]);
    let told = Arc::clone(&memory);
    let handler = move || async move { axum::body::Bytes::from_owner(Shared(told)) };
    (memory, router().route("/large", axum::routing::get(handler)))
}

#[tokio::test]
async fn those_who_say_nothing_or_half_of_it_keep_nobody_from_a_handshake() {
    let desk = Desk::new();
    let limits =
        Limits { handshake_time: Duration::from_secs(60), handshakes: 1, ..Limits::default() };
    let running = start(Some(desk.files()), limits, router()).await;
    let mut silent = Vec::new();
    for number in 0..200 {
        let mut stream = running.connect().await;
        if number % 2 == 0 {
            // The beginning of a record of TLS, and no more of it.
            stream.write_all(&[22, 3, 1]).await.unwrap();
        }
        silent.push(stream);
    }
    for _ in 0..3 {
        assert_eq!(greeted(&running, &desk).await, StatusCode::OK);
    }
    drop(silent);
}

#[tokio::test]
async fn all_of_a_crowd_come_in_though_one_handshake_is_worked_on_at_a_time() {
    let desk = Arc::new(Desk::new());
    let limits = Limits { handshakes: 1, ..Limits::default() };
    let running = Arc::new(start(Some(desk.files()), limits, router()).await);
    let crowd: Vec<_> = (0..100)
        .map(|_| {
            let (running, desk) = (Arc::clone(&running), Arc::clone(&desk));
            tokio::spawn(async move { greeted(&running, &desk).await })
        })
        .collect();
    for one in crowd {
        assert_eq!(one.await.unwrap(), StatusCode::OK);
    }
}

#[tokio::test]
async fn a_peer_that_never_asks_for_anything_is_closed_and_one_that_has_asked_is_not() {
    let desk = Desk::new();
    let limits = Limits { first_time: SOON, ..Limits::default() };
    let running = start(Some(desk.files()), limits, router()).await;
    let ca = desk.authority.pem();
    let secure = || running.secure(&ca, None, b"http/1.1");
    let mut mute = secure().await.unwrap();
    let mut asked = secure().await.unwrap();
    ask(&mut asked).await;
    assert_eq!(hear(&mut mute).await, "");
    // The idle time is what counts for it from then on.
    tokio::time::sleep(SOON * 2).await;
    ask(&mut asked).await;
}

async fn ask(stream: &mut TlsStream<TcpStream>) {
    stream.write_all(GET).await.unwrap();
    let mut heard = Vec::new();
    while !heard.ends_with(b"hello") {
        assert!(stream.read_buf(&mut heard).await.unwrap() > 0, "{heard:?}");
    }
}

#[tokio::test]
async fn an_answer_that_nobody_reads_ends_with_its_connection_and_costs_no_copy() {
    let desk = Desk::new();
    for tls in [None, Some(desk.files())] {
        let is_secure = tls.is_some();
        let (memory, router) = large();
        let at_rest = Arc::strong_count(&memory);
        let limits = Limits { stall_time: SOON, ..Limits::default() };
        let running = start(tls, limits, router).await;
        let request = b"GET /large HTTP/1.1\r\nHost: test\r\n\r\n";
        let mut deaf: Vec<Box<dyn core::any::Any>> = Vec::new();
        for _ in 0..4 {
            if is_secure {
                let mut stream =
                    running.secure(&desk.authority.pem(), None, b"http/1.1").await.unwrap();
                stream.write_all(request).await.unwrap();
                deaf.push(Box::new(stream));
            } else {
                let mut stream = running.connect().await;
                stream.write_all(request).await.unwrap();
                deaf.push(Box::new(stream));
            }
        }
        until(|| Arc::strong_count(&memory) == at_rest + 4).await;
        // Others are served meanwhile.
        match is_secure {
            true => assert_eq!(greeted(&running, &desk).await, StatusCode::OK),
            false => assert_eq!(running.ask(get_request("/")).await.0, StatusCode::OK),
        }
        until(|| Arc::strong_count(&memory) == at_rest).await;
        drop(deaf);
    }
}

#[tokio::test]
async fn an_answer_that_is_read_slowly_but_read_is_given_whole() {
    let (memory, router) = large();
    let limits = Limits { stall_time: SOON, ..Limits::default() };
    let running = start(None, limits, router).await;
    let mut slow = running.connect().await;
    let request = b"GET /large HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
    slow.write_all(request).await.unwrap();
    let start = std::time::Instant::now();
    let (mut read, mut buffer) = (0, vec![0; 1 << 20]);
    loop {
        match slow.read(&mut buffer).await.unwrap() {
            0 => break,
            bytes => read += bytes,
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(read > LARGE, "{read} of {LARGE}");
    assert!(start.elapsed() > SOON, "it was not slow");
    until(|| Arc::strong_count(&memory) <= 2).await;
}

async fn until(is: impl Fn() -> bool) {
    let start = std::time::Instant::now();
    while !is() {
        assert!(start.elapsed() < Duration::from_secs(30), "it never came to be");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
