//! Header maps as Envoy keeps them, and their form on the wire of the ABI.
//!
//! Values are bytes: Envoy passes values that are not UTF-8.

use std::fmt;

/// An ordered header map. Names are lower case; a name may occur more than once.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<(Vec<u8>, Vec<u8>)>);

impl Headers {
    pub fn new() -> Self {
        Self::default()
    }

    /// A map as Envoy would hand it on: names lower-cased, and repeated values of the names that
    /// Envoy keeps once joined with a comma.
    pub fn merged<N: AsRef<[u8]>, V: AsRef<[u8]>>(pairs: &[(N, V)]) -> Self {
        let mut headers = Self::new();
        for (name, value) in pairs {
            headers.add(name.as_ref(), value.as_ref());
        }
        headers
    }

    /// A map with each pair as it is given, for what Envoy is not known to send.
    pub fn exact<N: AsRef<[u8]>, V: AsRef<[u8]>>(pairs: &[(N, V)]) -> Self {
        Self(
            pairs
                .iter()
                .map(|(name, value)| (name.as_ref().to_ascii_lowercase(), value.as_ref().to_vec()))
                .collect(),
        )
    }

    /// The first value of a name.
    pub fn first(&self, name: impl AsRef<[u8]>) -> Option<&[u8]> {
        self.all(name).next()
    }

    /// The first value of a name as text, for assertions.
    pub fn text(&self, name: impl AsRef<[u8]>) -> Option<&str> {
        self.first(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// All values of a name.
    pub fn all(&self, name: impl AsRef<[u8]>) -> impl Iterator<Item = &[u8]> {
        let name = name.as_ref().to_ascii_lowercase();
        self.0.iter().filter(move |(key, _)| *key == name).map(|(_, value)| value.as_slice())
    }

    /// All pairs in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.0.iter().map(|(name, value)| (name.as_slice(), value.as_slice()))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Appends a value; to the one value of a name that Envoy keeps once, after a comma.
    pub fn add(&mut self, name: &[u8], value: &[u8]) {
        let name = name.to_ascii_lowercase();
        if KEPT_ONCE.contains(&name.as_slice())
            && let Some((_, present)) = self.0.iter_mut().find(|(key, _)| *key == name)
        {
            present.push(b',');
            present.extend_from_slice(value);
            return;
        }
        self.0.push((name, value.to_vec()));
    }

    /// Leaves the name with this value alone.
    pub fn replace(&mut self, name: &[u8], value: &[u8]) {
        let name = name.to_ascii_lowercase();
        let mut first = true;
        self.0.retain_mut(|(key, present)| {
            if *key != name {
                return true;
            }
            if std::mem::take(&mut first) {
                *present = value.to_vec();
                return true;
            }
            false
        });
        if first {
            self.0.push((name, value.to_vec()));
        }
    }

    /// Removes every value of the name.
    pub fn remove(&mut self, name: &[u8]) {
        let name = name.to_ascii_lowercase();
        self.0.retain(|(key, _)| *key != name);
    }

    /// The ABI's form: a count, the two sizes of each pair, then each name and value with a NUL
    /// after it. An empty map is empty bytes, as Envoy has it.
    pub fn to_wire(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        if self.is_empty() {
            return bytes;
        }
        bytes.extend_from_slice(&length(&self.0));
        for (name, value) in &self.0 {
            bytes.extend_from_slice(&length(name));
            bytes.extend_from_slice(&length(value));
        }
        for (name, value) in &self.0 {
            bytes.extend_from_slice(name);
            bytes.push(0);
            bytes.extend_from_slice(value);
            bytes.push(0);
        }
        bytes
    }

    /// Reads the ABI's form. `None` if it is cut short, where Envoy's host would read past it.
    pub fn from_wire(bytes: &[u8]) -> Option<Self> {
        if bytes.is_empty() {
            return Some(Self::new());
        }
        let (count, mut sizes) = number(bytes)?;
        let mut texts = sizes.get(count.checked_mul(8)?..)?;
        let mut headers = Self::new();
        for _ in 0..count {
            let (name_size, rest) = number(sizes)?;
            let (value_size, rest) = number(rest)?;
            sizes = rest;
            let (name, rest) = terminated(texts, name_size)?;
            let (value, rest) = terminated(rest, value_size)?;
            texts = rest;
            headers.add(name, value);
        }
        Some(headers)
    }
}

/// One pair a line, with what is not UTF-8 shown as replacement characters.
impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.iter().map(|(name, value)| {
                format!("{}: {}", String::from_utf8_lossy(name), String::from_utf8_lossy(value))
            }))
            .finish()
    }
}

fn length<T>(items: &[T]) -> [u8; 4] {
    u32::try_from(items.len()).unwrap_or(u32::MAX).to_le_bytes()
}

fn number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (first, rest) = bytes.split_first_chunk::<4>()?;
    Some((usize::try_from(u32::from_le_bytes(*first)).ok()?, rest))
}

fn terminated(bytes: &[u8], size: usize) -> Option<(&[u8], &[u8])> {
    let (text, rest) = bytes.split_at_checked(size)?;
    Some((text, rest.strip_prefix(b"\0")?))
}

/// Names that Envoy keeps in one slot each, those that matter to the gate.
const KEPT_ONCE: &[&[u8]] = &[
    b":authority",
    b":method",
    b":path",
    b":protocol",
    b":scheme",
    b":status",
    b"authorization",
    b"content-length",
    b"content-type",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wire_form_keeps_bytes_that_are_not_utf8() {
        let headers =
            Headers::merged(&[(&b"X-A"[..], &b"\xff\xfe"[..]), (b"x-a", b""), (b":path", b"/a b")]);
        let wire = headers.to_wire();
        assert_eq!(&wire[..4], 3u32.to_le_bytes());
        assert_eq!(Headers::from_wire(&wire), Some(headers));
        assert_eq!(Headers::from_wire(&[]), Some(Headers::new()));
    }

    #[test]
    fn wire_form_cut_short_is_refused() {
        let wire = Headers::merged(&[("a", "1"), ("b", "2")]).to_wire();
        for end in 1..wire.len() {
            assert_eq!(Headers::from_wire(&wire[..end]), None, "cut at {end}");
        }
    }

    #[test]
    fn replace_and_remove_reach_every_value_of_a_name() {
        let mut headers = Headers::merged(&[("x", "1"), ("y", "2"), ("X", "3")]);
        headers.replace(b"X", b"4");
        assert_eq!(headers.all("x").collect::<Vec<_>>(), [b"4"]);
        headers.add(b"x", b"5");
        assert_eq!(headers.all("x").count(), 2);
        headers.remove(b"x");
        assert_eq!(headers, Headers::exact(&[("y", "2")]));
        headers.replace(b"new", b"6");
        assert_eq!(headers.text("new"), Some("6"));
    }

    #[test]
    fn two_authorization_headers_arrive_as_one() {
        let pairs = [("authorization", "Bearer a"), ("Authorization", "Bearer b")];
        assert_eq!(Headers::merged(&pairs).text("authorization"), Some("Bearer a,Bearer b"));
        assert_eq!(Headers::exact(&pairs).all("authorization").count(), 2);
    }
}
