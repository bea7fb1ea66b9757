//! TLS, and certificates that change while the listener serves.

use std::os::unix::fs::PermissionsExt as _;

use axum::http::StatusCode;

use super::*;

async fn greets(running: &Running, ca: &Authority) -> bool {
    match running.secure(&ca.pem(), None, b"http/1.1").await {
        Ok(stream) => {
            let response = over_http1(stream, get_request("/")).await.unwrap();
            assert_eq!(whole(response).await, (StatusCode::OK, "hello".into()));
            true
        }
        Err(error) => {
            assert!(error.to_string().contains("BadSignature"), "{error}");
            false
        }
    }
}

async fn refusal(tls: TlsFiles) -> String {
    let listen =
        Listen { address: ([127, 0, 0, 1], 0).into(), tls: Some(tls), limits: Limits::default() };
    listen.bind("api").await.err().unwrap().to_string()
}

#[tokio::test]
async fn both_protocols_are_spoken_over_tls() {
    let desk = Desk::new();
    let running = start(Some(desk.files()), Limits::default(), router()).await;
    assert!(greets(&running, &desk.authority).await);
    assert!(!greets(&running, &Authority::new()).await);
    let stream = running.secure(&desk.authority.pem(), None, b"h2").await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
    let mut sender = over_http2(stream).await;
    let request = get_request("https://127.0.0.1/");
    assert_eq!(whole(sender.send_request(request).await.unwrap()).await.1, "hello");
    // And nothing else: neither another protocol, nor clear text.
    assert!(running.secure(&desk.authority.pem(), None, b"ftp").await.is_err());
    let heard = running.say("GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").await;
    assert!(!heard.contains("hello"), "{heard:?}");
}

#[tokio::test]
async fn a_changed_certificate_is_in_force_for_the_next_connection() {
    let desk = Desk::new();
    let running = start(Some(desk.files()), Limits::default(), router()).await;
    let old = running.secure(&desk.authority.pem(), None, b"http/1.1").await.unwrap();
    let other = Authority::new();
    assert!(!greets(&running, &other).await);
    desk.put(&other.server("127.0.0.1"));
    assert!(greets(&running, &other).await);
    assert!(!greets(&running, &desk.authority).await);
    // A connection that is there stays.
    assert!(over_http1(old, get_request("/")).await.is_ok());
}

#[tokio::test]
async fn a_broken_change_leaves_the_old_certificate_in_force() {
    let desk = Desk::new();
    let running = start(Some(desk.files()), Limits::default(), router()).await;
    let other = Authority::new();
    let (old, new) = (desk.authority.server("127.0.0.1"), other.server("127.0.0.1"));
    let files = desk.files();
    // The certificate alone, as between two writes; rubbish; nothing at all; a key for all.
    write(&files.certificate, &new.certificate, 0o644);
    assert!(greets(&running, &desk.authority).await);
    write(&files.certificate, "-----BEGIN CERTIFICATE-----\n!\n", 0o644);
    assert!(greets(&running, &desk.authority).await);
    std::fs::remove_file(&files.key).unwrap();
    assert!(greets(&running, &desk.authority).await);
    desk.put(&old);
    write(&files.certificate, &new.certificate, 0o644);
    write(&files.key, &new.key, 0o644);
    assert!(greets(&running, &desk.authority).await);
    // Only the mode changes: that is enough.
    std::fs::set_permissions(&files.key, std::fs::Permissions::from_mode(0o600)).unwrap();
    assert!(greets(&running, &other).await);
}

#[tokio::test]
async fn a_key_that_others_can_reach_is_refused_with_the_remedy() {
    let desk = Desk::new();
    for mode in [0o640, 0o604, 0o620, 0o644] {
        std::fs::set_permissions(desk.files().key, std::fs::Permissions::from_mode(mode)).unwrap();
        let text = refusal(desk.files()).await;
        assert!(text.contains("chmod 600 "), "{mode:o}: {text}");
    }
    std::fs::set_permissions(desk.files().key, std::fs::Permissions::from_mode(0o600)).unwrap();
    start(Some(desk.files()), Limits::default(), router()).await;
}

#[tokio::test]
async fn files_that_do_not_fit_are_refused_with_their_names() {
    let desk = Desk::new();
    let files = desk.files();
    let check = async |change: fn(&mut TlsFiles, &Desk), expected: &str| {
        let mut files = desk.mutual(true);
        change(&mut files, &desk);
        let text = refusal(files).await;
        assert!(text.contains(expected), "{expected}: {text}");
    };
    check(|files, _| files.client_ca = None, "name a file of CA certificates").await;
    check(|files, _| files.certificate = files.key.clone(), "holds no certificate").await;
    check(|files, _| files.client_ca = Some("/missing.pem".into()), "/missing.pem").await;
    check(|files, _| files.key = "/missing.key".into(), "/missing.key").await;
    check(|files, desk| files.certificate = desk.ca(), "are not a certificate and its key").await;
    let directory = files.key.parent().unwrap().to_owned();
    std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o700)).unwrap();
    check(|files, _| files.key = files.key.parent().unwrap().into(), "not a regular file").await;
    write(&files.key, "no key", 0o600);
    check(|_, _| {}, "holds no private key").await;
}
