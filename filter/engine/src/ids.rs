//! Identifiers, each a type of its own, borrowed from the credential that carries them.
//!
//! An id is visible ASCII without `"`, `\` or `,`: it can go into a header, a log line and a
//! metric label without being escaped, and cannot be spelled in two ways.

use core::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident, $check:ident, $expected:literal;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name<'a>(&'a str);

        impl<'a> $name<'a> {
            /// Accepts the one spelling of such an id.
            #[must_use]
            pub fn parse(text: &'a str) -> Option<Self> {
                $check(text).then_some(Self(text))
            }

            #[must_use]
            pub const fn as_str(self) -> &'a str {
                self.0
            }
        }

        impl fmt::Display for $name<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.0)
            }
        }

        impl<'de: 'a, 'a> Deserialize<'de> for $name<'a> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::parse(<&str>::deserialize(deserializer)?)
                    .ok_or_else(|| D::Error::custom(concat!("expected ", $expected)))
            }
        }
    )+};
}

ids! {
    /// `agent:<uuid>`, lower case.
    AgentId, is_agent, "`agent:<uuid>` in lower case";
    /// `user:<directory>/<id>`: a person, as their directory names them.
    PersonId, is_person, "`user:<directory>/<id>`";
    /// A blueprint's id.
    BlueprintId, is_token, "1 to 128 visible ASCII characters";
    /// A gatepass's `jti`.
    Jti, is_token, "1 to 128 visible ASCII characters";
    /// A task's id (`txn`).
    TaskId, is_token, "1 to 128 visible ASCII characters";
    /// An environment's name.
    EnvironmentName, is_token, "1 to 128 visible ASCII characters";
    /// An issuer, audience or location: an absolute URI.
    Uri, is_uri, "an absolute URI of at most 512 visible ASCII characters";
}

/// Who a gatepass is about (`sub`): an agent for itself, or the person it acts for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject<'a> {
    Agent(AgentId<'a>),
    Person(PersonId<'a>),
}

impl<'a> Subject<'a> {
    #[must_use]
    pub const fn as_str(self) -> &'a str {
        match self {
            Self::Agent(agent) => agent.as_str(),
            Self::Person(person) => person.as_str(),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Subject<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <&str>::deserialize(deserializer)?;
        AgentId::parse(text)
            .map(Subject::Agent)
            .or_else(|| PersonId::parse(text).map(Subject::Person))
            .ok_or_else(|| D::Error::custom("expected `agent:<uuid>` or `user:<directory>/<id>`"))
    }
}

/// 1 to 128 visible ASCII characters, none of which needs an escape anywhere.
#[must_use]
pub fn is_token(text: &str) -> bool {
    plain(text, MAX_ID_BYTES)
}

fn plain(text: &str, most: usize) -> bool {
    !text.is_empty()
        && text.len() <= most
        && text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\' | b','))
}

fn is_agent(text: &str) -> bool {
    let Some(uuid) = text.strip_prefix("agent:") else {
        return false;
    };
    uuid.len() == 36
        && uuid.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        })
}

fn is_person(text: &str) -> bool {
    let Some((directory, id)) = text.strip_prefix("user:").and_then(|rest| rest.split_once('/'))
    else {
        return false;
    };
    is_token(directory) && is_token(id) && !id.contains('/')
}

fn is_uri(text: &str) -> bool {
    plain(text, MAX_URI_BYTES)
        && text.split_once(':').is_some_and(|(scheme, rest)| {
            scheme.starts_with(|c: char| c.is_ascii_lowercase())
                && scheme
                    .bytes()
                    .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'+' | b'-' | b'.'))
                && !rest.is_empty()
        })
}

/// Bytes of an identifier.
pub const MAX_ID_BYTES: usize = 128;
/// Bytes of an issuer or audience.
pub const MAX_URI_BYTES: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_has_one_spelling() {
        assert!(AgentId::parse("agent:018f3c2e-7b1a-7c3d-8e4f-0a1b2c3d4e5f").is_some());
        for bad in [
            "agent:018F3C2E-7B1A-7C3D-8E4F-0A1B2C3D4E5F",
            "agent:018f3c2e7b1a7c3d8e4f0a1b2c3d4e5f",
            "user:018f3c2e-7b1a-7c3d-8e4f-0a1b2c3d4e5f",
            "agent:018f3c2e-7b1a-7c3d-8e4f-0a1b2c3d4e5f ",
            "agent:",
            "",
        ] {
            assert!(AgentId::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_person_names_their_directory() {
        assert!(PersonId::parse("user:corp/alice").is_some());
        for bad in
            ["user:alice", "user:/alice", "user:corp/", "user:corp/a/b", "user:corp/a b", "alice"]
        {
            assert!(PersonId::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_uri_is_absolute() {
        assert!(Uri::parse("https://orders.example").is_some());
        for bad in ["orders.example", "https:", "HTTPS://a", ":x", "https://a,b", "https://a b"] {
            assert!(Uri::parse(bad).is_none(), "{bad}");
        }
    }
}
