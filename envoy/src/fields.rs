//! What may stand in a manifest's fields. The templates quote everything; these checks are for the
//! readers behind them: a name that Kubernetes would refuse, or that a shell, a regular expression
//! or a JSON path would read as more than a name, is refused here by the name of its field.

use std::net::IpAddr;

/// A field that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` cannot be {value:?}: expected {expected}")]
pub struct FieldError {
    /// The field, as the command line and the struct name it.
    pub field: &'static str,
    /// What stood there.
    pub value: String,
    /// What may stand there.
    pub expected: &'static str,
}

impl FieldError {
    pub(crate) fn new(field: &'static str, value: &str, expected: &'static str) -> Self {
        Self { field, value: value.to_owned(), expected }
    }
}

type Checked = Result<(), FieldError>;

fn demand(holds: bool, field: &'static str, value: &str, expected: &'static str) -> Checked {
    if holds { Ok(()) } else { Err(FieldError::new(field, value, expected)) }
}

/// What the filter takes as the name of an environment or an audience.
pub(crate) fn token(field: &'static str, value: &str) -> Checked {
    let fits = |b: u8| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\' | b',');
    demand(
        (1..=128).contains(&value.len()) && value.bytes().all(fits),
        field,
        value,
        "1 to 128 visible ASCII characters without quotes, backslashes and commas",
    )
}

/// An object's name or a namespace: RFC 1123 labels, joined by dots.
pub(crate) fn object_name(field: &'static str, value: &str) -> Checked {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    demand(
        value.len() <= 253 && value.split('.').all(label),
        field,
        value,
        "a Kubernetes name: lower-case letters, digits, `-` and `.`",
    )
}

/// One label of a selector.
pub(crate) fn label(field: &'static str, key: &str, value: &str) -> Checked {
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let ends = |text: &str| {
        let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_alphanumeric());
        edge(text.bytes().next()) && edge(text.bytes().last())
    };
    let name = |text: &str| text.len() <= 63 && text.bytes().all(inner) && ends(text);
    let key_fits = match key.split_once('/') {
        Some((prefix, rest)) => object_name(field, prefix).is_ok() && name(rest),
        None => name(key),
    };
    demand(key_fits, field, key, "a label key such as `app` or `example.com/app`")?;
    demand(
        value.is_empty() || name(value),
        field,
        value,
        "a label value: at most 63 letters, digits, `-`, `_` and `.`",
    )
}

/// A host name, as DNS and as a TLS server name.
pub(crate) fn host_name(field: &'static str, value: &str) -> Checked {
    demand(is_host_name(value), field, value, "a host name")
}

fn is_host_name(value: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    let label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(fits);
    value.len() <= 253 && value.split('.').all(label)
}

/// `HOST:PORT`; an IPv6 address in brackets.
pub(crate) fn address(field: &'static str, value: &str) -> Checked {
    let fits = value.rsplit_once(':').is_some_and(|(host, port)| {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host_fits = match bare {
            Some(bare) => bare.parse::<IpAddr>().is_ok(),
            None => is_host_name(host),
        };
        host_fits && port.parse::<u16>().is_ok_and(|port| port != 0)
    });
    demand(fits, field, value, "HOST:PORT with a port from 1 to 65535")
}

/// A file, as Envoy reads it.
pub(crate) fn path(field: &'static str, value: &str) -> Checked {
    let fits = |c: char| !c.is_control() && !matches!(c, '"' | '\\');
    demand(
        (1..=4096).contains(&value.len()) && value.chars().all(fits),
        field,
        value,
        "a path without quotes, backslashes and control characters",
    )
}

/// A digest in hexadecimal.
pub(crate) fn sha256(field: &'static str, value: &str) -> Checked {
    let digit = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
    demand(
        value.len() == 64 && value.bytes().all(digit),
        field,
        value,
        "64 lower-case hexadecimal digits, as `sha256sum filter.wasm` prints them",
    )
}

/// An environment variable's name.
pub(crate) fn variable(field: &'static str, value: &str) -> Checked {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    demand(
        (1..=256).contains(&value.len())
            && value.bytes().all(fits)
            && !value.starts_with(|c: char| c.is_ascii_digit()),
        field,
        value,
        "the name of an environment variable: letters, digits and `_`",
    )
}
