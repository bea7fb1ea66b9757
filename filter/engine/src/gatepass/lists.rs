//! Claims that are lists: `aud`, one or several, and `scope`.

use core::fmt;
use core::marker::PhantomData;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::ids::{Uri, is_token};

/// `aud`: a string or a list (RFC 7519 section 4.1.3).
#[derive(Debug)]
pub struct Audiences<'a>(pub Vec<Uri<'a>>);

impl<'de: 'a, 'a> Deserialize<'de> for Audiences<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AudiencesVisitor(PhantomData))
    }
}

struct AudiencesVisitor<'a>(PhantomData<&'a ()>);

impl<'de: 'a, 'a> Visitor<'de> for AudiencesVisitor<'a> {
    type Value = Audiences<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an absolute URI or 1 to {MAX_AUDIENCES} of them")
    }

    fn visit_borrowed_str<E: serde::de::Error>(self, one: &'de str) -> Result<Self::Value, E> {
        audience(one).map(|one| Audiences(vec![one]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut all = Vec::new();
        while let Some(next) = list.next_element()? {
            if all.len() >= MAX_AUDIENCES {
                return Err(A::Error::invalid_length(MAX_AUDIENCES.saturating_add(1), &self));
            }
            all.push(audience(next)?);
        }
        if all.is_empty() { Err(A::Error::invalid_length(0, &self)) } else { Ok(Audiences(all)) }
    }
}

fn audience<E: serde::de::Error>(text: &str) -> Result<Uri<'_>, E> {
    Uri::parse(text).ok_or_else(|| E::custom("an audience is not an absolute URI"))
}

/// `scope`: tokens with one space between them (RFC 6749 section 3.3).
#[derive(Debug, Default)]
pub struct Scopes<'a>(Option<&'a str>);

impl Scopes<'_> {
    #[must_use]
    pub fn has(&self, scope: &str) -> bool {
        self.0.is_some_and(|all| all.split(' ').any(|one| one == scope))
    }

    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().flat_map(|all| all.split(' '))
    }

    /// All of them as they came; none where there is none.
    pub(crate) const fn text(&self) -> Option<&str> {
        self.0
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Scopes<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <&str>::deserialize(deserializer)?;
        if text.is_empty() {
            return Ok(Self(None));
        }
        if text.split(' ').all(is_token) {
            Ok(Self(Some(text)))
        } else {
            Err(D::Error::custom("expected scopes with one space between them"))
        }
    }
}

const MAX_AUDIENCES: usize = 16;
