//! Texts: their escapes, and which names are one name to some reader.

/// The character that an escape at the beginning of `bytes` stands for, and the escape's length. A pair of
/// surrogates is one; half of one is none.
pub(super) fn escape(bytes: &[u8]) -> Option<(char, usize)> {
    let c = match bytes.get(1)? {
        b'"' => '"',
        b'\\' => '\\',
        b'/' => '/',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => return unicode(bytes),
        _ => return None,
    };
    Some((c, 2))
}

fn unicode(bytes: &[u8]) -> Option<(char, usize)> {
    let first = hex(bytes.get(2..6)?)?;
    if !(0xd800..0xdc00).contains(&first) {
        return char::from_u32(first).map(|c| (c, 6));
    }
    let second = match bytes.get(6..8)? {
        b"\\u" => hex(bytes.get(8..12)?)?,
        _ => return None,
    };
    let low = second.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
    let high = first.checked_sub(0xd800)?;
    let both = high.checked_mul(0x400)?.checked_add(low)?.checked_add(0x1_0000)?;
    char::from_u32(both).map(|c| (c, 12))
}

fn hex(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0_u32, |sum, digit| {
        let digit = char::from(*digit).to_digit(16)?;
        sum.checked_mul(16)?.checked_add(digit)
    })
}

/// A text without its escapes. `None` where one is none, which a scan finds before.
pub(super) fn unescaped(written: &str) -> Option<String> {
    let mut out = String::with_capacity(written.len());
    let mut rest = written;
    while let Some(at) = rest.find('\\') {
        out.push_str(rest.get(..at)?);
        let (c, length) = escape(rest.as_bytes().get(at..)?)?;
        out.push(c);
        rest = rest.get(at.checked_add(length)?..)?;
    }
    out.push_str(rest);
    Some(out)
}

/// The same, character by character.
pub(super) fn characters(written: &str) -> impl Iterator<Item = char> {
    let mut rest = written;
    core::iter::from_fn(move || {
        let first = rest.chars().next()?;
        // INVARIANT: the scan has read each escape.
        let (c, length) = match first {
            '\\' => escape(rest.as_bytes())?,
            c => (c, c.len_utf8()),
        };
        rest = rest.get(length..)?;
        Some(c)
    })
}

/// What readers that do not mind case make of a character. Beside ASCII: the Kelvin sign and the long s, which
/// Go folds, and the two Turkish letters, which Java and .NET do.
pub(crate) const fn folded(c: char) -> char {
    match c {
        '\u{212a}' => 'k',
        '\u{17f}' => 's',
        '\u{130}' | '\u{131}' => 'i',
        c => c.to_ascii_lowercase(),
    }
}
