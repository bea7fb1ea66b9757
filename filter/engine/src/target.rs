//! What the request is: host, path and query in their one spelling.
//!
//! The gate decides on what Envoy holds after its connection manager and accepts one spelling of
//! it. Whatever a proxy, framework or application behind the gate might read differently is
//! refused as `ambiguous_request`, so that what was decided is what is done.

use std::borrow::Cow;

/// Why a request has a second spelling; the detail of an `ambiguous_request` denial.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Ambiguous(pub(crate) String);

impl Ambiguous {
    pub(crate) fn new(detail: impl Into<String>) -> Self {
        Self(detail.into())
    }
}

/// The host of `:authority`, without its port.
///
/// # Errors
/// Anything but a lower-case DNS name, an IPv4 address or a bracketed IPv6 address, with an
/// optional port without leading zeros.
pub fn host(authority: &[u8]) -> Result<&str, Ambiguous> {
    let text =
        core::str::from_utf8(authority).map_err(|_| Ambiguous::new("the host is not UTF-8"))?;
    if text.len() > MAX_AUTHORITY_BYTES {
        return Err(Ambiguous::new("the host is too long"));
    }
    let (host, port) = split_port(text);
    if port.is_some_and(|port| !is_port(port)) {
        return Err(Ambiguous::new("the port has a second spelling"));
    }
    if is_host(host) { Ok(host) } else { Err(Ambiguous::new("the host has a second spelling")) }
}

fn split_port(authority: &str) -> (&str, Option<&str>) {
    if authority.starts_with('[') {
        return match authority.split_once(']') {
            Some((host, "")) if authority.len() == host.len().saturating_add(1) => {
                (authority, None)
            }
            Some((host, rest)) => {
                let end = host.len().saturating_add(1);
                (authority.get(..end).unwrap_or_default(), rest.strip_prefix(':').or(Some("")))
            }
            None => ("", None),
        };
    }
    match authority.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    }
}

fn is_port(port: &str) -> bool {
    !port.starts_with('0')
        && port.bytes().all(|b| b.is_ascii_digit())
        && port.parse::<u16>().is_ok()
}

/// Whether `host` is the one spelling of a host: lower case, no trailing dot, no empty label.
#[must_use]
pub fn is_host(host: &str) -> bool {
    if let Some(inner) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return inner
            .parse::<core::net::Ipv6Addr>()
            .is_ok_and(|parsed| parsed.to_string() == inner);
    }
    host.len() <= 253
        && host.split('.').all(|label| {
            !label.is_empty()
                && label.len() <= 63
                && label.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'))
        })
}

/// A path and query in their one spelling. Segments and pairs are still percent-encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target<'a> {
    pub path: &'a str,
    pub segments: Vec<&'a str>,
    pub query: Vec<(&'a str, &'a str)>,
}

impl<'a> Target<'a> {
    /// Reads `:path`.
    ///
    /// # Errors
    /// `//`, dot segments, `\`, `;`, a fragment, bytes that a URI cannot hold, percent-encodings
    /// that are invalid, needless, in lower-case hex or of a byte in [`NEVER_ENCODED`], invalid
    /// UTF-8, or more than the limits.
    pub fn parse(path_and_query: &'a [u8]) -> Result<Self, Ambiguous> {
        let text = core::str::from_utf8(path_and_query)
            .map_err(|_| Ambiguous::new("the path is not UTF-8"))?;
        if text.len() > MAX_PATH_BYTES {
            return Err(Ambiguous::new("the path is too long"));
        }
        let (path, query) = match text.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (text, None),
        };
        let Some(inner) = path.strip_prefix('/') else {
            return Err(Ambiguous::new("the path does not start with `/`"));
        };
        let segments: Vec<&str> = inner.split('/').take(MAX_SEGMENTS.saturating_add(1)).collect();
        if segments.len() > MAX_SEGMENTS {
            return Err(Ambiguous::new("the path has too many segments"));
        }
        let last = segments.len().saturating_sub(1);
        for (at, segment) in segments.iter().enumerate() {
            if segment.is_empty() && at != last {
                return Err(Ambiguous::new("the path holds `//`"));
            }
            check_segment(segment)?;
        }
        Ok(Self { path, segments, query: query.map_or(Ok(Vec::new()), pairs)? })
    }
}

fn check_segment(segment: &str) -> Result<(), Ambiguous> {
    if matches!(segment, "." | "..") {
        return Err(Ambiguous::new("the path holds a dot segment"));
    }
    let mut rest = segment.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first == b'%' {
            let byte = encoded(after, true).ok_or_else(|| {
                Ambiguous::new("the path holds an invalid or lower-case percent-encoding")
            })?;
            if is_unreserved(byte) || NEVER_ENCODED.contains(&byte) || byte < 0x20 || byte == 0x7f {
                return Err(Ambiguous::new(
                    "the path holds a percent-encoding with a second reading",
                ));
            }
            rest = after.get(2..).unwrap_or_default();
        } else if !is_path_byte(*first) {
            return Err(Ambiguous::new(
                "the path holds a byte that needs encoding or splits it elsewhere",
            ));
        }
    }
    if segment.contains('%') {
        decoded(segment)?;
    }
    Ok(())
}

fn pairs(query: &str) -> Result<Vec<(&str, &str)>, Ambiguous> {
    let mut out = Vec::new();
    for pair in query.split('&') {
        if out.len() >= MAX_QUERY_PAIRS {
            return Err(Ambiguous::new("the query has too many keys"));
        }
        if !pair.bytes().all(is_query_byte) {
            return Err(Ambiguous::new(
                "the query holds a byte that needs encoding or splits it elsewhere",
            ));
        }
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let plain = decoded(key)?;
        if METHOD_OVERRIDES.iter().any(|name| plain.trim().eq_ignore_ascii_case(name)) {
            return Err(Ambiguous::new("the query names another method"));
        }
        decoded(value)?;
        out.push((key, value));
    }
    Ok(out)
}

/// Percent-decodes; borrowed when there is nothing to decode.
///
/// # Errors
/// An invalid percent-encoding, invalid UTF-8, or an encoded NUL.
pub fn decoded(text: &str) -> Result<Cow<'_, str>, Ambiguous> {
    if !text.contains('%') {
        return Ok(Cow::Borrowed(text));
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first == b'%' {
            let byte = encoded(after, false)
                .ok_or_else(|| Ambiguous::new("an invalid percent-encoding"))?;
            if byte == 0 {
                return Err(Ambiguous::new("an encoded NUL"));
            }
            out.push(byte);
            rest = after.get(2..).unwrap_or_default();
        } else {
            out.push(*first);
        }
    }
    String::from_utf8(out)
        .map(Cow::Owned)
        .map_err(|_| Ambiguous::new("an encoding of invalid UTF-8"))
}

/// The byte that two hex digits stand for.
fn encoded(after: &[u8], upper_only: bool) -> Option<u8> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte.wrapping_sub(b'0')),
        b'A'..=b'F' => Some(byte.wrapping_sub(b'A').wrapping_add(10)),
        b'a'..=b'f' if !upper_only => Some(byte.wrapping_sub(b'a').wrapping_add(10)),
        _ => None,
    };
    let [high, low] = *after.first_chunk::<2>()?;
    Some((digit(high)? << 4) | digit(low)?)
}

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// RFC 3986 `pchar` without `%` and without `;`, which some servers cut a segment at.
const fn is_path_byte(byte: u8) -> bool {
    is_unreserved(byte)
        || matches!(
            byte,
            b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b'=' | b':' | b'@'
        )
}

/// RFC 3986 `query` without `;`, which some servers split pairs at.
const fn is_query_byte(byte: u8) -> bool {
    is_path_byte(byte) || matches!(byte, b'/' | b'?' | b'%' | b'[' | b']')
}

/// Bytes whose encoding in a path some server decodes before it splits or resolves the path.
pub const NEVER_ENCODED: [u8; 5] = [b'/', b'\\', b'%', b';', 0];
/// Query keys by which some frameworks act on another method than the one decided on.
pub(crate) const METHOD_OVERRIDES: [&str; 3] =
    ["_method", "x-http-method-override", "x_http_method_override"];
/// Bytes of `:authority`.
const MAX_AUTHORITY_BYTES: usize = 270;
/// Bytes of `:path`.
const MAX_PATH_BYTES: usize = 8 * 1024;
/// Segments of a path, and of a path template.
pub const MAX_SEGMENTS: usize = 32;
/// Keys of a query.
const MAX_QUERY_PAIRS: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_one_spelling() {
        for (good, expected) in [
            ("orders.example", "orders.example"),
            ("orders.example:8443", "orders.example"),
            ("127.0.0.1:80", "127.0.0.1"),
            ("[::1]", "[::1]"),
            ("[::1]:80", "[::1]"),
        ] {
            assert_eq!(host(good.as_bytes()), Ok(expected), "{good}");
        }
        for bad in [
            "",
            "Orders.example",
            "orders.example.",
            "orders..example",
            ".",
            "a,b",
            "a@b",
            "a b",
            "orders.example:",
            "orders.example:080",
            "orders.example:0",
            "orders.example:99999",
            "orders.example:1:2",
            "[::1",
            "[::1]x",
            "[::1]:",
            "[0:0::1]",
            "a/b",
            "a\0b",
            "*.example",
            "orders.example:+1",
        ] {
            assert!(host(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(host(b"a\xff").is_err());
    }

    #[test]
    fn a_path_has_one_spelling() {
        for good in [
            "/",
            "/orders",
            "/orders/",
            "/orders/a%20b",
            "/o/%C3%A9",
            "/a:b@c",
            "/%3A",
            "/x?a=1&b=2",
            "/x?a",
            "/x?",
            "/x?a=%2F%25",
            "/x?a=http://b/c?d",
            "/x?a=+",
        ] {
            assert!(Target::parse(good.as_bytes()).is_ok(), "{good}");
        }
        for bad in [
            "",
            "*",
            "orders",
            "//",
            "/a//b",
            "//a",
            "/.",
            "/..",
            "/a/../b",
            "/a/./b",
            "/a/..",
            "/a\\b",
            "/a;b",
            "/%00",
            "/%2e",
            "/%2E%2E",
            "/%2F",
            "/%2f",
            "/%5C",
            "/%5c",
            "/%25",
            "/%61",
            "/%7E",
            "/%C3",
            "/%c3%a9",
            "/%C0%AF",
            "/%E0%80%AF",
            "/%ED%A0%80",
            "/%",
            "/%4",
            "/%zz",
            "/%3B",
            "/a#b",
            "/a b",
            "/a\"",
            "/é",
            "/a|b",
            "/%0A",
            "/%7F",
            "http://x/",
            "/x?_method=DELETE",
            "/x?a=1&%5Fmethod=DELETE",
            "/x?a=%",
            "/x?a=%C0",
            "/x?%00",
            "/x?a;b",
            "/x?a\\b",
            "/x?a#b",
            "/x?a b",
        ] {
            assert!(Target::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(Target::parse(b"/\xff").is_err());
        assert!(Target::parse(b"/a\0").is_err());
    }

    #[test]
    fn limits_hold() {
        let most = "/a".repeat(MAX_SEGMENTS);
        assert!(Target::parse(most.as_bytes()).is_ok());
        assert!(Target::parse(format!("{most}/a").as_bytes()).is_err());
        let wide = format!("/?{}", vec!["a"; MAX_QUERY_PAIRS].join("&"));
        assert!(Target::parse(wide.as_bytes()).is_ok());
        assert!(Target::parse(format!("{wide}&a").as_bytes()).is_err());
        assert!(Target::parse(format!("/{}", "a".repeat(9000)).as_bytes()).is_err());
    }
}
