//! What is asked over the API: a request as JSON, no larger than one that Envoy would let through.

use core::net::IpAddr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::Sent;

// No `Debug`: the gatepass must get into no log.
/// A request and a gatepass.
#[derive(Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    pub method: String,
    pub host: String,
    /// With its query.
    pub path: String,
    /// Name and value of each, but those of method, host and path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<[String; 2]>)]
    pub headers: Vec<(String, String)>,
    /// Sent as `Authorization: Bearer`. It is not kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gatepass: Option<String>,
    /// All of it. Without one, whether one is to come is what the headers say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The caller's address, as Envoy would have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub source: Option<IpAddr>,
    /// Seconds since the gate was told anything: what would it do with the control plane gone?
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(maximum = 31_622_400)]
    pub age: Option<u64>,
    /// A cohort; without one a gate of those in none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
}

/// Which member cannot be asked about, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{member}`: {why}")]
pub struct Wrong {
    pub member: &'static str,
    pub why: String,
}

impl Asked {
    /// The same request, to be asked of another control plane.
    ///
    /// # Errors
    /// JSON has no place for a body that is not text.
    pub fn of(sent: &Sent, audience: Option<&str>) -> Result<Self, Wrong> {
        let text = |bytes: &Vec<u8>| String::from_utf8(bytes.clone());
        let body = sent.body.as_ref().map(text).transpose();
        Ok(Self {
            method: sent.method.clone(),
            host: sent.host.clone(),
            path: sent.path.clone(),
            headers: sent.headers.clone(),
            gatepass: sent.gatepass.as_ref().map(|token| token.as_str().to_owned()),
            body: body
                .map_err(|_| wrong("body", "it is not UTF-8: only text can be asked about"))?,
            source: sent.source,
            age: (sent.age != 0).then_some(sent.age),
            audience: audience.map(str::to_owned),
        })
    }

    /// The request, within bounds. That of the body is the listener's.
    ///
    /// # Errors
    /// Names the member that is too long, or that no gate would be shown.
    pub fn sent(self) -> Result<Sent, Wrong> {
        let mut left = MAX_HEAD_BYTES;
        let mut take = |member: &'static str, bytes: usize| {
            let rest = left.checked_sub(bytes);
            left = rest.ok_or_else(|| {
                wrong(member, format!("with what stands before it over {MAX_HEAD_BYTES} bytes"))
            })?;
            Ok(())
        };
        take("method", self.method.len())?;
        take("host", self.host.len())?;
        take("path", self.path.len())?;
        take("gatepass", self.gatepass.as_ref().map_or(0, String::len))?;
        if self.headers.len() > MAX_HEADERS {
            return Err(wrong("headers", format!("over {MAX_HEADERS}")));
        }
        let mut headers = Vec::with_capacity(self.headers.len());
        for (name, value) in self.headers {
            take("headers", name.len().saturating_add(value.len()))?;
            headers.push((plain_name(&name)?, plain_value(value)?));
        }
        let age = self.age.unwrap_or_default();
        if age > MAX_AGE {
            return Err(wrong("age", format!("at most {MAX_AGE} seconds")));
        }
        Ok(Sent {
            method: self.method,
            host: self.host,
            path: self.path,
            headers,
            gatepass: self.gatepass.map(Zeroizing::new),
            body: self.body.map(String::into_bytes),
            source: self.source,
            age,
        })
    }
}

/// In lower case, as Envoy holds it.
fn plain_name(name: &str) -> Result<String, Wrong> {
    let name = name.to_ascii_lowercase();
    if matches!(name.as_str(), "host" | ":method" | ":authority" | ":path") {
        return Err(wrong("headers", format!("`{name}` stands in `method`, `host` and `path`")));
    }
    let bare = name.strip_prefix(':').unwrap_or(&name);
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if bare.is_empty() || !bare.bytes().all(is_token) {
        return Err(wrong("headers", "a name is a token (RFC 9110, section 5.6.2)"));
    }
    Ok(name)
}

/// Envoy lets none of these through, so no gate is ever shown one.
fn plain_value(value: String) -> Result<String, Wrong> {
    match value.bytes().any(|byte| matches!(byte, b'\0' | b'\r' | b'\n')) {
        true => Err(wrong("headers", "a value has no line end and no NUL")),
        false => Ok(value),
    }
}

fn wrong(member: &'static str, why: impl Into<String>) -> Wrong {
    Wrong { member, why: why.into() }
}

/// Of method, host, path, headers and gatepass: what Envoy takes of a request's headers unless it is told otherwise.
const MAX_HEAD_BYTES: usize = 60 * 1024;
/// The same of their number.
const MAX_HEADERS: usize = 100;
/// Seconds. No state is believed for longer: that is the life of a root document.
const MAX_AGE: u64 = 366 * 86_400;

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(change: impl FnOnce(&mut Asked)) -> Asked {
        let mut asked = Asked {
            method: "GET".to_owned(),
            host: "orders.example".to_owned(),
            path: "/orders/1".to_owned(),
            headers: vec![("X-Trace".to_owned(), "1".to_owned())],
            gatepass: Some("a.b.c".to_owned()),
            body: Some("{}".to_owned()),
            age: Some(MAX_AGE),
            ..Asked::default()
        };
        change(&mut asked);
        asked
    }

    /// The member that is refused.
    fn refused(change: impl FnOnce(&mut Asked)) -> Option<&'static str> {
        asked(change).sent().err().map(|wrong| wrong.member)
    }

    fn header(name: &str, value: &str) -> Option<&'static str> {
        refused(|asked| asked.headers = vec![(name.to_owned(), value.to_owned())])
    }

    #[test]
    fn names_are_in_lower_case_as_envoy_holds_them() {
        let sent = asked(|_| {}).sent().unwrap();
        assert_eq!(sent.headers, [("x-trace".to_owned(), "1".to_owned())]);
        assert_eq!(sent.body.as_deref(), Some(b"{}".as_slice()));
        assert_eq!(header(":protocol", "websocket"), None);
    }

    #[test]
    fn what_is_too_long_is_named() {
        let long = || "a".repeat(MAX_HEAD_BYTES);
        assert_eq!(refused(|asked| asked.method = long()), Some("host"));
        assert_eq!(refused(|asked| asked.host = long()), Some("host"));
        assert_eq!(refused(|asked| asked.path = long()), Some("path"));
        assert_eq!(refused(|asked| asked.gatepass = Some(long())), Some("gatepass"));
        assert_eq!(header("x", &long()), Some("headers"));
        let many = |count| vec![("x".to_owned(), String::new()); count];
        assert_eq!(refused(|asked| asked.headers = many(MAX_HEADERS)), None);
        assert_eq!(refused(|asked| asked.headers = many(MAX_HEADERS + 1)), Some("headers"));
        assert_eq!(refused(|asked| asked.age = Some(MAX_AGE + 1)), Some("age"));
    }

    #[test]
    fn what_no_gate_is_shown_is_refused() {
        for name in ["", ":", "Host", ":authority", ":path", ":Method", "a b", "a:b", "é", "a\n"] {
            assert_eq!(header(name, "1"), Some("headers"), "{name}");
        }
        for value in ["a\r\nb", "\n", "\0"] {
            assert_eq!(header("x", value), Some("headers"), "{value:?}");
        }
        assert_eq!(header("x", "é \t"), None);
    }

    #[test]
    fn what_is_asked_of_another_control_plane_is_the_same() {
        let sent = asked(|_| {}).sent().unwrap();
        let again = Asked::of(&sent, Some("canary")).unwrap();
        assert_eq!(again.audience.as_deref(), Some("canary"));
        let again = again.sent().unwrap();
        assert_eq!((again.headers, again.body, again.age), (sent.headers, sent.body, sent.age));
        let binary = Sent { body: Some(vec![0xff]), ..Sent::default() };
        assert_eq!(Asked::of(&binary, None).err().map(|wrong| wrong.member), Some("body"));
    }
}
