//! The control plane hands its filter out, with the digest that an Envoy pins.

use gatepass_tests::kit::desk::Desk;
use gatepass_tests::kit::filter;
use gatepass_tests::kit::wire::{Connection, Response, request};
use sha2::{Digest as _, Sha256};

#[test]
fn the_filter_is_fetched_once_and_then_known_by_its_tag() {
    let mut desk = Desk::start("prod", false).unwrap();
    let get = |desk: &Desk, path: &str, headers: &[(&str, &str)]| -> Response {
        let mut connection = Connection::open(desk.feed()).unwrap();
        connection.exchange(&request("GET", "feed", path, headers)).unwrap()
    };
    assert_eq!(get(&desk, "/filter/gatepass.wasm", &[]).status, 404, "none is configured");
    desk.kill();
    let wasm = filter::path().unwrap();
    let named = format!("filter = \"{}\"", wasm.display());
    desk.configure(|text| text.replace("# filter = \"gatepass_filter.wasm\"", &named)).unwrap();
    desk.serve().unwrap();

    let shipped = std::fs::read(&wasm).unwrap();
    let digest: String = Sha256::digest(&shipped).iter().map(|b| format!("{b:02x}")).collect();
    let fetched = get(&desk, "/filter/gatepass.wasm", &[]);
    assert_eq!(fetched.header("content-type"), Some("application/wasm"));
    assert!(fetched.body == shipped);
    let tag = fetched.header("etag").unwrap().to_owned();
    assert_eq!(tag, format!("\"{digest}\""));
    assert_eq!(get(&desk, "/filter/gatepass.wasm", &[("if-none-match", &tag)]).status, 304);
    assert_eq!(get(&desk, "/filter/gatepass.wasm", &[("if-none-match", "\"x\"")]).status, 200);
    let stated = get(&desk, "/filter/gatepass.wasm.sha256", &[]);
    assert_eq!(stated.body, format!("{digest}  gatepass.wasm\n").into_bytes());

    // What is printed for discovery names just this file at just this place.
    let dir = desk.dir();
    let printed =
        desk.done(&["manifests", "--dir", dir.to_str().unwrap(), "--for", "ecds"]).unwrap();
    assert!(printed.contains(&digest), "{printed}");
    assert!(printed.contains(&format!("http://{}/filter/gatepass.wasm", desk.feed())), "{printed}");
}
