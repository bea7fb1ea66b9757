use super::*;
use crate::bundle::Recording;

#[test]
fn decimals_have_one_reading() {
    for (good, shown) in [
        ("0", "0.0000"),
        ("500", "500.0000"),
        ("500.5", "500.5000"),
        ("500.50", "500.5000"),
        ("-0.0001", "-0.0001"),
        ("922337203685477.5807", "922337203685477.5807"),
        ("-922337203685477.5808", "-922337203685477.5808"),
    ] {
        assert_eq!(Decimal::parse(good).map(|d| d.to_string()).as_deref(), Some(shown), "{good}");
    }
    for bad in [
        "",
        "-",
        "+1",
        "-0",
        "-0.0",
        "01",
        "1.",
        ".1",
        "1.23456",
        "1e3",
        "1E3",
        "1,0",
        " 1",
        "1 ",
        "0x1",
        "922337203685477.5808",
        "٣",
        "1.+1",
        "--1",
        "inf",
        "NaN",
        "1.-1",
    ] {
        assert_eq!(Decimal::parse(bad), None, "{bad}");
    }
}

#[test]
fn integers_have_one_reading() {
    for (good, value) in [
        ("0", 0),
        ("-1", -1),
        ("9223372036854775807", i64::MAX),
        ("-9223372036854775808", i64::MIN),
    ] {
        assert_eq!(integer(good), Some(value));
    }
    for bad in ["", "-", "-0", "+1", "01", "1.0", "1e1", "9223372036854775808", " 1", "٣"] {
        assert_eq!(integer(bad), None, "{bad}");
    }
}

fn query(text: &str) -> Result<Found<'static>, Ambiguous> {
    let inputs: &'static [Input] = Box::leak(Box::new([Input {
        name: "amount".into(),
        kind: InputKind::Money(Currency::From(Source::Query("currency".into()))),
        source: Source::Query("amount".into()),
        record: Recording::None,
    }]));
    let path: &'static str = format!("/x?{text}").leak();
    let target: &'static Target<'static> =
        Box::leak(Box::new(Target::parse(path.as_bytes()).unwrap()));
    Inputs::read(inputs, &[], target, &[]).map(|found| found.find("amount").unwrap().clone())
}

#[test]
fn a_query_key_that_feeds_an_input_has_one_spelling() {
    let money = Money { amount: Decimal::from_integer(500).unwrap(), currency: *b"EUR" };
    assert_eq!(query("amount=500&currency=EUR"), Ok(Found::Value(Value::Money(money))));
    assert_eq!(query("b=1&amount=500&currency=EUR&c"), Ok(Found::Value(Value::Money(money))));
    assert_eq!(query("currency=EUR"), Ok(Found::Missing));
    assert_eq!(query("amount=500"), Ok(Found::Invalid));
    assert_eq!(query("amount=5e2&currency=EUR"), Ok(Found::Invalid));
    assert_eq!(query("amount=500&currency=eur"), Ok(Found::Invalid));
    for ambiguous in [
        "amount=1&amount=2&currency=EUR",
        "amount=1&currency=EUR&currency=USD",
        "amount=1&AMOUNT=2&currency=EUR",
        "amount=1&%61mount=2&currency=EUR",
        "%61mount=2&currency=EUR",
        "amount[]=2&currency=EUR",
        "amount=1&amount[0]=2&currency=EUR",
        "amount=1+1&currency=EUR",
        "amount=1&+amount=2&currency=EUR",
        "amount=1&%20amount=2&currency=EUR",
        "amount=1&amount[x=2&currency=EUR",
    ] {
        assert!(query(ambiguous).is_err(), "{ambiguous}");
    }
}

#[test]
fn a_header_that_feeds_an_input_comes_once() {
    let inputs = [Input {
        name: "team".into(),
        kind: InputKind::Text,
        source: Source::Header("x-team".into()),
        record: Recording::None,
    }];
    let target = Target::parse(b"/").unwrap();
    let read = |headers: &[Header<'static>]| {
        Inputs::read(&inputs, &[], &target, headers)
            .map(|found| found.find("team").unwrap().clone())
            .ok()
    };
    let header = |name: &'static [u8], value: &'static [u8]| Header { name, value };
    assert_eq!(read(&[header(b"x-team", b"red")]), Some(Found::Value(Value::Text("red".into()))));
    assert_eq!(read(&[]), Some(Found::Missing));
    assert_eq!(read(&[header(b"x-team", b"red,blue")]), None);
    assert_eq!(read(&[header(b"x-team", b"red"), header(b"x-team", b"blue")]), None);
    assert_eq!(read(&[header(b"x-team", b"red"), header(b"x_team", b"blue")]), None);
    assert_eq!(read(&[header(b"x_team", b"blue")]), None);
    assert_eq!(read(&[header(b"x-team", b"\xff")]), None);
    assert_eq!(read(&[header(b"x-team", b" red")]), None);
    assert_eq!(read(&[header(b"x-team", b"red\t")]), None);
}
