//! A page of the database is broken: the file is not served, not copied, and a copy takes its place.

use std::path::Path;
use std::time::Duration;

use gatepass_tests::kit::edge::{ALICE, Edge, ask};
use gatepass_tests::kit::world::until;

#[test]
fn a_broken_page_is_refused_and_a_copy_takes_its_place() {
    let mut edge = Edge::start().unwrap();
    let envoy = edge.envoy().unwrap();
    let good = edge.reading().unwrap();
    let asked = || ask(&envoy, "/orders", Some(&good));
    until(SOON, asked, |response| response.status == 200).unwrap();
    let copy = edge.desk.dir().join("copy.db");
    edge.desk.done(&["backup", "--dir", dir(&edge), path(&copy)]).unwrap();
    let lost = edge.reading().unwrap();
    edge.desk.done(&["revoke", "owner", ALICE, "--reason", "after the copy", "--wait"]).unwrap();
    edge.desk.kill();

    // Also what a killed server left in the write-ahead log goes into the file.
    let database = edge.desk.dir().join("gatepass.db");
    edge.desk.serve().unwrap();
    edge.desk.stop().unwrap();
    let whole = std::fs::read(&database).unwrap();
    let page = page_size(&whole);
    std::fs::write(&database, broken(&whole, whole.len() / page / 2)).unwrap();
    let refused = edge.desk.serve().unwrap_err().to_string();
    assert!(refused.contains("the database is damaged"), "{refused}");
    assert!(refused.contains("gatepass restore"), "{refused}");
    let second = edge.desk.dir().join("second.db");
    let said = edge.desk.run(&["backup", "--dir", dir(&edge), path(&second)]).unwrap();
    assert!(!said.ok && said.text.contains("is damaged"), "{}", said.text);

    // The gate goes on, and what was revoked stays revoked.
    for token in [&good, &lost] {
        assert_eq!(ask(&envoy, "/orders", Some(token)).unwrap().verdict(), "401 revoked_owner");
    }

    let said = edge.desk.done(&["restore", "--dir", dir(&edge), path(&copy)]).unwrap();
    assert!(said.contains("the database that was replaced is damaged"), "{said}");
    edge.desk.serve().unwrap();
    assert!(edge.reading().is_err(), "issuance is closed");
    edge.desk.done(&["open", "--reason", "looked through"]).unwrap();
    let fresh = edge.reading().unwrap();
    let asked = || ask(&envoy, "/orders", Some(&fresh));
    until(SOON, asked, |response| response.status == 200).unwrap();
    // The copy knows nothing of the revocation; the epoch does.
    for token in [&good, &lost] {
        assert_eq!(ask(&envoy, "/orders", Some(token)).unwrap().verdict(), "401 wrong_epoch");
    }
}

#[test]
fn each_page_is_looked_at() {
    let mut edge = Edge::start().unwrap();
    let database = edge.desk.dir().join("gatepass.db");
    let copy = edge.desk.dir().join("copy.db");
    // A copy has no free pages, in which nothing could be lost.
    edge.desk.done(&["backup", "--dir", dir(&edge), path(&copy)]).unwrap();
    edge.desk.stop().unwrap();
    let whole = std::fs::read(&copy).unwrap();
    let pages = whole.len() / page_size(&whole);
    for page in 0..pages {
        std::fs::write(&database, broken(&whole, page)).unwrap();
        let served = edge.desk.serve();
        assert!(served.is_err(), "page {page} of {pages} was not missed");
        // Whatever is broken, a copy takes its place.
        let said = edge.desk.done(&["restore", "--dir", dir(&edge), path(&copy)]).unwrap();
        assert!(said.contains("is damaged"), "page {page} of {pages}: {said}");
    }
    println!("{pages} pages, each missed when it is broken");
    // The twin: as it was.
    std::fs::write(&database, &whole).unwrap();
    edge.desk.serve().unwrap();
}

/// Another content in one page.
fn broken(whole: &[u8], page: usize) -> Vec<u8> {
    let size = page_size(whole);
    let mut out = whole.to_vec();
    out.get_mut(page * size..(page + 1) * size).unwrap().fill(0xa5);
    out
}

/// As the file's header states it (the SQLite file format, 1.3.2).
fn page_size(database: &[u8]) -> usize {
    let stated: [u8; 2] = database.get(16..18).unwrap().try_into().unwrap();
    match u16::from_be_bytes(stated) {
        1 => 65_536,
        size => size.into(),
    }
}

fn dir(edge: &Edge) -> &'static str {
    path(&edge.desk.dir())
}

/// Leaked: a few paths of a test.
fn path(path: &Path) -> &'static str {
    path.to_str().unwrap().to_owned().leak()
}

const SOON: Duration = Duration::from_secs(20);
