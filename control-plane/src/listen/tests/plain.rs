//! In clear, on loopback.

use axum::http::StatusCode;

use super::*;

async fn bind(address: &str, tls: Option<TlsFiles>) -> Result<Bound, ListenError> {
    let listen = Listen { address: address.parse().unwrap(), tls, limits: Limits::default() };
    listen.bind("api").await
}

#[tokio::test]
async fn a_request_in_clear_on_loopback_is_answered() {
    let running = start(None, Limits::default(), router()).await;
    assert_eq!(running.ask(get_request("/")).await, (StatusCode::OK, "hello".into()));
    assert_eq!(running.ask(get_request("/peer")).await.1, "nobody");
    let mut sender = over_http2(running.connect().await).await;
    let request = get_request(&format!("http://{}/", running.address));
    assert_eq!(whole(sender.send_request(request).await.unwrap()).await.1, "hello");
}

#[tokio::test]
async fn other_addresses_need_tls() {
    let desk = Desk::new();
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let text = bind(address, None).await.err().unwrap().to_string();
        assert!(text.contains("`api` has no TLS") && text.contains("use 127.0.0.1"), "{text}");
    }
    assert!(bind("127.0.0.1:0", None).await.is_ok());
    assert!(bind("0.0.0.0:0", Some(desk.files())).await.is_ok());
}

#[tokio::test]
async fn an_address_that_is_taken_is_named() {
    let first = bind("127.0.0.1:0", None).await.unwrap();
    let address = first.local_addr().to_string();
    let text = bind(&address, None).await.err().unwrap().to_string();
    assert!(text.contains("`api` cannot listen on") && text.contains(&address), "{text}");
}
