//! Client certificates.

use axum::http::StatusCode;

use super::*;

/// Who `/peer` says is calling, or nothing when the connection is refused. With TLS 1.3 a server
/// refuses after the client believes the handshake done.
async fn caller(running: &Running, desk: &Desk, client: Option<&Pair>) -> Option<String> {
    let stream = running.secure(&desk.authority.pem(), client, b"http/1.1").await.ok()?;
    let response = over_http1(stream, get_request("/peer")).await.ok()?;
    let (status, body) = whole(response).await;
    assert_eq!(status, StatusCode::OK);
    Some(body)
}

#[tokio::test]
async fn a_client_is_who_its_certificate_names() {
    let desk = Desk::new();
    let running = start(Some(desk.mutual(true)), Limits::default(), router()).await;
    let workload = desk.authority.client(&["spiffe://corp/gate"], &["gate.corp"]);
    let named = caller(&running, &desk, Some(&workload)).await.unwrap();
    let (name, thumbprint) = named.split_once(' ').unwrap();
    assert_eq!((name, thumbprint.len()), ("spiffe://corp/gate", 43));
    let host = desk.authority.client(&[], &["gate.corp"]);
    assert!(caller(&running, &desk, Some(&host)).await.unwrap().starts_with("gate.corp "));
    // Over HTTP/2 as well.
    let stream = running.secure(&desk.authority.pem(), Some(&workload), b"h2").await.unwrap();
    let request = get_request("https://127.0.0.1/peer");
    let response = over_http2(stream).await.send_request(request).await.unwrap();
    assert_eq!(whole(response).await.1, named);
}

#[tokio::test]
async fn a_client_without_a_good_certificate_is_refused() {
    let desk = Desk::new();
    let running = start(Some(desk.mutual(true)), Limits::default(), router()).await;
    let name = "spiffe://corp/gate";
    assert!(caller(&running, &desk, None).await.is_none());
    let foreign = Authority::new().client(&[name], &[]);
    assert!(caller(&running, &desk, Some(&foreign)).await.is_none());
    let two = desk.authority.client(&[name, "spiffe://corp/other"], &[]);
    assert!(caller(&running, &desk, Some(&two)).await.is_none());
    assert!(caller(&running, &desk, Some(&desk.authority.client(&[], &[]))).await.is_none());
    let mut expired = rcgen::CertificateParams::new(["gate.corp".to_owned()]).unwrap();
    expired.not_after = rcgen::date_time_ymd(2020, 1, 1);
    assert!(caller(&running, &desk, Some(&desk.authority.issue(expired))).await.is_none());
    let mut authority = rcgen::CertificateParams::new(["gate.corp".to_owned()]).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    assert!(caller(&running, &desk, Some(&desk.authority.issue(authority))).await.is_none());
    let mut other_use = rcgen::CertificateParams::new(["gate.corp".to_owned()]).unwrap();
    other_use.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    assert!(caller(&running, &desk, Some(&desk.authority.issue(other_use))).await.is_none());
    assert!(caller(&running, &desk, Some(&desk.authority.client(&[name], &[]))).await.is_some());
}

#[tokio::test]
async fn a_certificate_that_is_not_required_is_verified_all_the_same() {
    let desk = Desk::new();
    let running = start(Some(desk.mutual(false)), Limits::default(), router()).await;
    assert_eq!(caller(&running, &desk, None).await.unwrap(), "nobody");
    let foreign = Authority::new().client(&["spiffe://corp/gate"], &[]);
    assert!(caller(&running, &desk, Some(&foreign)).await.is_none());
    let own = desk.authority.client(&["spiffe://corp/gate"], &[]);
    assert!(caller(&running, &desk, Some(&own)).await.unwrap().starts_with("spiffe://corp/gate "));
}

#[tokio::test]
async fn an_authority_that_is_taken_away_is_believed_no_more() {
    let desk = Desk::new();
    let running = start(Some(desk.mutual(true)), Limits::default(), router()).await;
    let own = desk.authority.client(&["spiffe://corp/gate"], &[]);
    assert!(caller(&running, &desk, Some(&own)).await.is_some());
    let other = Authority::new();
    write(&desk.ca(), &other.pem(), 0o644);
    assert!(caller(&running, &desk, Some(&own)).await.is_none());
    let next = other.client(&["spiffe://corp/gate"], &[]);
    assert!(caller(&running, &desk, Some(&next)).await.is_some());
}
