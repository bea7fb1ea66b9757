//! Bytes that no well-meaning client sends. One panic is an outage of the worker.

use gatepass_tests::host::{Headers, Outcome, Request};
use gatepass_tests::kit::signed::{JTI, grant};
use gatepass_tests::kit::site::{Site, order, verdict};

fn site() -> (Site, String) {
    let site = Site::start(1).unwrap();
    let token = site.control.issue(&grant("orders:read"), site.now()).unwrap();
    (site, token)
}

/// Every answer but a crash and an allow.
fn denied(site: &mut Site, request: Request, what: &str) {
    let outcome = site.workers[0].decide(request);
    let outcome = outcome.unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(matches!(outcome, Outcome::Replied(_)), "{what}: {}", verdict(&outcome));
}

const ODD: &[&[u8]] = &[
    b"",
    b" ",
    b"\0",
    b"\xff\xfe",
    b"\xc0\x80",
    b"\xed\xa0\x80",
    b"a\0b",
    b"\r\n",
    b"\x7f",
    "\u{202e}".as_bytes(),
    b"%00",
    b"%",
    b"%ff",
    b",",
    b"a,b",
];

#[test]
fn odd_bytes_beside_a_granted_request_change_nothing() {
    let (mut site, token) = site();
    for odd in ODD {
        for name in ["x-a", "cookie", "user-agent", "x-forwarded-for", "content-type"] {
            let request = order("GET", "/orders", Some(&token)).header(name, odd);
            assert_eq!(site.ask(0, request).unwrap(), "allow", "{name} {odd:?}");
        }
        for name in [&b"x-\xff"[..], b"\xff", b"x\0y", b" ", b"x-gatepass-\xff"] {
            let request = order("GET", "/orders", Some(&token)).header(name, odd);
            let upstream = match site.workers[0].decide(request).unwrap() {
                Outcome::Continued(headers) => headers,
                other => panic!("{other:?}"),
            };
            assert_eq!(upstream.first(b"x-gatepass-\xff"), None);
        }
    }
}

#[test]
fn odd_bytes_where_it_matters_are_denied() {
    let (mut site, token) = site();
    let line = |method: &[u8], host: &[u8], path: &[u8]| {
        let authorization = format!("Bearer {token}");
        Request::new(Headers::exact(&[
            (&b":method"[..], method),
            (b":authority", host),
            (b":path", path),
            (b"authorization", authorization.as_bytes()),
        ]))
    };
    let good = line(b"GET", b"orders.example", b"/orders");
    assert_eq!(site.ask(0, good).unwrap(), "allow");
    for odd in ODD {
        let with = |good: &[u8]| [good, *odd].concat();
        let what = format!("{odd:?}");
        denied(&mut site, line(odd, b"orders.example", b"/orders"), &what);
        denied(&mut site, line(b"GET", odd, b"/orders"), &what);
        denied(&mut site, line(b"GET", b"orders.example", odd), &what);
        denied(&mut site, order("GET", "/orders", None).header("authorization", odd), &what);
        let bearer = [b"Bearer ", *odd].concat();
        denied(&mut site, order("GET", "/orders", None).header("authorization", bearer), &what);
        if !odd.is_empty() {
            denied(&mut site, line(&with(b"GET"), b"orders.example", b"/orders"), &what);
            denied(&mut site, line(b"GET", &with(b"orders.example"), b"/orders"), &what);
            denied(&mut site, line(b"GET", b"orders.example", &with(b"/orders")), &what);
            let longer = format!("Bearer {token}").into_bytes();
            let longer = [longer.as_slice(), odd].concat();
            denied(&mut site, order("GET", "/orders", None).header("authorization", longer), &what);
        }
    }
}

#[test]
fn a_request_line_that_is_missing_or_doubled_is_denied() {
    let (mut site, token) = site();
    let bearer = format!("Bearer {token}");
    let all: [(&str, &str); 4] = [
        (":method", "GET"),
        (":authority", "orders.example"),
        (":path", "/orders"),
        ("authorization", &bearer),
    ];
    assert_eq!(site.ask(0, Request::new(Headers::exact(&all))).unwrap(), "allow");
    for (at, pair) in all.iter().enumerate() {
        let mut without = all.to_vec();
        without.remove(at);
        denied(&mut site, Request::new(Headers::exact(&without)), pair.0);
        let mut doubled = all.to_vec();
        doubled.push(*pair);
        denied(&mut site, Request::new(Headers::exact(&doubled)), pair.0);
        let mut other = all.to_vec();
        other.insert(0, (pair.0, "x"));
        denied(&mut site, Request::new(Headers::exact(&other)), pair.0);
    }
    denied(&mut site, Request::new(Headers::new()), "nothing at all");
}

#[test]
fn more_headers_than_anybody_needs_are_denied_and_cost_no_memory() {
    let (mut site, token) = site();
    let many = |count: usize| {
        (0..count).fold(order("GET", "/orders", Some(&token)), |request, nth| {
            request.header(format!("x-{nth}"), "y")
        })
    };
    assert_eq!(site.ask(0, many(900)).unwrap(), "allow");
    let before = site.workers[0].memory_size();
    for count in [1_000, 1_001, 5_000, 50_000] {
        denied(&mut site, many(count), "many");
    }
    let spoofed = (0..900).fold(order("GET", "/orders", Some(&token)), |request, nth| {
        request.header(format!("x-gatepass-{nth}"), "y")
    });
    let Outcome::Continued(upstream) = site.workers[0].decide(spoofed).unwrap() else {
        panic!("not allowed");
    };
    assert_eq!(upstream.len(), 4 + 5);
    assert!(site.workers[0].memory_size() - before < 16 << 20);
}

#[test]
fn huge_values_are_denied_where_they_are_read_and_passed_where_they_are_not() {
    let (mut site, token) = site();
    let huge = "a".repeat(4 << 20);
    let request = order("GET", "/orders", Some(&token)).header("x-a", &huge);
    assert_eq!(site.ask(0, request).unwrap(), "allow");
    let before = site.workers[0].memory_size();
    for round in 0..20 {
        let what = format!("round {round}");
        denied(&mut site, order("GET", &format!("/{huge}"), Some(&token)), &what);
        denied(&mut site, order("GET", &format!("/orders?a={huge}"), None), &what);
        denied(&mut site, order("GET", &"/a".repeat(1 << 20), Some(&token)), &what);
        denied(&mut site, order(&huge, "/orders", Some(&token)), &what);
        denied(&mut site, order("GET", "/orders", Some(&huge)), &what);
        let dots = format!("{huge}.{huge}.{huge}");
        denied(&mut site, order("GET", "/orders", Some(&dots)), &what);
        denied(&mut site, Request::to("GET", &huge, "/orders"), &what);
    }
    let grown = site.workers[0].memory_size() - before;
    assert!(grown < 48 << 20, "{grown}");
    // What is counted is named by code and action, never by what a caller sent.
    let metrics = site.envoy.metrics().all();
    assert!(metrics.len() < 40, "{}", metrics.len());
    assert!(metrics.keys().all(|name| name.len() < 100 && !name.contains(JTI)));
}

#[test]
fn gatepasses_of_every_broken_shape_are_denied_cheaply() {
    let (mut site, token) = site();
    let parts: Vec<&str> = token.split('.').collect();
    let mut shapes: Vec<String> = vec![
        ".".into(),
        "..".into(),
        "...".into(),
        format!("{token}."),
        format!(".{token}"),
        format!("{}.{}.", parts[0], parts[1]),
        format!("{}..{}", parts[0], parts[2]),
        format!("{}={}", token, ""),
        token.replace('-', "+").replace('_', "/") + "=",
        format!("{}.{}.{}", parts[1], parts[0], parts[2]),
    ];
    for at in (0..token.len()).step_by(7) {
        let mut flipped = token.clone().into_bytes();
        flipped[at] = if flipped[at] == b'A' { b'B' } else { b'A' };
        shapes.push(String::from_utf8(flipped).unwrap());
        shapes.push(token[..at].to_owned());
    }
    for shape in shapes.iter().filter(|shape| **shape != token) {
        let request = order("GET", "/orders", Some(shape));
        let (outcome, fuel) = site.workers[0].fuel_of(|worker| worker.decide(request));
        let said = verdict(&outcome.unwrap());
        assert!(said.starts_with("401 ") || said.starts_with("400 "), "{said} {shape}");
        assert!(fuel < 4_000_000, "{fuel} for {shape}");
    }
}

#[test]
fn an_upstreams_odd_answer_does_not_end_the_worker() {
    let (mut site, token) = site();
    let worker = &mut site.workers[0];
    for odd in ODD {
        let stream = worker.send(order("GET", "/orders", Some(&token))).unwrap();
        let headers = [(&b":status"[..], &b"200"[..]), (b"x-a", odd), (b"x-\xff", odd)];
        let outcome = worker.response(stream, &headers, true).unwrap();
        assert!(matches!(outcome, Outcome::Continued(_)));
        worker.finish(stream).unwrap();
    }
    let stream = worker.send(order("GET", "/orders", Some(&token))).unwrap();
    let many: Vec<(String, &str)> =
        (0..2_000).map(|nth| (format!("x-gatepass-{nth}"), "y")).collect();
    let outcome = worker.response(stream, &many, true).unwrap();
    assert_eq!(outcome, Outcome::Reset, "what cannot be cleaned is not passed on");
    let again = worker.decide(order("GET", "/orders", Some(&token))).unwrap();
    assert_eq!(verdict(&again), "allow");
}

#[test]
fn no_request_without_a_gatepass_costs_more_than_a_few_signatures() {
    let (mut site, token) = site();
    let bytes = 60_000;
    let fill = |text: &str| text.repeat(bytes / text.len());
    let get = |path: &str| order("GET", path, None);
    let pairs: String = (0..7_000).map(|nth| format!("k{nth}=1&")).collect();
    let spoofed = |prefix: &str| {
        (0..900).fold(get("/healthz"), |all, nth| all.header(format!("{prefix}{nth}"), "x"))
    };
    let open =
        |value: String| Request::to("GET", "static.example", "/").header("authorization", value);
    let mut cases: Vec<Request> = ["&", "a&", "a=1&", "=", "%c3%a4", "amount=1&", "+"]
        .iter()
        .map(|text| order("POST", &format!("/orders?{}", fill(text)), None))
        .collect();
    cases.extend(["/", "/a", "/..", "/%41", "%", "/;"].iter().map(|text| get(&fill(text))));
    cases.extend(["a", ".", "A.", "a.a.a,"].iter().map(|t| order("GET", "/", Some(&fill(t)))));
    cases.extend([
        order("POST", &format!("/orders?{pairs}"), None),
        order("GET", &format!("/orders/{}", fill("a")), None),
        order(&fill("A"), "/orders", None),
        Request::to("GET", &fill("a."), "/"),
        spoofed("x-gatepass-"),
        spoofed("x_gatepass_"),
        get("/orders").header("authorization", format!("Bearer {}", fill(" "))),
        open(fill("Bearer a.a.a,")),
        open(format!("Bearer {token},").repeat(60)),
        open(format!("Bearer {}x,", token).repeat(60)),
    ]);
    for (nth, request) in cases.into_iter().enumerate() {
        let (outcome, fuel) = site.workers[0].fuel_of(|worker| worker.decide(request));
        let said = verdict(&outcome.unwrap());
        assert!(fuel < 12_000_000, "{nth} costs {fuel}: {said}");
    }
}

#[test]
fn numbers_and_shapes_at_the_edges_in_signed_claims_end_no_worker() {
    use gatepass_tests::kit::signed::ISSUER;
    use serde_json::{Value, json};
    let (mut site, _) = site();
    let claims = site.control.claims(&grant("orders:read"), site.now()).unwrap();
    let deep = (0..100).fold(json!(1), |inner, _| json!([inner]));
    let values = [
        json!(0),
        json!(-1),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(1.5),
        json!(1e300),
        json!(""),
        json!("\u{0}"),
        json!("\u{202e}"),
        json!("x".repeat(3_000)),
        json!([]),
        json!({}),
        json!(null),
        json!(true),
        json!([u64::MAX, u64::MAX]),
        json!([0, 0]),
        json!([7, u64::MAX]),
        json!([json!({}), json!([])]),
        json!({"sub": {"sub": {}}}),
        deep,
    ];
    let mut allowed = 0;
    for claim in claims.as_object().unwrap().keys() {
        for value in &values {
            let mut changed: Value = claims.clone();
            changed[claim] = value.clone();
            let Ok(pass) = site.control.sign(&changed, ISSUER) else { continue };
            let outcome = site.workers[0].decide(order("GET", "/orders", Some(&pass)));
            let said = verdict(&outcome.unwrap_or_else(|error| panic!("{claim} {value}: {error}")));
            // Scopes are not asked for here, and ids may be any text.
            let free = ["scope", "jti", "txn", "blueprint", "assurance"];
            let expected = said != "allow" || free.contains(&claim.as_str());
            assert!(expected, "{claim} {value} {said}");
            allowed += usize::from(said == "allow");
        }
    }
    assert!(allowed < 20, "{allowed}");
}
