//! What a request presents: `Authorization`, once and in one spelling, or nothing.

use super::Header;
use crate::denial::{Code, Denial};
use crate::inputs::same_header;

/// What `authorization` carries.
pub(super) enum Credential<'a> {
    Absent,
    Unreadable,
    Presented(Presented<'a>),
}

#[derive(Clone, Copy)]
pub(super) struct Presented<'a> {
    pub(super) scheme: Scheme,
    pub(super) token: &'a [u8],
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    Bearer,
    Dpop,
}

impl<'a> Credential<'a> {
    /// Two `authorization` headers arrive from Envoy as one with a comma, so a comma is as
    /// ambiguous as two headers, and so is a spelling with `_` or another case beside it.
    pub(super) fn find(headers: &[Header<'a>]) -> Result<Self, Denial> {
        let twice = || Denial::new(Code::AmbiguousRequest, "two `authorization` headers");
        let mut found = None;
        for header in headers.iter().filter(|header| same_header(header.name, AUTHORIZATION)) {
            if found.is_some()
                || header.name != AUTHORIZATION
                || memchr::memchr(b',', header.value).is_some()
            {
                return Err(twice());
            }
            found = Some(header.value);
        }
        let Some(value) = found else {
            return Ok(Self::Absent);
        };
        Ok(match scheme_and_token(value) {
            Ok(presented) => Self::Presented(presented),
            Err(Some(())) => Self::Unreadable,
            Err(None) => Self::Absent,
        })
    }

    pub(super) fn presented(&self) -> Result<Presented<'a>, Denial> {
        match self {
            Self::Presented(presented) => Ok(*presented),
            Self::Absent => Err(Denial::new(Code::NoCredential, "no `Authorization: Bearer`")),
            Self::Unreadable => {
                Err(Denial::new(Code::Malformed, "a scheme without exactly one token"))
            }
        }
    }
}

/// `Err(None)`: another scheme. `Err(Some(()))`: our scheme, but not one token after one space.
pub(super) fn scheme_and_token(value: &[u8]) -> Result<Presented<'_>, Option<()>> {
    let (name, token) = match value.iter().position(|byte| *byte == b' ') {
        Some(at) => (
            value.get(..at).unwrap_or_default(),
            value.get(at.saturating_add(1)..).unwrap_or_default(),
        ),
        None => (value, &[] as &[u8]),
    };
    let scheme = if name.eq_ignore_ascii_case(b"bearer") {
        Scheme::Bearer
    } else if name.eq_ignore_ascii_case(b"dpop") {
        Scheme::Dpop
    } else {
        return Err(None);
    };
    // Nothing of a token is a blank or below it. Without an early end, so that sixteen bytes are looked at
    // at once.
    let blank = token.iter().fold(false, |blank, byte| blank | (*byte <= b' '));
    if token.is_empty() || blank {
        return Err(Some(()));
    }
    Ok(Presented { scheme, token })
}

pub(super) const AUTHORIZATION: &[u8] = b"authorization";
