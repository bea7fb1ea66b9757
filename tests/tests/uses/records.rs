//! `audit: confirmed`: the record is stored before the request goes on, or the request does not.

use crate::site::{Site, ask};

#[test]
fn a_request_goes_on_once_its_record_is_stored_and_not_without() {
    let mut site = Site::start();
    let envoy = site.envoy("edge-1");
    let (note, settle) = (site.pass("orders:note"), site.pass("orders:settle"));
    let _ = site.upstream.take();
    for _ in 0..3 {
        assert_eq!(ask(&envoy, "GET", "/notes?secret=1", &note).verdict(), "200");
    }
    assert_eq!(ask(&envoy, "GET", "/settlements", &settle).verdict(), "200");
    assert_eq!(ask(&envoy, "GET", "/settlements", &settle).verdict(), "401 replayed");
    let received = site.upstream.take();
    assert_eq!(received.len(), 4);
    site.desk.kill();
    let denied = ask(&envoy, "GET", "/notes", &note);
    assert_eq!(denied.verdict(), "503 confirmation_failed");
    assert!(site.upstream.take().is_empty());
    site.desk.serve().unwrap();
    assert_eq!(ask(&envoy, "GET", "/notes", &note).verdict(), "200");
}
