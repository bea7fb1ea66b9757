//! Strict JSON (RFC 8259) for what is signed: one spelling, bounded.
//!
//! `serde_json` reads it; this module adds what a security token needs and RFC 8259 leaves open:
//! no member name twice at any level, no escape in a member name (`"\u0061ud"` is `"aud"` to one
//! reader and not to another), and bounds on depth and members. Numbers that do not fit an `f64`
//! are refused by the parser itself.

use core::fmt;
use core::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

mod plain;

/// Reads one strict JSON document, an object, into `T`.
///
/// # Errors
/// The text is not strict JSON, or is not a `T`; the error names line and column.
pub fn from_slice<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, serde_json::Error> {
    if !plain::is_plain(bytes) {
        scan(bytes)?;
    }
    // INVARIANT: this reads every byte, so what is plain and gets through is well-formed.
    serde_json::from_slice(bytes).map(|Object(value)| value)
}

/// Reads a struct from an object only. serde's derive would also take the fields in order from an
/// array, which is a second spelling, and one that `deny_unknown_fields` does not look at.
pub(crate) struct Object<T>(pub(crate) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Object)
    }
}

/// Checks strictness without building anything.
fn scan(bytes: &[u8]) -> Result<(), serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    Strict { depth: 0 }.deserialize(&mut reader)?;
    reader.end()
}

/// One JSON value at a nesting depth.
struct Strict {
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Strict {
    fn child<E: serde::de::Error>(&self) -> Result<Self, E> {
        let depth = self.depth.saturating_add(1);
        if depth > MAX_DEPTH {
            return Err(E::custom(format_args!("nested deeper than {MAX_DEPTH}")));
        }
        Ok(Self { depth })
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        loop {
            let child = self.child()?;
            if seq.next_element_seed(child)?.is_none() {
                return Ok(());
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut names: Vec<&'de str> = Vec::new();
        while let Some(PlainName(name)) = map.next_key()? {
            if names.contains(&name) {
                return Err(A::Error::custom(format_args!("member `{name}` occurs twice")));
            }
            if names.len() >= MAX_MEMBERS {
                return Err(A::Error::custom(format_args!("more than {MAX_MEMBERS} members")));
            }
            names.push(name);
            map.next_value_seed(self.child()?)?;
        }
        Ok(())
    }
}

/// A member name written without escapes: only those reach us borrowed.
struct PlainName<'a>(&'a str);

impl<'de> Deserialize<'de> for PlainName<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&str>::deserialize(deserializer).map(PlainName)
    }
}

/// Nesting depth of a signed document.
const MAX_DEPTH: usize = 16;
/// Members of one object; also bounds the quadratic search for a name that occurs twice.
const MAX_MEMBERS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strict_json_has_one_spelling() {
        for good in ["{}", r#"{"a":1,"b":{"a":[1,2]}}"#, "[]", " {\"a\" : \"\\u0061\"} "] {
            assert!(scan(good.as_bytes()).is_ok(), "{good}");
        }
        let deep = format!("{}1{}", "[".repeat(20), "]".repeat(20));
        let wide =
            format!("{{{}}}", (0..70).map(|i| format!("\"{i}\":1")).collect::<Vec<_>>().join(","));
        for bad in [
            r#"{"a":1,"a":1}"#,
            r#"{"b":{"a":1,"a":2}}"#,
            r#"{"\u0061":1}"#,
            r#"{"a":1,"\u0061":1}"#,
            r#"{"a":1e400}"#,
            r#"{"a":1}x"#,
            "\u{feff}{}",
            "",
            "{",
            "{'a':1}",
            r#"{"a":NaN}"#,
            r#"{"a":01}"#,
            deep.as_str(),
            wide.as_str(),
        ] {
            assert!(scan(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(scan(b"{\"a\":\"\xff\"}").is_err(), "not UTF-8");
    }
}
