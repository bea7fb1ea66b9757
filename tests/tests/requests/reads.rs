//! Bodies that are read: what is decided on is what the upstream gets, byte for byte, or it gets nothing.

use gatepass::issue::Constraint;
use gatepass_tests::kit::bodies::{HOST, MOST, ORDER, USUAL, order};
use gatepass_tests::kit::http2::{Answer, Request};
use gatepass_tests::kit::world::grant;

use crate::ask::{Ask, Sent};
use crate::gates::{RAW, SHADOW, SHIPPED, Turn, turn};

const MALFORMED: &str = "400 body_malformed";
pub(crate) const NOT_ALLOWED: &str = "403 body_not_allowed";
const TOO_LARGE: &str = "413 body_too_large";
pub(crate) const VIOLATED: &str = "403 constraint_violated";
const AMBIGUOUS: &str = "400 ambiguous_request";
pub(crate) const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

/// For this action, and an amount of at most 500 EUR where `bound`.
pub(crate) fn pass(turn: &Turn, action: &str, bound: bool) -> String {
    let mut grant = grant(action).unwrap();
    if bound {
        let most = Constraint { max: Some("500.00 EUR".into()), ..Constraint::default() };
        grant.entries[0].constraints.insert("amount".to_owned(), most);
    }
    turn.issue(&grant)
}

pub(crate) fn ask(path: &str, pass: &str) -> Ask {
    Ask::new("POST", path).at(HOST).bearing(pass)
}

pub(crate) fn pay(pass: &str) -> Ask {
    ask("/pay", pass).with("content-type", JSON)
}

/// The head of a request over HTTP/1.1 whose body is not yet there.
pub(crate) fn head(ask: &Ask, more: &str) -> Vec<u8> {
    let mut out = ask.http1_bytes();
    out.truncate(out.len() - 2);
    out.extend(more.bytes());
    out.extend(b"\r\n");
    out
}

fn chunked(ask: &Ask, parts: &[&[u8]], end: &str) -> Sent {
    let mut out = head(ask, "transfer-encoding: chunked\r\n");
    for part in parts {
        out.extend(format!("{:x}\r\n", part.len()).bytes());
        out.extend(*part);
        out.extend(b"\r\n");
    }
    out.extend(end.bytes());
    Sent::Http1(out)
}

fn framed(ask: &Ask, parts: &[&[u8]], trailers: &[(&[u8], &[u8])]) -> Sent {
    let mut request = ask.http2();
    request.data = parts.iter().map(|part| part.to_vec()).collect();
    request.trailers = Request::of(trailers.iter().copied()).fields;
    Sent::Http2(request)
}

#[test]
fn a_body_within_its_bounds_arrives_as_it_was_sent() {
    let mut turn = turn();
    let (paid, sent) = (pass(&turn, "bodies:pay", true), pass(&turn, "bodies:send", true));
    let bodies: [&[u8]; 7] = [
        ORDER,
        br#" { "amount" : 500 , "currency" : "EUR" } "#,
        br#"{"amount":"0.0001","currency":"EUR","more":[1e400,"\u00e9\ud83d\ude00",{"x":1,"x":2}]}"#,
        "{\"currency\":\"EUR\",\"amount\":499.9999,\"é\":\"\u{7f}\"}".as_bytes(),
        br#"{"amount":"\u0031\u0030\u0030","currency":"EUR"}"#,
        br#"{"amount":"1","currency":"EUR","method":"card"}"#,
        b"\r\n\t{\"amount\":1,\"currency\":\"EUR\"}\n",
    ];
    for listener in [RAW, SHIPPED] {
        for body in bodies {
            for sent in pay(&paid).body(body).both() {
                turn.arrives(listener, &sent, "bodies:pay", body);
            }
        }
        for (path, pass, action, most) in
            [("/pay", &paid, "bodies:pay", USUAL), ("/large", &sent, "bodies:send", MOST)]
        {
            let ask = ask(path, pass).with("content-type", JSON);
            for size in [most - 1, most] {
                let body = order(size);
                for sent in ask.clone().body(&body).both() {
                    turn.arrives(listener, &sent, action, &body);
                }
                let parts: Vec<&[u8]> = body.chunks(10_000).collect();
                turn.arrives(listener, &chunked(&ask, &parts, "0\r\n\r\n"), action, &body);
            }
            let body = order(most + 1);
            for sent in ask.clone().body(&body).both() {
                turn.row(listener, &sent, TOO_LARGE);
            }
            // Nothing says how long it is.
            let parts: Vec<&[u8]> = body.chunks(10_000).collect();
            let expected = if most == MOST { "413" } else { TOO_LARGE };
            let mut outcome = turn.outcome(listener, &chunked(&ask, &parts, "0\r\n\r\n")).unwrap();
            if most == MOST && outcome == TOO_LARGE {
                outcome = expected.to_owned();
            }
            turn.holds("one byte more, in chunks", &outcome, expected);
        }
    }
    turn.finish();
}

#[test]
fn what_a_body_says_is_held_against_the_gatepass() {
    let mut turn = turn();
    let paid = pass(&turn, "bodies:pay", true);
    let order = |amount: &str| format!("{{\"amount\":{amount},\"currency\":\"EUR\"}}");
    let allowed = format!("200: POST /pay at {HOST} as bodies:pay +{} bytes", ORDER.len());
    let twin = pay(&paid).body(ORDER);
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (order("500.0001").into(), VIOLATED),
        (order("\"500.0001\"").into(), VIOLATED),
        (order("1e2").into(), VIOLATED),
        (order("100.00000").into(), VIOLATED),
        (order("-0").into(), VIOLATED),
        (order("\"+1\"").into(), VIOLATED),
        (order("[100]").into(), VIOLATED),
        (order("{\"amount\":100}").into(), VIOLATED),
        (order("null").into(), VIOLATED),
        (order("true").into(), VIOLATED),
        (order("99999999999999999999").into(), VIOLATED),
        (br#"{"amount":"100.00","currency":"USD"}"#.into(), VIOLATED),
        (br#"{"amount":"100.00"}"#.into(), VIOLATED),
        (br#"{"currency":"EUR"}"#.into(), VIOLATED),
        (br#"[{"amount":"100.00","currency":"EUR"}]"#.into(), VIOLATED),
        (br#"{"amount":"100.00","currency":"EUR","_method":"DELETE"}"#.into(), AMBIGUOUS),
        (br#"{"amount":"100.00","currency":"EUR","_Meth\u006fd":"DELETE"}"#.into(), AMBIGUOUS),
        (br#""amount""#.into(), VIOLATED),
        (br#"{"order":{"amount":1,"currency":"EUR"}}"#.into(), VIOLATED),
        // Twice, or in a second spelling.
        (br#"{"amount":"900","amount":"100.00","currency":"EUR"}"#.into(), MALFORMED),
        (br#"{"amount":"100.00","amount":"900","currency":"EUR"}"#.into(), MALFORMED),
        (br#"{"amount":"100.00","currency":"EUR","Amount":"900"}"#.into(), MALFORMED),
        (br#"{"amount":"100.00","currency":"EUR","amoun\u0074":"900"}"#.into(), MALFORMED),
        (br#"{"\u0061mount":"100.00","currency":"EUR"}"#.into(), MALFORMED),
        (br#"{"amount":"100.00","currency":"EUR","_amount":"900"}"#.into(), MALFORMED),
        (br#"{"amount\u0000":"900","amount":"100.00","currency":"EUR"}"#.into(), MALFORMED),
        (br#"{"amount":"100.00","currency":"EUR","CURRENCY":"USD"}"#.into(), MALFORMED),
        // Not JSON to the letter.
        (b"".into(), MALFORMED),
        (b" ".into(), MALFORMED),
        (b"\xef\xbb\xbf{\"amount\":\"100.00\",\"currency\":\"EUR\"}".into(), MALFORMED),
        (br#"{"amount":"100.00","currency":"EUR",}"#.into(), MALFORMED),
        (br#"{"amount":"100.00","currency":"EUR"}{}"#.into(), MALFORMED),
        (br#"{"amount":"100.00","currency":"EUR"} //"#.into(), MALFORMED),
        (br#"{"amount":"100.00","currency":"EUR""#.into(), MALFORMED),
        (br#"{'amount':'100.00','currency':'EUR'}"#.into(), MALFORMED),
        (br#"{"amount":0100,"currency":"EUR"}"#.into(), MALFORMED),
        (br#"{"amount":NaN,"currency":"EUR"}"#.into(), MALFORMED),
        (b"{\"amount\":\"100.00\",\"currency\":\"EUR\",\"x\":\"\xff\"}".into(), MALFORMED),
        (b"{\"amount\":\"100.00\",\"currency\":\"EUR\",\"x\":\"\xc0\xaf\"}".into(), MALFORMED),
        (br#"{"amount":"100.00","currency":"EUR","x":"\ud800"}"#.into(), MALFORMED),
        (b"{\"amount\":\"100.00\",\"currency\":\"EUR\",\"x\":\"\n\"}".into(), MALFORMED),
        (b"{\"amount\":\"100.00\",\"currency\":\"EUR\"}\0".into(), MALFORMED),
        ("[".repeat(USUAL).into(), MALFORMED),
        (format!("{}{}", "[".repeat(65), "]".repeat(65)).into(), MALFORMED),
        (b"amount=100.00&currency=EUR".into(), MALFORMED),
        (
            "{\"amount\":\"100.00\",\"currency\":\"EUR\"}"
                .encode_utf16()
                .flat_map(u16::to_le_bytes)
                .collect(),
            MALFORMED,
        ),
        (b"\x1f\x8b\x08\x00".into(), MALFORMED),
    ];
    for (body, expected) in cases {
        turn.pair(RAW, &pay(&paid).body(body), expected, &twin, &allowed);
    }
    turn.finish();
}

#[test]
fn neither_query_nor_body_speaks_for_the_other() {
    let mut turn = turn();
    let paid = pass(&turn, "bodies:pay", true);
    let at = |query: &str, body: &str| {
        ask(&format!("/pay?{query}"), &paid).with("content-type", JSON).body(body)
    };
    let good = r#"{"amount":"100.00","currency":"EUR"}"#;
    let large = r#"{"amount":"900.00","currency":"EUR"}"#;
    let twin = at("item=pen&sum=1", good);
    let allowed =
        format!("200: POST /pay?item=pen&sum=1 at {HOST} as bodies:pay +{} bytes", good.len());
    for (query, body, expected) in [
        ("amount=100.00", large, VIOLATED),
        ("sum=1", large, VIOLATED),
        ("amount=100.00", good, AMBIGUOUS),
        ("amount=900.00", good, AMBIGUOUS),
        ("Amount=900.00", good, AMBIGUOUS),
        ("amount[]=900.00", good, AMBIGUOUS),
        ("[amount]=900.00", good, AMBIGUOUS),
        ("order.amount=900.00", good, AMBIGUOUS),
        ("%61mount=900.00", good, AMBIGUOUS),
        ("currency=USD", good, AMBIGUOUS),
        ("item=pen", r#"{"amount":"100.00","currency":"EUR","item":"gold"}"#, AMBIGUOUS),
        ("x=1", r#"{"amount":"100.00","currency":"EUR","item":"gold"}"#, AMBIGUOUS),
        ("item=pen", r#"{"amount":"100.00","currency":"EUR","It\u0065m":"gold"}"#, AMBIGUOUS),
        ("item=pen&item=gold", good, AMBIGUOUS),
    ] {
        turn.pair(RAW, &at(query, body), expected, &twin, &allowed);
    }
    turn.finish();
}

#[test]
fn a_body_is_of_the_type_that_the_action_takes_and_says_so_once() {
    let mut turn = turn();
    let paid = pass(&turn, "bodies:pay", true);
    let bare = || ask("/pay", &paid).body(ORDER);
    for good in [
        "application/json",
        "Application/JSON",
        "application/json; charset=utf-8",
        "application/json;charset=\"UTF-8\"",
        "application/vnd.orders+json",
    ] {
        for sent in bare().with("content-type", good).both() {
            turn.arrives(RAW, &sent, "bodies:pay", ORDER);
        }
    }
    let twin = bare().with("content-type", JSON).with("content-encoding", "identity");
    let allowed = format!("200: POST /pay at {HOST} as bodies:pay +{} bytes", ORDER.len());
    turn.pair(RAW, &bare(), NOT_ALLOWED, &twin, &allowed);
    for bad in [
        "",
        "text/plain",
        "text/json",
        "application/jsonp",
        "application/json-seq",
        "application/x-ndjson",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/octet-stream",
        "application/json; charset=utf-16",
        "application/json; charset=utf-8; charset=utf-16",
        "application/json; profile=x",
        "application/json, text/plain",
        "application/json;",
        "application/ json",
        "json",
        "*/*",
    ] {
        turn.pair(RAW, &bare().with("content-type", bad), NOT_ALLOWED, &twin, &allowed);
    }
    let typed = || bare().with("content-type", JSON);
    turn.pair(RAW, &typed().with("content-type", "text/plain"), NOT_ALLOWED, &twin, &allowed);
    turn.pair(RAW, &typed().with("content-type", JSON), NOT_ALLOWED, &twin, &allowed);
    turn.pair(RAW, &typed().with("Content-Type", JSON), NOT_ALLOWED, &twin, &allowed);
    for coding in ["gzip", "br", "deflate", "zstd", "identity, gzip", "gzip, identity", "x"] {
        let coded = typed().with("content-encoding", coding);
        turn.pair(RAW, &coded, NOT_ALLOWED, &twin, &allowed);
    }
    let twice = typed().with("content-encoding", "identity").with("content-encoding", "gzip");
    turn.pair(RAW, &twice, NOT_ALLOWED, &twin, &allowed);
    // What CGI and its heirs read as the header itself.
    for (name, value) in
        [("content_type", FORM), ("content_encoding", "gzip"), ("content_length", "1")]
    {
        turn.pair(RAW, &typed().with(name, value), NOT_ALLOWED, &twin, &allowed);
        // Envoy as we ship it lets no such name to the gate.
        turn.pair(SHIPPED, &typed().with(name, value), "400 | reset 2", &twin, &allowed);
    }
    turn.finish();
}

#[test]
fn forms_are_read_as_the_most_tolerant_upstream_does() {
    let mut turn = turn();
    let signed = pass(&turn, "bodies:sign", true);
    let of = |body: &str| ask("/sign", &signed).with("content-type", FORM).body(body);
    for good in ["amount=100.00", "x=1&amount=500&x=2&y", "amount=499.9999&amounts=900&method=card"]
    {
        for sent in of(good).both() {
            turn.arrives(RAW, &sent, "bodies:sign", good.as_bytes());
        }
    }
    let good = "amount=100.00&to=bob";
    let allowed = format!("200: POST /sign at {HOST} as bodies:sign +{} bytes", good.len());
    let twin = of(good);
    for (body, expected) in [
        ("amount=900", VIOLATED),
        ("amount=1e2", VIOLATED),
        ("amount=+100", VIOLATED),
        ("amount=", VIOLATED),
        ("amount", VIOLATED),
        ("to=bob", VIOLATED),
        ("", VIOLATED),
        ("amount=100&amount=900", MALFORMED),
        ("amount=100&amount[]=900", MALFORMED),
        ("amount=100&[amount]=900", MALFORMED),
        ("amount=100&Amount=900", MALFORMED),
        ("amount=100&%61mount=900", MALFORMED),
        ("amount=100&+amount=900", MALFORMED),
        ("amount=100&amount%00=900", MALFORMED),
        ("amount=100&amount%00x=900", MALFORMED),
        ("amount=100;amount=900", MALFORMED),
        ("amount=100&_method=DELETE", MALFORMED),
        ("amount=100&x=%zz", MALFORMED),
        ("amount=100&x=%ff", MALFORMED),
        ("amount=100&x= ", MALFORMED),
        (r#"{"amount":100}"#, VIOLATED),
    ] {
        turn.pair(RAW, &of(body), expected, &twin, &allowed);
    }
    let queried = ask("/sign?amount=900", &signed).with("content-type", FORM).body(good);
    turn.pair(RAW, &queried, AMBIGUOUS, &twin, &allowed);
    for kind in [JSON, "multipart/form-data; boundary=x", "text/plain"] {
        let other = ask("/sign", &signed).with("content-type", kind).body(good);
        turn.pair(RAW, &other, NOT_ALLOWED, &twin, &allowed);
    }
    let many = format!("amount=1{}", "&x=1".repeat(1_024));
    turn.pair(RAW, &of(&many), MALFORMED, &twin, &allowed);
    turn.finish();
}

#[test]
fn a_body_ends_once_however_it_comes() {
    let mut turn = turn();
    let paid = pass(&turn, "bodies:pay", true);
    let ask = pay(&paid);
    let bytes: Vec<&[u8]> = ORDER.chunks(1).collect();
    for sent in [
        chunked(&ask, &[ORDER], "0\r\n\r\n"),
        chunked(&ask, &bytes, "0\r\n\r\n"),
        // Envoy takes these trailers off, as it takes chunk extensions.
        chunked(&ask, &[ORDER], "0\r\nx-a: b\r\nx-gatepass-agent: agent:evil\r\n\r\n"),
        framed(&ask, &[ORDER], &[]),
        framed(&ask, &[ORDER, b""], &[]),
        framed(&ask, &[b"", ORDER, b"", b""], &[]),
        framed(&ask, &bytes, &[]),
        framed(&ask.clone().with("content-length", "36"), &bytes, &[]),
    ] {
        turn.arrives(RAW, &sent, "bodies:pay", ORDER);
    }
    assert_eq!(ORDER.len(), 36);
    let http1 = |more: &str, rest: &[u8]| {
        let mut out = head(&ask, more);
        out.extend(rest);
        Sent::Http1(out)
    };
    for (sent, expected) in [
        // Some upstreams merge trailers into the headers that were decided on.
        (framed(&ask, &[ORDER], &[(b"x-a", b"b")]), NOT_ALLOWED),
        (framed(&ask, &[], &[(b"x-a", b"b")]), NOT_ALLOWED),
        (framed(&ask, &[ORDER, b""], &[(b"content-type", b"text/plain")]), NOT_ALLOWED),
        (framed(&ask, &[b""], &[]), MALFORMED),
        (http1("\r\n".trim_end(), b""), MALFORMED),
        (http1("content-length: 0\r\n", b""), MALFORMED),
        (chunked(&ask, &[], "0\r\n\r\n"), MALFORMED),
        // Two lengths, or two ways to say one.
        (http1("content-length: 36\r\ncontent-length: 37\r\n", ORDER), "400"),
        (http1("content-length: 36\r\ntransfer-encoding: chunked\r\n", b"0\r\n\r\n"), "400"),
        (http1("content-length: +36\r\n", ORDER), "400"),
        (http1("transfer-encoding: gzip, chunked\r\n", b"0\r\n\r\n"), "501"),
        (framed(&ask.clone().with("content-length", "35"), &[ORDER], &[]), "reset 1"),
        (framed(&ask.clone().with("content-length", "37"), &[ORDER], &[]), "reset 1"),
        // Denied before any of it was there.
        (http1("content-length: 65537\r\n", b""), TOO_LARGE),
        (http1("content-length: 99999999999999999999\r\n", b""), "400"),
    ] {
        turn.row(RAW, &sent, expected);
    }
    turn.finish();
}

#[test]
fn grpc_and_graphql_are_routes_or_nothing() {
    let mut turn = turn();
    let (paid, passed) = (pass(&turn, "bodies:pay", false), pass(&turn, "bodies:pass", false));
    let framed = [b"\0\0\0\0\x24".as_slice(), ORDER].concat();
    let call = |path: &str, pass: &str| {
        ask(path, pass)
            .with("content-type", "application/grpc")
            .with("te", "trailers")
            .body(&framed)
    };
    for sent in call("/orders.v1.Orders/Ask", &passed).both() {
        turn.arrives(RAW, &sent, "bodies:pass", &framed);
    }
    let twin = call("/orders.v1.Orders/Ask", &passed);
    let allowed =
        format!("200: POST /orders.v1.Orders/Ask at {HOST} as bodies:pass +{} bytes", framed.len());
    // A denial has its status in `grpc-status`.
    for (path, pass) in [
        ("/orders.v1.Orders/Pay", &paid),
        ("/orders.v1.Orders/Ask", &paid),
        ("/orders.v1.Orders/Tell", &passed),
        ("/orders.v2.Orders/Ask", &passed),
    ] {
        turn.pair(RAW, &call(path, pass), "200 grpc-status 7", &twin, &allowed);
    }
    let case = call("/orders.v1.orders/Ask", &passed);
    turn.pair(RAW, &case, "200 grpc-status 13", &twin, &allowed);
    // The same path with JSON in it is the action that its route names.
    for sent in ask("/orders.v1.Orders/Pay", &paid).with("content-type", JSON).body("{}").both() {
        turn.arrives(RAW, &sent, "bodies:pay", b"{}");
    }
    let query = ask("/graphql", &passed).with("content-type", JSON).body(r#"{"query":"{a}"}"#);
    turn.pair(RAW, &query, "403 no_route", &twin, &allowed);
    turn.finish();
}

#[test]
fn a_call_is_bounded_by_its_own_route() {
    let mut turn = turn();
    let sent = pass(&turn, "bodies:send", false);
    let call = |method: &str, size: usize| {
        let mut body =
            format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"{method}\"}}").into_bytes();
        body.resize(size, b' ');
        body
    };
    let ask = ask("/rpc", &sent).with("content-type", JSON);
    for (method, size) in [("ask", 1_024), ("tell", 1_025), ("tell", USUAL)] {
        let body = call(method, size);
        for sent in ask.clone().body(&body).both() {
            turn.arrives(RAW, &sent, "bodies:send", &body);
        }
    }
    // The one is said of a call, in JSON-RPC; of the other nothing was read.
    for (method, size, status) in [("ask", 1_025, 200), ("tell", USUAL + 1, 413)] {
        for sent in ask.clone().body(call(method, size)).both() {
            let said = match turn.exchange(RAW, &sent).unwrap() {
                Answer::Response(one) if one.status == status => {
                    String::from_utf8_lossy(&one.body).contains("body_too_large")
                }
                _ => false,
            };
            turn.holds(method, &said.to_string(), "true");
            turn.quiet(method);
        }
    }
    turn.finish();
}

#[test]
fn in_shadow_what_would_be_refused_arrives_whole() {
    let mut turn = turn();
    let watched = pass(&turn, "bodies:watch", true);
    let watch = ask("/watch", &watched).with("content-type", JSON);
    for sent in watch.clone().body(ORDER).both() {
        turn.arrives(RAW, &sent, "bodies:watch", ORDER);
    }
    // Nobody is named to the upstream where nothing was decided.
    let all = |body: &[u8], path: &str| format!("200: POST {path} at {HOST} +{} bytes", body.len());
    let large = order(USUAL + 1);
    let most = order(MOST);
    let bodies: [&[u8]; 5] =
        [br#"{"amount":"900","currency":"EUR"}"#, b"no json", b"{", &large, &most];
    for body in bodies {
        for sent in watch.clone().body(body).both() {
            if body == most || body == large {
                turn.arrives(RAW, &sent, "bodies:watch", body);
            } else {
                turn.row(RAW, &sent, &all(body, "/watch"));
            }
        }
    }
    let paid = pass(&turn, "bodies:pay", true);
    let (good, other) = (pay(&paid), pay("x"));
    for body in [b"{}".as_slice(), &large] {
        for sent in good.clone().body(body).both() {
            turn.row(SHADOW, &sent, &all(body, "/pay"));
        }
        // What is no gatepass of ours is the upstream's.
        let expected = all(body, "/pay").replace(" +", " +authorization +");
        for sent in other.clone().body(body).both() {
            turn.row(SHADOW, &sent, &expected);
        }
    }
    for sent in good.clone().body(ORDER).both() {
        turn.arrives(SHADOW, &sent, "bodies:pay", ORDER);
    }
    turn.finish();
}
