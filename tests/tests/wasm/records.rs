//! What the shipped filter tells of its decisions, as the post has it.

use gatepass_engine::record::{Batch, CONTENT_TYPE, Counted, Decision, Outcome, Shown, Told, Why};
use gatepass_tests::host::{HttpCall, Request, Vm};
use gatepass_tests::kit::signed::grant;
use gatepass_tests::kit::site::{Site, order, verdict};
use serde_json::json;

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// A second passes, and the worker posts.
fn post(site: &mut Site) -> Option<HttpCall> {
    site.advance(1_000);
    site.workers[0].tick().unwrap();
    posted(&site.workers[0])
}

fn posted(vm: &Vm) -> Option<HttpCall> {
    vm.http_calls().into_iter().find(|call| call.path() == "/v1/decisions")
}

fn answer(site: &mut Site, call: &HttpCall, status: &str) {
    site.workers[0].answer_http_call(call.token, &[(":status", status)], b"{}").unwrap();
}

fn with<T>(call: &HttpCall, see: impl FnOnce(&Batch<'_>) -> T) -> T {
    see(&Batch::read(&call.body).unwrap())
}

fn decisions<'a>(batch: &'a Batch<'a>) -> Vec<&'a Decision<'a>> {
    let one = |(_, entry): &'a (&[u8], Told<'a>)| match entry {
        Told::Decision(decision) => Some(&**decision),
        Told::Counted(_) => None,
    };
    batch.entries.iter().filter_map(one).collect()
}

fn counted<'a>(batch: &'a Batch<'a>) -> Vec<&'a Counted<'a>> {
    let one = |(_, entry): &'a (&[u8], Told<'a>)| match entry {
        Told::Counted(counted) => Some(counted),
        Told::Decision(_) => None,
    };
    batch.entries.iter().filter_map(one).collect()
}

fn token(site: &Site, action: &str) -> String {
    site.control.issue(&grant(action), site.now()).unwrap()
}

#[test]
fn a_decision_is_told_with_its_facts_and_nothing_secret() {
    let mut site = Site::start(1).unwrap();
    let token = token(&site, "orders:create");
    let path = "/orders?amount=5.00&currency=EUR&item=s3cret-item";
    let request = order("POST", path, Some(&token))
        .header("x-request-id", "0b1d-2")
        .header("traceparent", TRACE)
        .header("cookie", "session=s3cret-cookie")
        .property(&["connection", "sha256_peer_certificate_digest"], "ab12")
        .property(&["connection", "uri_san_peer_certificate"], "spiffe://corp/buyer");
    assert_eq!(site.ask(0, request).unwrap(), "allow");
    let call = post(&mut site).unwrap();
    assert_eq!(call.headers.text("content-type"), Some(CONTENT_TYPE));
    with(&call, |batch| {
        let [one] = decisions(batch)[..] else { panic!("{batch:#?}") };
        assert_eq!((one.outcome, one.code), (Outcome::Allow, "decided"));
        assert_eq!(
            (one.action, one.method, one.route),
            (Some("orders:create"), Some("POST"), Some("/orders"))
        );
        assert_eq!(
            (one.host, one.audience),
            (Some("orders.example"), Some("https://orders.example"))
        );
        // A text is not shown unless the policy says so.
        assert_eq!(one.inputs, [("amount", Shown::Value("5.0000 EUR"))]);
        assert_eq!((one.workload, one.certificate), (Some("spiffe://corp/buyer"), Some("ab12")));
        assert_eq!((one.request, one.trace), (Some("0b1d-2"), Some(TRACE)));
        assert!(one.policy.is_some() && one.position.is_some() && one.age.is_some());
        let bearer = one.bearer.as_ref().unwrap();
        assert!(
            bearer.agent.starts_with("agent:") && !bearer.task.is_empty() && !bearer.jti.is_empty()
        );
        assert_eq!(one.at / 1_000, site.now().0 - 1);
    });
    let body = String::from_utf8_lossy(&call.body).into_owned();
    for part in token.split('.').chain(["s3cret", "item=", "session"]) {
        assert!(!body.contains(part), "{part}");
    }
}

#[test]
fn what_names_a_request_is_bounded_and_of_its_form() {
    let mut site = Site::start(1).unwrap();
    let token = token(&site, "orders:read");
    for (name, value) in [
        ("x-request-id", token.as_str()),
        ("x-request-id", "a b"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0"),
        ("traceparent", "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ] {
        let request = order("GET", "/orders", Some(&token)).header(name, value);
        assert_eq!(site.ask(0, request).unwrap(), "allow");
    }
    let call = post(&mut site).unwrap();
    with(&call, |batch| {
        assert_eq!(decisions(batch).len(), 4);
        assert!(decisions(batch).iter().all(|one| one.request.is_none() && one.trace.is_none()));
        // Without a certificate nobody is named by one.
        assert!(
            decisions(batch).iter().all(|one| one.workload.is_none() && one.certificate.is_none())
        );
    });
}

#[test]
fn a_post_is_repeated_until_it_is_taken_and_none_is_under_way_twice() {
    let mut site = Site::start(1).unwrap();
    let token = token(&site, "orders:read");
    let ask = |site: &mut Site| {
        assert_eq!(site.ask(0, order("GET", "/orders", Some(&token))).unwrap(), "allow");
    };
    ask(&mut site);
    let first = post(&mut site).unwrap();
    ask(&mut site);
    site.advance(900);
    site.workers[0].tick().unwrap();
    // Besides, it polls the feed by now: its leader sleeps.
    let posts = site.workers[0].http_calls();
    let posts = posts.iter().filter(|call| call.path() == "/v1/decisions").count();
    assert_eq!(posts, 1, "one at a time");
    answer(&mut site, &first, "503");
    assert_eq!(site.metric("gatepass_record_posts_failed"), 1);
    assert_eq!(posted(&site.workers[0]), None, "not at once");
    let again = post(&mut site).unwrap();
    assert_eq!(again.body, first.body, "the same bytes");
    answer(&mut site, &again, "200");
    // What came since goes out with the answer.
    let next = posted(&site.workers[0]).or_else(|| post(&mut site)).unwrap();
    let [first, next] = [&first, &next].map(|call| {
        with(call, |batch| {
            (batch.header.first, batch.header.prev, batch.header.hash, batch.header.count)
        })
    });
    assert_eq!((first.0, first.3), (0, 1));
    assert_eq!((next.0, next.1), (1, first.2), "it joins on");
}

#[test]
fn what_is_never_taken_is_given_up_and_said() {
    let mut site = Site::start(1).unwrap();
    let token = token(&site, "orders:read");
    let request = order("GET", "/orders", Some(&token));
    site.ask(0, request.clone()).unwrap();
    let first = post(&mut site).unwrap();
    answer(&mut site, &first, "409");
    site.ask(0, request).unwrap();
    let next = post(&mut site).unwrap();
    with(&next, |batch| {
        assert_eq!(batch.header.first, 1, "its numbers stay missing");
        let [gap] = counted(batch)[..] else { panic!("{batch:#?}") };
        assert_eq!((gap.why, gap.code, gap.count), (Why::Dropped, "not_taken", 1));
    });
    site.workers[0].tick().unwrap();
    assert_eq!(site.metric("gatepass_records_dropped"), 1);
}

#[test]
fn those_without_a_gatepass_are_sampled_and_counted_and_push_nobody_out() {
    let mut site = Site::start(1).unwrap();
    let token = token(&site, "orders:read");
    let secret = "s3cret.not-a-gatepass";
    for nth in 0..2_000 {
        let forged = (nth % 2 == 0).then_some(secret);
        let said = site.ask(0, order("GET", &format!("/orders/{nth}"), forged)).unwrap();
        assert!(said.starts_with("401"), "{said}");
        site.ask(0, order("GET", "/healthz", None)).unwrap();
    }
    assert_eq!(site.ask(0, order("GET", "/orders", Some(&token))).unwrap(), "allow");
    let call = post(&mut site).unwrap();
    assert!(!String::from_utf8_lossy(&call.body).contains("s3cret"));
    with(&call, |batch| {
        let all = decisions(batch);
        let (known, unknown): (Vec<&Decision<'_>>, Vec<_>) =
            all.into_iter().partition(|one| one.bearer.is_some());
        assert_eq!((known.len(), unknown.len()), (1, 16));
        assert!(unknown.iter().all(|one| one.inputs.is_empty()));
        let of = |why| {
            counted(batch).iter().filter(|one| one.why == why).map(|one| one.count).sum::<u64>()
        };
        assert_eq!(of(Why::Unverified), 2_000 - 16);
        assert_eq!(of(Why::Open), 2_000);
        assert_eq!(of(Why::Dropped), 0);
    });
    assert!(call.body.len() < 16 * 1024, "{}", call.body.len());
}

#[test]
fn a_share_of_low_allows_is_told_where_the_operator_says_so() {
    let rules = |share: u32| json!({ "enabled": true, "low_allows_per_mille": share });
    let told = |share: u32, action: &str, request: fn(&str) -> Request| {
        let mut site = Site::with(1, |plugin| plugin["records"] = rules(share)).unwrap();
        let token = token(&site, action);
        for _ in 0..1_000 {
            assert_eq!(site.ask(0, request(&token)).unwrap(), "allow");
        }
        let mut sums = (0, 0);
        while let Some(call) = post(&mut site) {
            let (some, sampled) = with(&call, |batch| {
                let of = counted(batch).into_iter().filter(|one| one.why == Why::Sampled);
                (decisions(batch).len(), of.map(|one| one.count).sum::<u64>())
            });
            sums = (sums.0 + some, sums.1 + sampled);
            answer(&mut site, &call, "200");
        }
        sums
    };
    let read: fn(&str) -> Request = |token| order("GET", "/orders", Some(token));
    let (some, rest) = told(100, "orders:read", read);
    assert!((40..250).contains(&some), "{some}");
    assert_eq!(some as u64 + rest, 1_000, "the others are counted");
    assert_eq!(told(0, "orders:read", read), (0, 1_000));
    assert_eq!(told(1_000, "orders:read", read), (1_000, 0));
    // Of what is not low all is told.
    let create: fn(&str) -> Request =
        |token| order("POST", "/orders?amount=5.00&currency=EUR", Some(token));
    assert_eq!(told(0, "orders:create", create), (1_000, 0));
}

#[test]
fn where_records_are_off_nothing_is_posted() {
    let mut site = Site::with(1, |plugin| plugin["records"] = json!({ "enabled": false })).unwrap();
    let token = token(&site, "orders:read");
    site.ask(0, order("GET", "/orders", Some(&token))).unwrap();
    assert_eq!(post(&mut site), None);
}

#[test]
fn an_outage_takes_no_more_memory_than_the_ring_and_fails_no_request() {
    let mut site = Site::start(1).unwrap();
    let token = token(&site, "orders:read");
    let before = site.workers[0].memory_size();
    let request = order("GET", "/orders", Some(&token));
    let mut asked = 0_u64;
    let mut after = 5;
    while after > 0 {
        assert!(asked < 400_000, "the ring has no end");
        for _ in 0..2_000 {
            assert_eq!(verdict(&site.workers[0].decide(request.clone()).unwrap()), "allow");
            asked += 1;
        }
        site.workers[0].tick().unwrap();
        after -= u32::from(site.metric("gatepass_records_dropped") > 0);
    }
    let grown = site.workers[0].memory_size() - before;
    assert!(grown < 8 << 20, "{grown}");
    let dropped = site.metric("gatepass_records_dropped");
    assert!(dropped > 0);
    // All that fits is told, then the gap, and both together are all there was.
    let (mut told, mut said) = (0, 0);
    for _ in 0..200 {
        let Some(call) = posted(&site.workers[0]).or_else(|| post(&mut site)) else { break };
        let (some, gaps) = with(&call, |batch| {
            let of = counted(batch).into_iter().filter(|one| one.why == Why::Dropped);
            (decisions(batch).len() as u64, of.map(|one| one.count).sum::<u64>())
        });
        told += some;
        said += gaps;
        answer(&mut site, &call, "200");
    }
    assert_eq!((told + said, said), (asked, dropped));
    println!("{told} records fit, {dropped} were dropped; memory grew by {grown} bytes");
}
