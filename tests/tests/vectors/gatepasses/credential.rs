//! Where a gatepass is taken from: one `authorization` header, one scheme, one token.

use gatepass_engine::denial::Code;

use super::GRANTED;
use crate::case::Family;
use crate::scene::Authorization;

pub(crate) fn family() -> Family {
    let mut f = Family::new(200, "Where the gatepass is");
    f.allow("scheme_in_another_case", "The scheme has no case (RFC 9110 section 11.1).", |s| {
        s.authorization = Authorization::Scheme("bEARER");
    })
    .live();
    f.deny(
        Code::NoCredential,
        "no_authorization",
        (GRANTED, "there is no `authorization`"),
        "Nothing was presented.",
        |s| s.authorization = Authorization::Absent,
    )
    .live();
    for (name, text, why) in [
        ("another_scheme", "Basic {}", "Gatepasses come as `Bearer`, or `DPoP`."),
        ("no_scheme", "{}", "A token alone has no scheme."),
        ("scheme_with_a_colon", "Bearer: {}", "`Bearer:` is another scheme."),
        ("scheme_before_a_tab", "Bearer\t{}", "A space follows the scheme."),
        ("empty_authorization", "", "An empty value has no scheme."),
    ] {
        f.deny(
            Code::NoCredential,
            name,
            (GRANTED, "`authorization` is spelled otherwise"),
            why,
            move |s| s.authorization = Authorization::Text(text),
        );
    }
    f.deny(
        Code::NoCredential,
        "token_in_the_query",
        ("token_also_in_the_query", "there is no `authorization`"),
        "A gatepass in any other place is none (RFC 6750 section 2.3 is not supported).",
        |s| s.authorization = Authorization::Absent,
    );
    f.allow("token_also_in_the_query", "A token in the query is not looked at.", |s| {
        s.path.push_str("&access_token=");
        let token = s.pass.token();
        s.path.push_str(&token);
    });
    for (name, text) in [
        ("scheme_alone", "Bearer"),
        ("scheme_and_a_space", "Bearer "),
        ("two_spaces", "Bearer  {}"),
        ("space_behind_the_token", "Bearer {} "),
        ("two_tokens", "Bearer {} {}"),
        ("quoted_token", "Bearer \"{}\""),
    ] {
        f.deny(
            Code::Malformed,
            name,
            (GRANTED, "`authorization` is spelled otherwise"),
            "One token follows the scheme and one space.",
            move |s| s.authorization = Authorization::Text(text),
        );
    }
    f.deny(
        Code::Malformed,
        "token_that_is_not_utf_8",
        (GRANTED, "the token is followed by a byte that is not UTF-8"),
        "A token is base64url and dots.",
        |s| {
            let token = [b"Bearer ", s.pass.token().as_bytes(), b"\xff"].concat();
            s.authorization = Authorization::Bytes(token);
        },
    );
    f.deny(
        Code::AmbiguousRequest,
        "two_authorization_headers",
        (GRANTED, "a second `authorization` follows"),
        "An upstream may read either.",
        |s| s.header("authorization", "Bearer {}"),
    );
    f.deny(
        Code::AmbiguousRequest,
        "authorization_with_a_comma",
        (GRANTED, "the same token follows behind a comma"),
        "Envoy joins two `authorization` headers so.",
        |s| s.authorization = Authorization::Text("Bearer {},Bearer {}"),
    )
    .live();
    f.deny(
        Code::AmbiguousRequest,
        "another_scheme_behind_a_comma",
        (GRANTED, "another scheme's value follows behind a comma"),
        "An upstream may read either.",
        |s| s.authorization = Authorization::Text("Bearer {}, Basic eDp5"),
    );
    f
}
