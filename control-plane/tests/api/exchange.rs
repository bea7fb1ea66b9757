//! Exchange never gains anything: not by what is asked for, not by how often.

use serde_json::{Value, json};

use crate::kit::{Agent, Ask, FILES, Follower, ORDERS, Plane, claims};

fn reads() -> Value {
    json!({ "actions": ["orders:read"] })
}

#[test]
fn an_agent_narrows_its_own() {
    let plane = Plane::furnished();
    let agent = plane.agent(1);
    let parent = agent.gatepass(&plane, &Ask::actions(&["orders:read", "orders:list"]));
    plane.pass(200);
    let issued = agent.issued(&plane, &Ask::exchange(&parent, reads()).with("lifetime", "300"));
    assert_eq!(issued["issued_token_type"], "urn:ietf:params:oauth:token-type:access_token");
    let child = issued["access_token"].as_str().unwrap();
    let (held, of) = (claims(child), claims(&parent));
    assert_eq!(held["exp"], of["exp"], "not longer than the parent");
    assert_eq!((&held["sub"], held.get("act")), (&json!(agent.id), None));
    assert_eq!(held["anc"], json!([of["jti"]]));
    assert_eq!(held["txn"], of["txn"]);
    let gate = Follower::of(&plane);
    assert_eq!(gate.reads(child), Ok(()));
    let lists = |token: &str| gate.says("GET", "orders.example", "/orders", token);
    assert_eq!(lists(&parent), Ok(()));
    assert_eq!(lists(child), Err(gatepass_engine::Code::ActionNotGranted));
}

#[test]
fn exchange_widens_in_no_dimension() {
    let plane = Plane::furnished();
    let (a, b) = (plane.agent(1), plane.agent(2));
    let entry = json!({
        "actions": ["orders:create"], "locations": [ORDERS],
        "constraints": {
            "amount": { "max": "100 EUR", "min": "1 EUR" }, "account": { "in": ["10", "20"] },
            "count": { "max": 5 },
        },
    });
    let ask = Ask::entry(entry.clone()).with("scope", "orders.write").with("resource", ORDERS);
    let parent = a.gatepass(&plane, &ask);
    let with = |input: &str, constraint: Value| {
        let mut entry = entry.clone();
        entry["constraints"][input] = constraint;
        entry
    };
    let without = |member: &str| {
        let mut entry = entry.clone();
        entry.as_object_mut().unwrap().remove(member);
        entry
    };
    let plain = |entry: Value| Ask::exchange(&parent, entry).with("scope", "orders.write");
    for ask in [
        plain(entry.clone()),
        plain(with("amount", json!({ "equals": "50 EUR" }))),
        plain(with("account", json!({ "equals": "10" }))),
        plain(with("count", json!({ "max": 4, "min": 1 }))),
        plain(without("locations")),
    ] {
        a.gatepass(&plane, &ask);
        b.gatepass(&plane, &ask);
    }
    let refused = "invalid_authorization_details";
    for (what, ask, error) in [
        ("another action", plain(reads()), refused),
        (
            "one more action",
            plain({
                let mut entry = entry.clone();
                entry["actions"] = json!(["orders:create", "orders:read"]);
                entry
            }),
            refused,
        ),
        (
            "a higher bound",
            plain(with("amount", json!({ "max": "100.01 EUR", "min": "1 EUR" }))),
            refused,
        ),
        (
            "a lower floor",
            plain(with("amount", json!({ "max": "100 EUR", "min": "0.99 EUR" }))),
            refused,
        ),
        ("no floor", plain(with("amount", json!({ "max": "100 EUR" }))), refused),
        ("equal to what is beyond", plain(with("amount", json!({ "equals": "101 EUR" }))), refused),
        (
            "beyond, with a bound that hides it",
            plain(with(
                "amount",
                json!({ "in": ["50 EUR", "101 EUR"], "max": "100 EUR", "min": "1 EUR" }),
            )),
            refused,
        ),
        ("one more value", plain(with("account", json!({ "in": ["10", "20", "30"] }))), refused),
        // As texts, which an account is, these are others.
        (
            "the same number, another text",
            plain(with("account", json!({ "equals": "10.0" }))),
            refused,
        ),
        ("the same number, padded", plain(with("account", json!({ "equals": "010" }))), refused),
        (
            "no constraint on one input",
            plain({
                let mut entry = entry.clone();
                entry["constraints"].as_object_mut().unwrap().remove("count");
                entry
            }),
            refused,
        ),
        ("no constraints", plain(without("constraints")), refused),
        (
            "another place",
            plain({
                let mut entry = entry.clone();
                entry["locations"] = json!([ORDERS, FILES]);
                entry
            }),
            refused,
        ),
        ("another system", plain(entry.clone()).with("resource", FILES), "invalid_target"),
        (
            "another scope",
            plain(entry.clone()).but("scope", "orders.write orders.read"),
            "invalid_scope",
        ),
    ] {
        for agent in [&a, &b] {
            assert_eq!(agent.refused(&plane, &ask), error, "{what}");
        }
    }
}

#[test]
fn a_delegate_is_bound_by_its_own_ceiling_too() {
    let plane = Plane::furnished();
    plane.blueprint("lister", json!({ "entries": [{ "actions": ["orders:list"] }] }));
    let a = plane.agent(1);
    let b = plane.agent_of(2, "lister", "user:corp/bob", "p");
    let parent = a.gatepass(&plane, &Ask::actions(&["orders:read", "orders:list"]));
    let refused = b.refused(&plane, &Ask::exchange(&parent, reads()));
    assert_eq!(refused, "invalid_authorization_details");
    b.gatepass(&plane, &Ask::exchange(&parent, json!({ "actions": ["orders:list"] })));
    // And the chain back to A does not shed it.
    let child = b.gatepass(&plane, &Ask::exchange(&parent, json!({ "actions": ["orders:list"] })));
    assert_eq!(a.refused(&plane, &Ask::exchange(&child, reads())), "invalid_authorization_details");
}

#[test]
fn a_ninth_actor_is_refused() {
    let plane = Plane::furnished();
    let agents = [plane.agent(1), plane.agent(2)];
    let mut token = agents[0].gatepass(&plane, &Ask::read());
    for n in 1..=7 {
        token = agents[n % 2].gatepass(&plane, &Ask::exchange(&token, reads()));
    }
    assert_eq!(Follower::of(&plane).reads(&token), Ok(()));
    assert_eq!(agents[0].refused(&plane, &Ask::exchange(&token, reads())), "invalid_grant");
    agents[1].gatepass(&plane, &Ask::exchange(&token, reads()));
}

#[test]
fn a_ninth_exchange_is_refused() {
    let plane = Plane::furnished();
    let agents = [plane.agent(1), plane.agent(2)];
    let mut token = agents[0].gatepass(&plane, &Ask::read());
    for n in 1..=8 {
        // Four times another, then its own: a chain nests eight actors.
        token = agents[n.min(4) % 2].gatepass(&plane, &Ask::exchange(&token, reads()));
        assert_eq!(claims(&token)["anc"].as_array().unwrap().len(), n);
    }
    assert_eq!(Follower::of(&plane).reads(&token), Ok(()));
    for agent in &agents {
        assert_eq!(agent.refused(&plane, &Ask::exchange(&token, reads())), "invalid_grant");
    }
}

#[test]
fn what_is_bound_or_of_another_signer_is_not_exchanged() {
    use gatepass::issue::sign;
    use gatepass::keys::{KeyRole, SecretKey};
    use gatepass_engine::keyring::Algorithm;
    let plane = Plane::furnished();
    let (a, b) = (plane.agent(1), plane.agent(2));
    let held = claims(&a.gatepass(&plane, &Ask::read()));
    let issuer = SecretKey::load(&plane.dir().join("issuer.key"), KeyRole::Issuer).unwrap();
    let with = |name: &str, value: Value| {
        let mut claims = held.clone();
        claims[name] = value;
        claims
    };
    let exchanged = |claims: &Value, key: &SecretKey| {
        let token = sign(claims, Algorithm::EdDsa, key).unwrap();
        b.ask(&plane, &Ask::exchange(&token, reads()))
    };
    assert_eq!(exchanged(&held, &issuer).status, 200);
    let other = SecretKey::from_seed(&[1; 32]).unwrap();
    for (what, claims, key) in [
        ("bound to a key", with("cnf", json!({ "jkt": "A".repeat(43) })), &issuer),
        ("bound to a workload", with("req_wl", "spiffe://a/b".into()), &issuer),
        ("of another environment", with("env", "dev".into()), &issuer),
        ("of another issuer", with("iss", "https://other.example".into()), &issuer),
        ("of no task", with("txn", "nothing".into()), &issuer),
        ("of a newer epoch", with("seq", json!([plane.now() + 1, 1])), &issuer),
        ("signed by an agent", held.clone(), &other),
    ] {
        let answer = exchanged(&claims, key);
        assert_eq!(answer.json()["error"], "invalid_grant", "{what}: {}", answer.text());
    }
}

/// xorshift, so that a failure is the same again.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }

    fn one<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        let at = self.below(all.len() as u64) as usize;
        &all[at]
    }

    fn amount(&mut self) -> Value {
        let euros = |n: u64| Value::from(format!("{n} EUR"));
        let (a, b) = (self.below(4) * 200, self.below(4) * 200);
        match self.below(4) {
            0 => json!({ "max": euros(a) }),
            1 => json!({ "max": euros(a), "min": euros(b) }),
            2 => json!({ "equals": euros(a) }),
            _ => json!({ "in": [euros(a), euros(b)] }),
        }
    }

    fn count(&mut self) -> Value {
        match self.below(3) {
            0 => json!({ "max": self.below(4) }),
            1 => json!({ "equals": self.below(4) }),
            _ => json!({ "min": self.below(4), "max": 3 }),
        }
    }

    fn entry(&mut self) -> Value {
        let mut constraints = json!({});
        if self.below(5) > 0 {
            constraints["amount"] = self.amount();
        }
        if self.below(2) > 0 {
            constraints["count"] = self.count();
        }
        let actions = self
            .one(&[
                json!(["orders:create"]),
                json!(["orders:read"]),
                json!(["orders:read", "orders:create"]),
            ])
            .clone();
        let mut entry = json!({ "actions": actions, "constraints": constraints });
        if self.below(2) > 0 {
            entry["locations"] = json!([ORDERS]);
        }
        entry
    }
}

/// Whatever request the child is good for, so is the parent, and so is what the ceiling allows.
#[test]
fn whatever_is_exchanged_is_allowed_nothing_that_its_parent_is_not() {
    let plane = Plane::furnished();
    let agents: Vec<Agent> = (1..=6).map(|seed| plane.agent(seed)).collect();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut requests = Vec::new();
    for amount in [0, 1, 199, 200, 201, 400, 401, 500, 600] {
        for count in 0..5 {
            requests.push(format!("amount={amount}&currency=EUR&count={count}"));
        }
    }
    let gate = Follower::of(&plane);
    let (mut issued, mut exchanged) = (0, 0);
    for round in 0..250 {
        let (a, b) = (random.one(&agents), random.one(&agents));
        let ask = Ask::entry(random.entry()).with("scope", "orders.write").with("resource", ORDERS);
        let answer = a.ask(&plane, &ask);
        if answer.status != 200 {
            continue;
        }
        issued += 1;
        let parent = answer.json()["access_token"].as_str().unwrap().to_owned();
        let allowed: Vec<bool> = requests.iter().map(|q| gate.orders(q, &parent).is_ok()).collect();
        for (query, allowed) in requests.iter().zip(&allowed) {
            let amount: u32 = query.split(['=', '&']).nth(1).unwrap().parse().unwrap();
            assert!(!allowed || amount <= 500, "beyond the ceiling: {query}: {}", claims(&parent));
        }
        for _ in 0..4 {
            let ask = Ask::exchange(&parent, random.entry()).with("scope", "orders.write");
            let answer = b.ask(&plane, &ask);
            if answer.status != 200 {
                continue;
            }
            exchanged += 1;
            let child = answer.json()["access_token"].as_str().unwrap().to_owned();
            for (query, allowed) in requests.iter().zip(&allowed) {
                let is_wider = gate.orders(query, &child).is_ok() && !allowed;
                assert!(!is_wider, "{query}: {} of {}", claims(&child), claims(&parent));
            }
            assert!(gate.reads(&child).is_err() || gate.reads(&parent).is_ok());
        }
        if round % 40 == 39 {
            plane.pass(60);
        }
    }
    assert!(issued > 20 && exchanged > 20, "{issued} issued, {exchanged} exchanged");
}
