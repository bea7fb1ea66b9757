//! x
use gatepass_engine::revocation::Kind;
use gatepass_tests::kit::signed::grant;
use gatepass_tests::kit::site::{Site, order};
#[test]
fn measure() {
    let mut site = Site::start(1).unwrap();
    let mut last = 0;
    for n in 0..6 {
        site.revoke(Kind::Credential, &format!("x{n}")).unwrap();
        let t = site.control.issue(&grant("orders:read"), site.now()).unwrap();
        let (_, fuel) =
            site.workers[0].fuel_of(|w| w.decide(order("GET", "/orders", None)).unwrap());
        let (_, f2) =
            site.workers[0].fuel_of(|w| w.decide(order("GET", "/orders", Some(&t))).unwrap());
        let (_, f3) =
            site.workers[0].fuel_of(|w| w.decide(order("GET", "/orders", Some(&t))).unwrap());
        let (_, f4) = site.workers[0].fuel_of(|w| w.decide(order("GET", "/orders", None)).unwrap());
        let (_, rel) = site.workers[0].fuel_of(|w| w.reload().unwrap());
        eprintln!(
            "delta+nocred {fuel} first {f2} allow {f3} nocred {f4} reload {rel} (+{})",
            rel - last
        );
        last = rel;
    }
}
