//! The request line: what is asked of whom.

use super::Header;
use crate::target::Ambiguous;

/// Method, authority and path, each exactly once.
pub(super) struct RequestLine<'a> {
    pub(super) method: &'a str,
    pub(super) authority: &'a [u8],
    pub(super) path: &'a [u8],
    pub(super) connect: bool,
    /// An upgrade or a tunnel.
    pub(super) stream: bool,
    /// What a request that is no tunnel would become, where it says so once.
    pub(super) upgrade: Option<&'a [u8]>,
}

impl<'a> RequestLine<'a> {
    pub(super) fn read(headers: &[Header<'a>]) -> Result<Self, Ambiguous> {
        let method = only(headers, b":method")?.ok_or_else(|| Ambiguous::new("no method"))?;
        let method =
            core::str::from_utf8(method).map_err(|_| Ambiguous::new("the method is not UTF-8"))?;
        let authority = only(headers, b":authority")?.ok_or_else(|| Ambiguous::new("no host"))?;
        let connect = method.eq_ignore_ascii_case("CONNECT");
        let path = match only(headers, b":path")? {
            Some(path) => path,
            None if connect => b"",
            None => return Err(Ambiguous::new("no path")),
        };
        let mut upgrades = headers
            .iter()
            .filter(|header| header.name == b"upgrade" || header.name == b":protocol")
            .map(|header| header.value);
        let first = upgrades.next();
        let upgrade = if connect || upgrades.next().is_some() { None } else { first };
        Ok(Self { method, authority, path, connect, stream: connect || first.is_some(), upgrade })
    }

    /// An upgrade passes where the route means this very one; a tunnel passes nowhere, because nothing of
    /// what goes through it can be decided on.
    pub(super) fn is_meant(&self, upgrade: Option<&str>) -> bool {
        let named =
            |asked: &[u8]| upgrade.is_some_and(|name| asked.eq_ignore_ascii_case(name.as_bytes()));
        !self.stream || self.upgrade.is_some_and(named)
    }
}

fn only<'a>(headers: &[Header<'a>], name: &[u8]) -> Result<Option<&'a [u8]>, Ambiguous> {
    let mut found = headers.iter().filter(|header| header.name == name).map(|header| header.value);
    match (found.next(), found.next()) {
        (value, None) => Ok(value),
        (_, Some(_)) => Err(Ambiguous::new("a pseudo-header occurs twice")),
    }
}
