//! What the request is: one spelling, one route, no stream.

use gatepass_engine::denial::Code;

use super::GRANTED;
use crate::case::Family;

pub(crate) fn family() -> Family {
    let mut f = Family::new(500, "Requests");
    spelling_of_the_path(&mut f);
    spelling_of_the_rest(&mut f);
    routes(&mut f);
    streams(&mut f);
    f
}

fn spelling_of_the_path(f: &mut Family) {
    let why = "A path has one spelling: what another server may read otherwise is refused.";
    for (name, segment, what) in [
        ("empty_segment", "/orders//c1", "`//`"),
        ("dot_segment", "/orders/./c1", "`.`"),
        ("two_dots", "/orders/x/../c1", "`..`"),
        ("backslash", "/orders\\c1", "`\\`"),
        ("semicolon", "/orders;v=1/c1", "`;`"),
        ("fragment", "/orders/c1#", "`#`"),
        ("encoded_nul", "/orders/c1%00", "`%00`"),
        ("encoded_dot", "/orders/%2E", "`%2E`"),
        ("encoded_slash", "/orders%2Fc1", "`%2F`"),
        ("encoded_backslash", "/orders%5Cc1", "`%5C`"),
        ("encoded_percent", "/orders/c1%25", "`%25`"),
        ("needless_encoding", "/orders/%631", "`%63`, which is `c`"),
        ("lower_case_encoding", "/orders/caf%c3%a9", "an encoding in lower case"),
        ("overlong_encoding", "/orders/%C0%AF", "an overlong `/`"),
        ("encoded_surrogate", "/orders/%ED%A0%80", "a surrogate"),
        ("broken_encoding", "/orders/c1%4", "half an encoding"),
        ("encoded_control", "/orders/c1%0A", "a line feed"),
        ("absolute_form", "http://orders.example/orders/c1", "scheme and host"),
        ("asterisk", "*", "only `*`"),
        ("literal_in_another_case", "/Orders/c1", "`Orders`"),
    ] {
        f.deny(
            Code::AmbiguousRequest,
            format!("path_with_{name}"),
            (GRANTED, &format!("the path holds {what}")),
            why,
            move |s| s.path = s.path.replacen("/orders/c1", segment, 1),
        );
    }
    // In another case, which Envoy leaves alone.
    f.live();
    f.deny(
        Code::AmbiguousRequest,
        "path_not_utf_8",
        (GRANTED, "a segment holds an encoded byte that is not UTF-8"),
        why,
        |s| s.path = s.path.replacen("c1", "%FF", 1),
    );
}

fn spelling_of_the_rest(f: &mut Family) {
    for (name, authority) in [
        ("in_upper_case", "ORDERS.example"),
        ("with_a_trailing_dot", "orders.example."),
        ("with_a_port_of_two_spellings", "orders.example:0443"),
        ("with_an_empty_port", "orders.example:"),
        ("with_user_information", "orders.example@evil.example"),
        ("with_a_comma", "orders.example,evil.example"),
        ("empty", ""),
    ] {
        f.deny(
            Code::AmbiguousRequest,
            format!("authority_{name}"),
            (GRANTED, &format!("`:authority` is `{authority}`")),
            "A host has one spelling.",
            move |s| s.authority = authority.into(),
        );
    }
    for (name, more) in [
        ("twice", "&amount=1.00"),
        ("twice_in_another_case", "&Amount=1.00"),
        ("twice_as_a_list", "&amount[]=1.00"),
        ("twice_with_an_encoding", "&%61mount=1.00"),
    ] {
        f.deny(
            Code::AmbiguousRequest,
            format!("query_key_{name}"),
            (GRANTED, &format!("the query ends with `{more}`")),
            "A key that feeds an input occurs once and in one spelling.",
            move |s| s.path.push_str(more),
        );
    }
    f.live();
    for (name, from, to) in [
        ("query_with_a_plus", "currency=EUR", "currency=EU+R"),
        ("query_with_a_semicolon", "&count", ";count"),
        ("query_not_utf_8", "currency=EUR", "currency=%FF"),
    ] {
        f.deny(
            Code::AmbiguousRequest,
            name,
            (GRANTED, &format!("the query holds `{to}`")),
            "A query that another server may split or read otherwise is refused.",
            move |s| s.path = s.path.replacen(from, to, 1),
        );
    }
    for (name, header, value) in [
        ("input_header_twice", "x-tag", &b"red"[..]),
        ("input_header_with_an_underscore", "x_tag", b"red"),
    ] {
        f.deny(
            Code::AmbiguousRequest,
            name,
            (GRANTED, &format!("a header `{header}` is added")),
            "A header that feeds an input occurs once and in one spelling.",
            move |s| s.header(header, value),
        );
    }
    for (name, value) in
        [("input_header_with_a_comma", &b"blue,red"[..]), ("input_header_not_utf_8", b"blu\xe9")]
    {
        f.deny(
            Code::AmbiguousRequest,
            name,
            (GRANTED, "the value of `x-tag` is another"),
            "A header that feeds an input has one value.",
            move |s| {
                s.headers.clear();
                s.header("x-tag", value);
            },
        );
    }
    f.deny(
        Code::AmbiguousRequest,
        "method_twice",
        (GRANTED, "a second `:method` follows"),
        "A pseudo-header occurs once.",
        |s| s.header(":method", "GET"),
    );
}

fn routes(f: &mut Family) {
    let why = "Only routes of the policy lead anywhere.";
    f.deny(Code::NoRoute, "another_method", (GRANTED, "the method is `DELETE`"), why, |s| {
        s.method = "DELETE"
    })
    .live();
    f.deny(
        Code::NoRoute,
        "method_in_lower_case",
        (GRANTED, "the method is `post`"),
        "Methods have case (RFC 9110 section 9.1).",
        |s| s.method = "post",
    );
    for (name, path) in [
        ("one_segment_more", "/orders/c1/items"),
        ("trailing_slash", "/orders/c1/"),
        ("empty_parameter", "/orders/"),
        ("another_path", "/elsewhere"),
    ] {
        f.deny(Code::NoRoute, name, (GRANTED, &format!("the path is `{path}`")), why, move |s| {
            s.path = s.path.replacen("/orders/c1", path, 1)
        });
    }
    f.deny(
        Code::NoRoute,
        "unknown_host",
        (GRANTED, "the host is one that the policy does not name"),
        why,
        |s| s.authority = "unknown.example".into(),
    );
    f.deny(
        Code::BodyNotAllowed,
        "body_where_none_is_read",
        (GRANTED, "a body follows"),
        "What is not read is not decided.",
        |s| s.ends_with_headers = false,
    );
}

fn streams(f: &mut Family) {
    let why = "A stream would outlive its permit.";
    for (name, twin, header) in [
        ("upgrade", GRANTED, "upgrade"),
        ("extended_connect", GRANTED, ":protocol"),
        ("upgrade_on_a_public_route", "public_route_with_a_good_gatepass", "upgrade"),
        ("upgrade_on_a_passed_through_host", "passed_through_with_a_gatepass", "upgrade"),
    ] {
        f.deny(
            Code::StreamNotAllowed,
            name,
            (twin, &format!("`{header}: websocket` is added")),
            why,
            move |s| s.header(header, "websocket"),
        );
    }
    f.deny(Code::StreamNotAllowed, "connect", (GRANTED, "the method is `CONNECT`"), why, |s| {
        s.method = "CONNECT"
    });
    f.allow_as("public", "public_route_with_a_good_gatepass", "It is not judged.", |s| {
        s.ask("GET", "/health");
    });
    f.allow_as("passed_through", "passed_through_with_a_gatepass", "It is not judged.", |s| {
        s.ask("GET", "/anything");
        s.authority = "open.example".into();
    });
}
