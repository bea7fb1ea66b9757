//! What goes on, and why.

use gatepass_engine::bundle::ActionMode;
use gatepass_engine::keyring::Algorithm;
use serde_json::json;

use super::GRANTED;
use crate::case::Family;
use crate::keys::{OTHER_ISSUER, kid};
use crate::message::issuer_key;
use crate::policy::AUDIENCE;
use crate::scene::{AGENT, Authorization, Heard, PRIOR_AGENT};

pub(crate) fn family() -> Family {
    let mut f = Family::new(100, "What goes on");
    f.allow(GRANTED, "An agent acts for an agent that acts for a person.", |_| {}).live();
    f.allow("agent_for_itself", "`sub` is the acting agent; there is no `act`.", |s| {
        s.pass.set("sub", json!(AGENT));
        s.pass.remove("act");
    })
    .live();
    f.allow(
        "agent_for_an_agent",
        "`sub` is the agent that is acted for, also the inner `act`.",
        |s| {
            s.pass.set("sub", json!(PRIOR_AGENT));
        },
    );
    f.allow("never_exchanged", "`anc` may be absent.", |s| s.pass.remove("anc"));
    f.allow("audience_as_a_text", "`aud` may be a text (RFC 7519 section 4.1.3).", |s| {
        s.pass.set("aud", json!(AUDIENCE));
    });
    f.allow("one_of_two_audiences", "`aud` contains the host's audience.", |s| {
        s.pass.set("aud", json!(["https://else.example", AUDIENCE]));
    });
    f.allow("unknown_claim", "A top-level claim that is not known is ignored.", |s| {
        s.pass.set("nonce", json!({"a": [1.5, null]}));
    });
    f.allow("key_of_ed25519", "`alg` is the one that the key is registered with.", |s| {
        s.key().algorithm = Algorithm::Ed25519;
        s.pass.header["alg"] = json!("Ed25519");
    })
    .live();
    f.allow("second_issuer_key", "Any issuer key in force may have signed.", |s| {
        let key = issuer_key(OTHER_ISSUER, s.start);
        s.keys.push(key);
        s.pass.header["kid"] = json!(kid(OTHER_ISSUER));
        s.pass.signer = OTHER_ISSUER;
    })
    .live();
    f.allow("white_space_in_the_json", "JSON may hold white space; base64 may not.", |s| {
        s.pass.respell_header(|header| header.replace(',', " ,\n\t"));
    });
    f.allow("another_route", "The same gatepass grants each action that it names.", |s| {
        s.ask("GET", "/orders");
    })
    .live();
    f.allow("body_that_is_not_read", "The action lets a body pass unread.", |s| {
        s.ask("PUT", "/files");
        s.ends_with_headers = false;
    });
    f.allow("authority_with_a_port", "The port is not part of the host.", |s| {
        s.authority = "orders.example:8443".into();
    })
    .live();
    f.allow("encoded_path_segment", "What must be encoded has one encoding.", |s| {
        s.path = s.path.replace("c1", "caf%C3%A9%20au%20lait");
    })
    .live();
    f.allow("unknown_query_key", "A query key that feeds no input is not looked at.", |s| {
        s.path.push_str("&x=1&x=2&y[]=a+b");
    });
    f.allow_as("public", "public_route", "A health check needs no gatepass.", |s| {
        s.ask("GET", "/health");
        s.authorization = Authorization::Absent;
    })
    .live();
    f.allow_as("public", "public_route_on_a_baseline", "Nor does it need a feed.", |s| {
        s.ask("GET", "/health");
        s.authorization = Authorization::Absent;
        s.heard = Heard::Baseline;
    })
    .live();
    f.allow_as("public", "public_route_with_any_gatepass", "What it carries is not judged.", |s| {
        s.ask("GET", "/health");
        s.pass.set("exp", json!(s.now));
    });
    f.allow_as("passed_through", "passed_through_host", "Its requests are not decided.", |s| {
        s.ask("DELETE", "/anything//at%2Fall");
        s.authority = "open.example".into();
        s.authorization = Authorization::Absent;
    });
    f.allow_as(
        "shadow: no_credential",
        "action_in_shadow",
        "The action's denials are recorded, not answered.",
        |s| {
            s.action().mode = ActionMode::Shadow;
            s.authorization = Authorization::Absent;
        },
    )
    .live();
    f.allow_as(
        "shadow: not_ready",
        "gate_in_shadow",
        "A gate in shadow mode refuses nothing, not even before it is ready.",
        |s| {
            s.shadow = true;
            s.heard = Heard::Nothing;
        },
    )
    .live();
    f
}
