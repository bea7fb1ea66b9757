use super::*;
use crate::bundle::{ActionMode, Treatment};
use crate::clock::UnixSeconds;
use crate::decision::{Decision, Header, Request, decide_with};
use crate::gatepass::Token;
use crate::keyring::Listed;
use crate::revocation::{Below, Kind};
use crate::testkit::{
    AGENT, AT, AUDIENCE, BLUEPRINT, ISSUER, NOW, OTHER_ISSUER, OWNER, Pass, Scene, issuer_key, kid,
    later,
};

fn signed(token: &str) -> Signed {
    let keys = [issuer_key(ISSUER)];
    let listed = Listed { keys: &keys, now: UnixSeconds(NOW) };
    Token::split(token.as_bytes()).unwrap().read().unwrap().verify(&listed, |_| false).unwrap()
}

fn token(jti: usize) -> String {
    let mut pass = Pass::good();
    pass.set("jti", format!("j{jti}").into());
    pass.token()
}

fn keep(cache: &mut TokenCache, token: &str) -> Place {
    cache.keep(token.as_bytes(), signed(token)).unwrap()
}

/// Whether it is known; then it was of use.
fn knows(cache: &mut TokenCache, token: &str) -> bool {
    let place = cache.find(token.as_bytes());
    place.into_iter().for_each(|place| cache.note_used(place));
    place.is_some()
}

#[test]
fn what_is_kept_is_found_by_its_whole_text_only() {
    let mut cache = TokenCache::new(1 << 20);
    let token = token(0);
    assert!(!knows(&mut cache, &token));
    let place = keep(&mut cache, &token);
    assert_eq!(cache.find(token.as_bytes()), Some(place));
    assert!(cache.get(place).is_some());
    for at in 0..token.len() {
        let mut other = token.clone().into_bytes();
        other[at] ^= 1;
        assert!(cache.find(&other).is_none(), "another character at {at}");
    }
    for end in 0..token.len() {
        assert!(cache.find(&token.as_bytes()[..end]).is_none(), "cut at {end}");
        assert!(cache.find(&token.as_bytes()[end + 1..]).is_none(), "begun after {end}");
    }
    // The same signature behind other claims has the same fingerprint.
    let (_, signature) = token.rsplit_once('.').unwrap();
    let (claims, _) =
        super::tests::token(1).rsplit_once('.').map(|(c, s)| (c.to_owned(), s.to_owned())).unwrap();
    let mixed = format!("{claims}.{signature}");
    assert_eq!(fingerprint(mixed.as_bytes()), fingerprint(token.as_bytes()));
    assert!(!knows(&mut cache, &mixed));
}

/// What must hold after every step.
fn check(cache: &TokenCache) {
    let kept: Vec<(usize, &Slot)> = cache
        .slots
        .iter()
        .enumerate()
        .filter_map(|(at, slot)| slot.as_ref().map(|slot| (at, slot)))
        .collect();
    assert_eq!(kept.len(), cache.index.len());
    assert_eq!(kept.len() + cache.free.len(), cache.slots.len());
    for (at, slot) in &kept {
        assert_eq!(cache.index.get(&slot.fingerprint), Some(at));
        assert_eq!(fingerprint(&slot.text), Some(slot.fingerprint));
    }
    let queued: Vec<usize> =
        cache.newcomers.places.iter().chain(&cache.residents.places).copied().collect();
    let mut places: Vec<usize> = kept.iter().map(|(at, _)| *at).collect();
    let mut sorted = queued.clone();
    sorted.sort_unstable();
    places.sort_unstable();
    assert_eq!(sorted, places, "each is in one queue, once");
    let weights: usize = kept.iter().map(|(_, slot)| slot.weight).sum();
    assert_eq!(cache.bytes(), weights);
    assert!(cache.left.is_empty() || cache.left.len() == LEFT_PLACES);
}

fn weight_of_one() -> usize {
    let mut cache = TokenCache::new(0);
    keep(&mut cache, &token(100));
    cache.bytes()
}

#[test]
fn it_stays_within_its_bytes_and_keeps_what_is_used() {
    let one = weight_of_one();
    let most = one * 40 + one / 2;
    let mut cache = TokenCache::new(most);
    for jti in 100..110 {
        keep(&mut cache, &token(jti));
    }
    assert_eq!(cache.len(), 4, "newcomers have a tenth, whatever is free beside it");
    keep(&mut cache, &token(103));
    for jti in 110..400 {
        assert!(knows(&mut cache, &token(103)), "used before each of the others came: {jti}");
        keep(&mut cache, &token(jti));
        assert!(cache.bytes() <= most);
        assert!(knows(&mut cache, &token(jti)));
        check(&cache);
    }
    assert!(!knows(&mut cache, &token(100)));
}

#[test]
fn who_comes_back_soon_stays_and_a_flood_of_others_passes_by() {
    let one = weight_of_one();
    let mut cache = TokenCache::new(one * 40 + one / 2);
    // How many of them are known; those that are not are kept.
    let mut ask = |jtis: core::ops::Range<usize>| {
        jtis.filter(|jti| {
            let known = knows(&mut cache, &token(*jti));
            if !known {
                keep(&mut cache, &token(*jti));
            }
            check(&cache);
            known
        })
        .count()
    };
    // Some that nobody wants, then thirty in turn: more than the newcomers' share, less than all.
    assert_eq!(ask(100..160), 0);
    for _ in 0..3 {
        ask(200..230);
    }
    assert_eq!(ask(200..230), 30);
    // Four times the room of gatepasses that are used once.
    assert_eq!(ask(300..460), 0);
    assert_eq!(ask(200..230), 30);
}

#[test]
fn a_cache_of_nothing_holds_the_newest_alone_and_the_same_twice_once() {
    let mut cache = TokenCache::new(0);
    keep(&mut cache, &token(1));
    keep(&mut cache, &token(2));
    assert_eq!(cache.len(), 1);
    assert!(knows(&mut cache, &token(2)));
    let mut cache = TokenCache::new(1 << 20);
    keep(&mut cache, &token(1));
    let bytes = cache.bytes();
    keep(&mut cache, &token(1));
    assert_eq!((cache.len(), cache.bytes()), (1, bytes));
    assert!(cache.keep(b"short", signed(&token(1))).is_none());
}

#[test]
fn all_used_still_lets_one_go() {
    let mut cache = TokenCache::new(1 << 30);
    for jti in 100..100 + 2 * MAX_STEPS {
        keep(&mut cache, &token(jti));
        assert!(knows(&mut cache, &token(jti)));
    }
    // All are residents, and used.
    cache.residents = core::mem::take(&mut cache.newcomers);
    cache.most = cache.bytes();
    keep(&mut cache, &token(900));
    assert!(knows(&mut cache, &token(900)));
    assert_eq!(cache.len(), 2 * MAX_STEPS);
    check(&cache);
}

#[test]
fn those_that_left_are_remembered_until_another_takes_the_place() {
    let mut cache = TokenCache::new(0);
    assert!(!cache.left_lately(7));
    cache.remember(7);
    cache.remember(8);
    assert!(cache.left_lately(7) && cache.left_lately(8) && !cache.left_lately(9));
    cache.remember(7 + LEFT_PLACES as u64);
    assert!(!cache.left_lately(7) && cache.left_lately(7 + LEFT_PLACES as u64));
    assert_eq!(cache.left.len(), LEFT_PLACES);
}

/// What is kept counts at least its text, its payload and its claims.
#[test]
fn the_weight_grows_with_what_a_gatepass_lists() {
    let plain = signed(&token(0)).weight();
    let mut pass = Pass::good();
    pass.entry("constraints", serde_json::json!({"count": {"in": (0..60).collect::<Vec<_>>()}}));
    let listing = signed(&pass.token()).weight();
    assert!(listing > plain + 60 * 8, "{listing} {plain}");
    pass.set("anc", (0..8).map(|n| format!("a{n}")).collect::<Vec<_>>().into());
    assert!(signed(&pass.token()).weight() > listing);
}

type Change = fn(&mut Scene);
type Flip = Box<dyn Fn(&mut Scene)>;

/// Everything but the signature is asked on a hit: each of these is flipped between two hits, and
/// flipped back.
#[test]
fn a_hit_asks_all_that_a_miss_asks() {
    let revoked = |kind: Kind, id: &str| {
        let id = id.to_owned();
        move |scene: &mut Scene| scene.revoke(kind, &id, Below::Sequence(AT + 1))
    };
    let mut cache = TokenCache::new(1 << 20);
    let good = Scene::good();
    let ask = |scene: &Scene, cache: &mut TokenCache| -> String {
        let gate = scene.gate();
        scene.request(|request: &Request<'_>| match decide_with(request, &gate, cache, scene.now) {
            Decision::Allow(_) => "allow".to_owned(),
            Decision::Deny(denial) => denial.code().to_string(),
            Decision::Redeem(redemption) => panic!("{redemption:?}"),
            Decision::Read(awaited) => panic!("{awaited:?}"),
        })
    };
    assert_eq!(ask(&good, &mut cache), "allow");
    assert_eq!(cache.len(), 1);
    let jti = good.pass.claims["jti"].as_str().unwrap().to_owned();
    let task = good.pass.claims["txn"].as_str().unwrap().to_owned();
    let mut flips: Vec<(&str, Flip)> = vec![
        ("revoked_credential", Box::new(revoked(Kind::Credential, &jti))),
        ("revoked_task", Box::new(revoked(Kind::Task, &task))),
        ("revoked_agent", Box::new(revoked(Kind::Agent, AGENT))),
        ("revoked_owner", Box::new(revoked(Kind::Owner, OWNER))),
        ("revoked_blueprint", Box::new(revoked(Kind::Blueprint, BLUEPRINT))),
        ("revoked_key", Box::new(revoked(Kind::Key, &kid(ISSUER)))),
    ];
    let plain: [(&str, Change); 11] = [
        ("unknown_key", |s| s.keys = vec![issuer_key(OTHER_ISSUER)]),
        ("revoked_key", |s| s.keys[0].not_after = UnixSeconds(NOW)),
        ("wrong_issuer", |s| s.keys[0].issuer = "https://other.example".into()),
        ("unsupported_algorithm", |s| s.keys[0].algorithm = crate::keyring::Algorithm::Ed25519),
        ("expired", |s| s.now = later(3600)),
        ("no_route", |s| s.ask("POST", "/nowhere")),
        ("wrong_audience", |s| s.bundle.hosts[0].audience = format!("{AUDIENCE}/other")),
        ("insufficient_scope", |s| s.action().scopes_all = vec!["more".into()]),
        ("approval_required", |s| s.action().approval = true),
        ("action_not_granted", |s| s.action().name = "orders:other".into()),
        ("body_not_allowed", |s| s.ends_with_headers = false),
    ];
    for (code, change) in plain {
        flips.push((code, Box::new(change)));
    }
    for (code, change) in flips {
        let scene = Scene::with(|scene| change(scene));
        assert_eq!(ask(&scene, &mut cache), code);
        assert_eq!(cache.len(), 1, "{code}: the same bytes were presented");
        assert_eq!(ask(&good, &mut cache), "allow", "{code} flipped back");
    }
}

/// Replaying old ones must not keep them at the cost of live ones.
#[test]
fn one_that_has_expired_is_not_of_use() {
    let mut cache = TokenCache::new(1 << 20);
    let used = |cache: &TokenCache| -> Vec<bool> {
        cache.slots.iter().flatten().map(|slot| slot.used.get()).collect()
    };
    let expired = Scene::with(|scene| scene.now = later(3600));
    for (scene, expected) in [(&expired, false), (&expired, false), (&Scene::good(), true)] {
        let gate = scene.gate();
        scene.request(|request| {
            let _ = decide_with(request, &gate, &mut cache, scene.now);
        });
        assert_eq!(used(&cache), [expected]);
    }
}

#[test]
fn nothing_that_is_not_signed_by_a_key_in_force_gets_in() {
    let mut cache = TokenCache::new(1 << 20);
    let changes: [Change; 6] = [
        |s| s.pass.signer = OTHER_ISSUER,
        |s| s.pass.header["alg"] = "none".into(),
        |s| s.authorization = Some(b"Bearer a.b.c".to_vec()),
        |s| s.authorization = Some([b"Bearer ".as_slice(), &[b'A'; 500]].concat()),
        |s| s.scheme = None,
        |s| s.keys = vec![],
    ];
    for change in changes {
        // Where nothing is decided, a gatepass is looked for all the same.
        for public in [false, true] {
            let mut scene = Scene::with(change);
            if public {
                scene.action().mode = ActionMode::Shadow;
            }
            let gate = scene.gate();
            scene.request(|request| {
                let _ = decide_with(request, &gate, &mut cache, scene.now);
            });
            assert!(cache.is_empty());
        }
    }
}

/// A passed-through request's gatepass is stripped on a hit as on a miss.
#[test]
fn a_gatepass_is_recognised_where_nothing_is_decided() {
    let mut cache = TokenCache::new(1 << 20);
    let scene = Scene::with(|scene| scene.bundle.hosts[0].treatment = Treatment::PassedThrough);
    let gate = scene.gate();
    for round in 0..2 {
        scene.request(|request: &Request<'_>| {
            let decision = decide_with(request, &gate, &mut cache, scene.now);
            let Decision::Allow(permit) = decision else { panic!("denied") };
            assert!(permit.strips_authorization(), "{round}");
        });
        assert_eq!(cache.len(), 1);
    }
    // Another gate, to which the key is nobody's, leaves it alone.
    let other = Scene::with(|scene| {
        scene.bundle.hosts[0].treatment = Treatment::PassedThrough;
        scene.keys = vec![issuer_key(OTHER_ISSUER)];
    });
    let gate = other.gate();
    other.request(|request: &Request<'_>| {
        let headers: &[Header<'_>] = request.headers;
        assert!(headers.iter().any(|header| header.name == b"authorization"));
        let Decision::Allow(permit) = decide_with(request, &gate, &mut cache, other.now) else {
            panic!("denied")
        };
        assert!(!permit.strips_authorization());
    });
}

#[test]
fn a_fingerprint_is_hashed_to_itself() {
    let hash = |write: fn(&mut AlreadyHashed)| {
        let mut hasher = AlreadyHashed::default();
        write(&mut hasher);
        hasher.finish()
    };
    assert_eq!(hash(|hasher| hasher.write_u64(0x0123_4567_89ab_cdef)), 0x0123_4567_89ab_cdef);
    assert_eq!(hash(|hasher| hasher.write(&[0x12, 0x34, 0x34])), 0x12_3434);
    // Where there are more bytes than a hash has, the first ones still count.
    let nine = hash(|hasher| hasher.write(&[0x80, 0, 0, 0, 0, 0, 0, 0, 0x81]));
    assert_eq!(nine, 0x01);
}
