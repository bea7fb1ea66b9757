//! The claims: each that decides is demanded and has one form; issuer, environment, audience and
//! time.

use gatepass_engine::denial::Code;
use gatepass_engine::keyring::Algorithm;
use gatepass_engine::revocation::{Below, Kind};
use serde_json::{Value, json};

use super::GRANTED;
use crate::case::Family;
use crate::keys::{ISSUER, OTHER_ISSUER, kid};
use crate::message::{EPOCH, issuer_key};
use crate::policy::AUDIENCE;
use crate::scene::{AGENT, BLUEPRINT, OWNER, PRIOR_AGENT, PRIOR_BLUEPRINT, PRIOR_OWNER, USER};

pub(crate) fn family() -> Family {
    let mut f = Family::new(400, "Claims");
    demanded(&mut f);
    forms(&mut f);
    bounds(&mut f);
    chain(&mut f);
    origin(&mut f);
    time(&mut f);
    key_windows(&mut f);
    f
}

fn demanded(f: &mut Family) {
    for claim in [
        "iss",
        "aud",
        "exp",
        "iat",
        "jti",
        "seq",
        "sub",
        "client_id",
        "owner",
        "blueprint",
        "txn",
        "env",
        "assurance",
    ] {
        f.deny(
            Code::Malformed,
            format!("without_{claim}"),
            (GRANTED, &format!("`{claim}` is left out")),
            "Every claim that decides is demanded.",
            move |s| s.pass.remove(claim),
        );
    }
    f.live();
}

fn forms(f: &mut Family) {
    let forms: Vec<(&str, &str, Value, &str)> = vec![
        ("iss", "relative", json!("desk.example"), "An issuer is an absolute URI."),
        ("aud", "empty", json!([]), "There is at least one audience."),
        ("aud", "relative", json!(["orders.example"]), "An audience is an absolute URI."),
        ("aud", "number", json!(1), "`aud` is a text or a list of texts."),
        ("exp", "text", json!("1800000280"), "Times are whole numbers."),
        ("exp", "negative", json!(-1), "Times are not negative."),
        ("iat", "null", Value::Null, "Times are whole numbers."),
        ("jti", "with_a_space", json!("jti 1"), "An id is visible ASCII without escapes."),
        ("jti", "with_a_comma", json!("jti,1"), "An id is visible ASCII without `,`."),
        ("jti", "empty", json!(""), "An id has 1 to 128 characters."),
        ("jti", "of_129", json!("j".repeat(129)), "An id has 1 to 128 characters."),
        ("seq", "of_one", json!([EPOCH]), "`seq` is epoch and sequence."),
        ("seq", "of_three", json!([EPOCH, 50, 0]), "`seq` is epoch and sequence."),
        ("seq", "text", json!("7.50"), "`seq` is epoch and sequence."),
        ("seq", "negative", json!([EPOCH, -1]), "Positions are not negative."),
        ("sub", "untyped", json!("ursula"), "A subject is typed: `agent:` or `user:`."),
        ("sub", "in_upper_case", json!("USER:corp/ursula"), "Ids have one spelling."),
        ("client_id", "of_a_person", json!(USER), "Only agents act."),
        ("owner", "of_an_agent", json!(PRIOR_AGENT), "An owner is a person."),
        ("owner", "without_directory", json!("user:bob"), "A person names their directory."),
        ("txn", "with_a_space", json!("task 1"), "An id is visible ASCII without escapes."),
        ("env", "list", json!(["prod"]), "An environment is a text."),
        ("scope", "with_two_spaces", json!("a  b"), "One space stands between scopes."),
        ("scope", "with_a_space_at_the_end", json!("a "), "One space stands between scopes."),
        ("scope", "list", json!(["a"]), "`scope` is a text (RFC 6749 section 3.3)."),
        ("assurance", "unknown", json!("strong"), "Assurance is one of three words."),
        ("assurance", "object", json!({"attested": null}), "Assurance is a text."),
        ("anc", "text", json!("jti-parent"), "`anc` is a list."),
        ("act", "null", Value::Null, "`act` is an object where it is present."),
        ("act", "list", json!([AGENT, OWNER, BLUEPRINT]), "`act` is an object."),
        ("authorization_details", "object", json!({}), "It is a list (RFC 9396 section 2)."),
        ("authorization_details", "null", Value::Null, "It is a list (RFC 9396 section 2)."),
        ("approval", "list", json!(["ap-1", USER]), "`approval` is an object."),
    ];
    for (claim, form, value, why) in forms {
        f.deny(
            Code::Malformed,
            format!("{claim}_{form}"),
            (GRANTED, &format!("`{claim}` is otherwise: {form}")),
            why,
            move |s| s.pass.set(claim, value.clone()),
        );
    }
    for (name, spelled) in
        [("with_a_fraction", "1800000280.0"), ("with_an_exponent", "18000002.8e2")]
    {
        f.deny(
            Code::Malformed,
            format!("exp_{name}"),
            (GRANTED, &format!("`exp` is written `{spelled}`")),
            "Times are whole numbers in digits.",
            move |s| {
                let exp = format!("\"exp\":{}", s.start + 280);
                s.pass.respell(&exp, &format!("\"exp\":{spelled}"));
            },
        );
    }
}

fn bounds(f: &mut Family) {
    let audiences = |count: usize| {
        let others = (1..count).map(|n| format!("https://a{n}.example"));
        json!(others.chain([AUDIENCE.to_owned()]).collect::<Vec<_>>())
    };
    f.allow("sixteen_audiences", "The most there may be.", move |s| {
        s.pass.set("aud", audiences(16));
    });
    f.deny(
        Code::Malformed,
        "seventeen_audiences",
        ("sixteen_audiences", "one more audience"),
        "Lists are bounded.",
        move |s| s.pass.set("aud", audiences(17)),
    );
    let ancestors = |count: usize| json!((0..count).map(|n| format!("j{n}")).collect::<Vec<_>>());
    f.allow("eight_ancestors", "The most there may be.", move |s| {
        s.pass.set("anc", ancestors(8));
    });
    f.deny(
        Code::Malformed,
        "nine_ancestors",
        ("eight_ancestors", "one more ancestor"),
        "Lists are bounded.",
        move |s| s.pass.set("anc", ancestors(9)),
    );
    let actors = |count: usize| {
        let mut chain = Value::Null;
        for nth in (0..count).rev() {
            let mut actor = json!({
                "sub": if nth == 0 { AGENT } else { PRIOR_AGENT },
                "owner": OWNER,
                "blueprint": BLUEPRINT,
            });
            if chain != Value::Null {
                actor["act"] = chain;
            }
            chain = actor;
        }
        chain
    };
    f.allow("eight_actors", "The most there may be.", move |s| s.pass.set("act", actors(8)));
    f.deny(
        Code::Malformed,
        "nine_actors",
        ("eight_actors", "one more prior actor"),
        "Lists are bounded.",
        move |s| s.pass.set("act", actors(9)),
    );
    f.allow("lifetime_of_an_hour", "The longest of any gatepass.", |s| {
        s.pass.set("exp", json!(s.start - 20 + 3600));
    });
    f.deny(
        Code::Malformed,
        "lifetime_over_an_hour",
        ("lifetime_of_an_hour", "`exp` is a second later"),
        "No gatepass lives over an hour.",
        |s| s.pass.set("exp", json!(s.start - 20 + 3601)),
    );
    f.deny(
        Code::Malformed,
        "lifetime_of_nothing",
        (GRANTED, "`exp` is `iat`"),
        "A gatepass lives at least a second.",
        |s| s.pass.set("exp", json!(s.start - 20)),
    );
}

fn chain(f: &mut Family) {
    let mut malformed = |name: &str, twin: (&str, &str), why: &str, make| {
        let make: fn(&mut crate::scene::Scene) = make;
        f.deny(Code::Malformed, name, twin, why, make);
    };
    malformed(
        "client_is_the_prior_agent",
        (GRANTED, "`client_id` is the inner actor"),
        "`client_id` is who acts: the outermost `act`.",
        |s| s.pass.set("client_id", json!(PRIOR_AGENT)),
    );
    malformed(
        "client_is_another_agent",
        ("agent_for_itself", "`client_id` is another agent"),
        "`client_id` is who acts.",
        |s| s.pass.set("client_id", json!(PRIOR_AGENT)),
    );
    malformed(
        "person_acts",
        ("agent_for_itself", "`sub` is a person and nobody acts for them"),
        "Only agents act.",
        |s| s.pass.set("sub", json!(USER)),
    );
    malformed(
        "owner_of_the_prior_agent",
        (GRANTED, "`owner` is the inner actor's"),
        "`owner` is the acting agent's, as in its `act`.",
        |s| s.pass.set("owner", json!(PRIOR_OWNER)),
    );
    malformed(
        "blueprint_of_the_prior_agent",
        (GRANTED, "`blueprint` is the inner actor's"),
        "`blueprint` is the acting agent's, as in its `act`.",
        |s| s.pass.set("blueprint", json!(PRIOR_BLUEPRINT)),
    );
    malformed(
        "subject_outside_the_chain",
        ("agent_for_an_agent", "there is no inner `act`"),
        "An agent that is acted for is an actor too, so that its owner and blueprint are known.",
        |s| {
            s.pass.claims["act"].as_object_mut().unwrap().remove("act");
        },
    );
    malformed(
        "actor_without_owner",
        (GRANTED, "the inner actor has no `owner`"),
        "Each actor repeats its owner and blueprint, so that each can be revoked.",
        |s| {
            s.pass.claims["act"]["act"].as_object_mut().unwrap().remove("owner");
        },
    );
    malformed(
        "actor_with_another_member",
        (GRANTED, "an actor has a member `scope`"),
        "Prior actors never grant.",
        |s| s.pass.claims["act"]["scope"] = json!("admin"),
    );
}

fn origin(f: &mut Family) {
    let twin = |what: &'static str| (GRANTED, what);
    f.deny(
        Code::WrongIssuer,
        "another_issuer",
        twin("`iss` is another"),
        "An issuer speaks only with its own key.",
        |s| s.pass.set("iss", json!("https://else.example")),
    )
    .live();
    f.deny(
        Code::WrongIssuer,
        "issuer_with_a_slash",
        twin("`iss` ends with `/`"),
        "Issuers are compared as texts.",
        |s| s.pass.set("iss", json!("https://desk.example/")),
    );
    f.allow("each_issuer_with_its_key", "Two issuers, each with a key of its own.", |s| {
        let mut second = issuer_key(OTHER_ISSUER, s.start);
        second.issuer = "https://second.example".into();
        second.algorithm = Algorithm::Ed25519;
        s.keys.push(second);
    });
    f.deny(
        Code::WrongIssuer,
        "issuer_of_another_key",
        ("each_issuer_with_its_key", "`iss` is the other issuer"),
        "An issuer speaks only with its own key.",
        |s| s.pass.set("iss", json!("https://second.example")),
    );
    for (name, env) in [("another_environment", "dev"), ("environment_in_another_case", "Prod")] {
        f.deny(
            Code::WrongEnvironment,
            name,
            (GRANTED, &format!("`env` is `{env}`")),
            "A gatepass is good in one environment.",
            move |s| s.pass.set("env", json!(env)),
        );
    }
    f.live();
    f.deny(
        Code::WrongAudience,
        "another_audience",
        ("one_of_two_audiences", "`aud` is the other one alone"),
        "`aud` contains the host's audience.",
        |s| s.pass.set("aud", json!(["https://else.example"])),
    )
    .live();
    f.deny(
        Code::WrongAudience,
        "audience_with_a_slash",
        ("audience_as_a_text", "`aud` ends with `/`"),
        "Audiences are compared as texts.",
        |s| s.pass.set("aud", json!("https://orders.example/")),
    );
}

fn time(f: &mut Family) {
    f.allow("a_second_before_it_expires", "`exp` is exclusive.", |s| {
        s.pass.set("exp", json!(s.now + 1));
    });
    f.deny(
        Code::Expired,
        "expires_now",
        ("a_second_before_it_expires", "`exp` is a second earlier"),
        "`exp` has no leeway.",
        |s| s.pass.set("exp", json!(s.now)),
    )
    .live();
    f.allow("feed_ahead_of_the_clock", "The feed's newest `issued_at` is 20 s ahead.", |s| {
        s.delta(|delta| delta.header.issued_at.0 += 20);
        s.pass.set("exp", json!(s.now + 21));
    });
    f.deny(
        Code::Expired,
        "expired_by_the_feeds_time",
        ("feed_ahead_of_the_clock", "`exp` is a second earlier"),
        "The time held against `exp` is never below the newest `issued_at` accepted.",
        |s| s.pass.set("exp", json!(s.now + 20)),
    );
    for (claim, what) in [("iat", "issued"), ("nbf", "good")] {
        let near = format!("{what}_30_s_ahead");
        f.allow(&near, "Clocks may differ by 30 s.", move |s| {
            s.pass.set(claim, json!(s.now + 30));
        });
        f.deny(
            Code::NotYetValid,
            format!("{what}_31_s_ahead"),
            (&near, &format!("`{claim}` is a second later")),
            "Clocks may differ by 30 s.",
            move |s| s.pass.set(claim, json!(s.now + 31)),
        );
    }
    f.deny(
        Code::NotYetValid,
        "good_in_four_minutes",
        (GRANTED, "`nbf` is in 4 minutes"),
        "`nbf` is honoured (RFC 7519 section 4.1.5).",
        |s| s.pass.set("nbf", json!(s.now + 240)),
    )
    .live();
}

fn key_windows(f: &mut Family) {
    f.allow("key_to_the_last_second", "`not_after` is exclusive.", |s| {
        let now = s.now;
        s.key().not_after.0 = now + 1;
    });
    f.deny(
        Code::RevokedKey,
        "key_past_its_window",
        ("key_to_the_last_second", "`not_after` is a second earlier"),
        "A key signs inside its window.",
        |s| {
            let now = s.now;
            s.key().not_after.0 = now;
        },
    )
    .live();
    f.allow("key_from_this_second", "`not_before` is inclusive.", |s| {
        let now = s.now;
        s.key().not_before.0 = now;
    });
    f.deny(
        Code::RevokedKey,
        "key_before_its_window",
        ("key_from_this_second", "`not_before` is a second later"),
        "A key signs inside its window.",
        |s| {
            let now = s.now;
            s.key().not_before.0 = now + 1;
        },
    );
    f.allow("another_key_revoked", "It hits the key that it names.", |s| {
        s.revoke(Kind::Key, &kid(OTHER_ISSUER), Below::Always);
    });
    f.deny(
        Code::RevokedKey,
        "key_revoked",
        ("another_key_revoked", "it names the key that signed"),
        "Nothing that a revoked key signed is good.",
        |s| {
            s.revoked.clear();
            s.revoke(Kind::Key, &kid(ISSUER), Below::Always);
        },
    )
    .live();
}
