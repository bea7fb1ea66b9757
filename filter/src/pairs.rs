//! The wire form of a header map (proxy-wasm ABI 0.2.1): a count, the sizes of each name and
//! value, then the bytes, each followed by NUL. Numbers are u32, little endian.
//!
//! Our own reader, because the SDK's indexes without checks and makes `String`s of what need not
//! be UTF-8. Nothing here panics, whatever the bytes.

use gatepass_engine::decision::Header;

/// Borrows every header of a map.
///
/// # Errors
/// The bytes are not such a map, or it has more than [`MAX_HEADERS`].
pub fn read(bytes: &[u8]) -> Result<Vec<Header<'_>>, NotAMap> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let (count, mut sizes) = number(bytes)?;
    let count = usize::try_from(count).map_err(|_| NotAMap)?;
    if count > MAX_HEADERS {
        return Err(NotAMap);
    }
    let data_at = count.checked_mul(8).and_then(|size| size.checked_add(4)).ok_or(NotAMap)?;
    let mut data = bytes.get(data_at..).ok_or(NotAMap)?;
    let mut out = Vec::with_capacity(count);
    for _ in 0..count {
        let (name_size, rest) = number(sizes)?;
        let (value_size, rest) = number(rest)?;
        sizes = rest;
        let (name, rest) = text(data, name_size)?;
        let (value, rest) = text(rest, value_size)?;
        data = rest;
        out.push(Header { name, value });
    }
    Ok(out)
}

/// Writes the wire form.
#[must_use]
pub fn write(pairs: &[(&str, &str)]) -> Vec<u8> {
    let size = |text: &str| u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes();
    let mut out = Vec::new();
    out.extend_from_slice(&u32::try_from(pairs.len()).unwrap_or(u32::MAX).to_le_bytes());
    for (name, value) in pairs {
        out.extend_from_slice(&size(name));
        out.extend_from_slice(&size(value));
    }
    for text in pairs.iter().flat_map(|(name, value)| [name, value]) {
        out.extend_from_slice(text.as_bytes());
        out.push(0);
    }
    out
}

/// The bytes are not a header map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the host's header map does not parse")]
pub struct NotAMap;

fn number(bytes: &[u8]) -> Result<(u32, &[u8]), NotAMap> {
    let (first, rest) = bytes.split_first_chunk::<4>().ok_or(NotAMap)?;
    Ok((u32::from_le_bytes(*first), rest))
}

fn text(bytes: &[u8], size: u32) -> Result<(&[u8], &[u8]), NotAMap> {
    let size = usize::try_from(size).map_err(|_| NotAMap)?;
    let text = bytes.get(..size).ok_or(NotAMap)?;
    let after = size.checked_add(1).and_then(|end| bytes.get(end..)).ok_or(NotAMap)?;
    Ok((text, after))
}

/// Headers of one message; Envoy's own default is 100.
const MAX_HEADERS: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let bytes = write(&[(":path", "/"), ("x-a", ""), ("x-b", "c")]);
        let header = |name, value| Header { name, value };
        assert_eq!(
            read(&bytes),
            Ok(vec![header(b":path", b"/"), header(b"x-a", b""), header(b"x-b", b"c")])
        );
        assert_eq!(read(&[]), Ok(vec![]));
        assert_eq!(read(&write(&[])), Ok(vec![]));
    }

    #[test]
    fn a_value_that_is_not_utf8_is_data() {
        let mut bytes = write(&[("x-a", "zz")]);
        let at = bytes.len() - 3;
        bytes[at..at + 2].copy_from_slice(b"\xff\xfe");
        assert_eq!(read(&bytes), Ok(vec![Header { name: b"x-a", value: b"\xff\xfe" }]));
    }

    #[test]
    fn bytes_cut_anywhere_or_lying_about_sizes_are_refused() {
        let bytes = write(&[(":path", "/"), ("x-a", "b")]);
        for end in 1..bytes.len() {
            assert_eq!(read(&bytes[..end]), Err(NotAMap), "cut at {end}");
        }
        for at in 0..20 {
            let mut lying = bytes.clone();
            lying[at] = 0xff;
            lying[at | 3] = 0xff;
            assert_eq!(read(&lying), Err(NotAMap), "lie at {at}");
        }
    }
}
