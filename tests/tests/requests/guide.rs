//! The requests in `docs/policy.md`, made as they stand there, over both versions, and answered as they say.

use gatepass::issue::Entry;
use gatepass_tests::kit::world::grant;

use crate::ask::Ask;
use crate::gates::{RAW, SHIPPED, turn};

/// The policy that they are made under.
pub(crate) fn policy() -> &'static str {
    blocks("yaml").pop().unwrap()
}

fn blocks(kind: &str) -> Vec<&'static str> {
    let fence = format!("```{kind}\n");
    let parts = GUIDE.split(&*fence).skip(1);
    parts.map(|part| part.split_once("```").unwrap().0).collect()
}

#[test]
fn the_requests_of_the_guide_are_answered_as_it_says() {
    let mut turn = turn();
    let entries: Vec<Entry> =
        blocks("json").into_iter().map(|text| serde_json::from_str(text).unwrap()).collect();
    assert_eq!(entries.len(), 2);
    let passes: Vec<String> = entries
        .into_iter()
        .map(|entry| {
            let mut grant = grant("payments:send").unwrap();
            grant.audiences = vec!["https://payments.example".to_owned()];
            grant.entries = vec![entry];
            turn.issue(&grant)
        })
        .collect();
    let mut made = 0;
    for part in GUIDE.split("```http\n").collect::<Vec<_>>().windows(2) {
        let (before, text) = (part[0], part[1].split_once("\n```").unwrap().0);
        let expected = before.trim_end().rsplit('`').nth(1).unwrap();
        let (head, body) = text.split_once("\n\n").unwrap();
        let mut lines = head.lines();
        let (method, path) = lines.next().unwrap().split_once(' ').unwrap();
        let path = path.strip_suffix(" HTTP/1.1").unwrap();
        let mut ask = Ask::new(method, path).body(body);
        for (name, value) in lines.map(|line| line.split_once(": ").unwrap()) {
            ask = if name == "host" { ask.at(value) } else { ask.with(name, value) };
        }
        let ask = ask.bearing(&passes[usize::from(path.starts_with("/payments"))]);
        for listener in [RAW, SHIPPED] {
            for sent in ask.both() {
                match expected {
                    "200" => {
                        let action = match path {
                            "/payments" => "payments:send",
                            "/subscriptions" => "payments:subscribe",
                            _ => "payments:export",
                        };
                        turn.arrives(listener, &sent, action, body.as_bytes());
                    }
                    expected => turn.row(listener, &sent, expected),
                }
            }
        }
        made += 1;
    }
    assert_eq!(made, GUIDE.matches("```http").count());
    assert!(made >= 10, "{made}");
    turn.finish();
}

const GUIDE: &str = include_str!("../../../docs/policy.md");
