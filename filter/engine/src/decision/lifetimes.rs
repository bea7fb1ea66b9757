//! How long a permit lasts, and the requests whose shape alone decides.

use super::*;
use crate::testkit::Scene;

fn allowed(scene: &Scene) -> Permit {
    match scene.decide() {
        Decision::Allow(permit) => permit,
        Decision::Deny(denial) => panic!("denied: {denial}"),
        Decision::Redeem(redemption) => panic!("{redemption:?}"),
        Decision::Read(awaited) => panic!("{awaited:?}"),
    }
}

#[test]
fn a_permit_ends_with_its_routes_duration_where_something_was_decided() {
    assert_eq!(allowed(&Scene::good()).standing().max_duration(), Some(60));
    let public = Scene::with(|s| s.ask("GET", "/health"));
    assert_eq!(allowed(&public).standing().max_duration(), Some(60));
    let passed = Scene::with(|s| s.authority = "open.example".into());
    assert_eq!(allowed(&passed).reason(), &Reason::PassedThrough);
    assert_eq!(allowed(&passed).standing().max_duration(), None);
    let shadow = Scene::with(|s| {
        s.settings.mode = Mode::Shadow;
        s.scheme = None;
    });
    assert!(matches!(allowed(&shadow).reason(), Reason::Shadow(_)));
    assert_eq!(allowed(&shadow).standing().max_duration(), None);
}

#[test]
fn only_connect_comes_without_a_path() {
    for (method, code) in [("CONNECT", Code::StreamNotAllowed), ("GET", Code::AmbiguousRequest)] {
        let scene = Scene::with(|s| s.method = method);
        let decision = scene.request(|request| {
            let headers: Vec<Header<'_>> =
                request.headers.iter().filter(|h| h.name != b":path").copied().collect();
            decide(&Request { headers: &headers, ..*request }, &scene.gate(), scene.now)
        });
        assert!(matches!(&decision, Decision::Deny(d) if d.code() == code), "{decision:?}");
    }
}

#[test]
fn a_scheme_without_exactly_one_token_is_told_of_before_its_shape_is_looked_at() {
    let failed_at = |authorization: &str| {
        let scene = Scene::with(|s| s.authorization = Some(authorization.as_bytes().to_vec()));
        let gate = scene.gate();
        let (_, trace) = scene.request(|request| explain(request, &gate, scene.now));
        let failed = trace.0.iter().find(|(_, outcome)| matches!(outcome, Outcome::Failed(..)));
        failed.map(|(check, _)| *check)
    };
    for none in ["Bearer", "Bearer ", "Bearer  a.b.c", "Bearer a.b.c ", "DPoP a.b.c\td"] {
        assert_eq!(failed_at(none), Some(Check::Credential), "`{none}`");
    }
    assert_eq!(failed_at("Bearer a.b.c"), Some(Check::Shape));
}
