//! The quick look at a document: is it so plain that nothing about its strictness is in doubt?
//!
//! Plain is: UTF-8, no backslash anywhere, whole numbers of at most fifteen digits, few members and levels,
//! no member name twice. Whatever is not plain is looked at in full, so this may say no to what is
//! strict, and never yes to what is not, given that a parser then finds the document well-formed.

use memchr::memchr;

/// Whether a document that is well-formed is strict as well.
pub(super) fn is_plain(bytes: &[u8]) -> bool {
    if core::str::from_utf8(bytes).is_err() || memchr(b'\\', bytes).is_some() {
        return false;
    }
    let mut names = Names::default();
    let mut rest = bytes;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        let goes_on = match byte {
            b'{' => names.open(true),
            b'[' => names.open(false),
            b'}' | b']' => names.close(),
            b',' => names.next_member(),
            b'"' => match memchr(b'"', after) {
                Some(end) => {
                    rest = after.get(end.saturating_add(1)..).unwrap_or_default();
                    names.text(after.get(..end).unwrap_or_default())
                }
                None => false,
            },
            b'-' | b'0'..=b'9' => {
                let digits = after.iter().take_while(|byte| byte.is_ascii_digit()).count();
                rest = after.get(digits..).unwrap_or_default();
                digits < MAX_DIGITS && !matches!(rest.first(), Some(b'.' | b'e' | b'E'))
            }
            _ => true,
        };
        if !goes_on {
            return false;
        }
    }
    names.levels.is_empty()
}

/// The member names of all objects that are open.
#[derive(Default)]
struct Names<'a> {
    /// For each level, where its names begin; `None` for an array.
    levels: Stack<Option<usize>, MAX_LEVELS>,
    names: Stack<&'a [u8], MAX_NAMES>,
    /// The next text is a name.
    awaited: bool,
}

impl<'a> Names<'a> {
    fn open(&mut self, object: bool) -> bool {
        self.awaited = object;
        self.levels.push(object.then_some(self.names.len))
    }

    fn close(&mut self) -> bool {
        self.awaited = false;
        match self.levels.pop() {
            Some(Some(start)) => self.names.len = start,
            Some(None) => {}
            None => return false,
        }
        true
    }

    fn next_member(&mut self) -> bool {
        self.awaited = self.levels.last().is_some_and(|level| level.is_some());
        true
    }

    fn text(&mut self, text: &'a [u8]) -> bool {
        if !self.awaited {
            return true;
        }
        self.awaited = false;
        let start = self.levels.last().copied().flatten().unwrap_or(0);
        let twice = self.names.all().iter().skip(start).any(|name| *name == text);
        !twice && self.names.push(text)
    }
}

/// A stack of fixed size: nothing is allocated for a look.
struct Stack<T, const N: usize> {
    items: [T; N],
    len: usize,
}

impl<T: Copy + Default, const N: usize> Default for Stack<T, N> {
    fn default() -> Self {
        Self { items: [T::default(); N], len: 0 }
    }
}

impl<T: Copy, const N: usize> Stack<T, N> {
    /// False when it is full.
    fn push(&mut self, item: T) -> bool {
        let Some(place) = self.items.get_mut(self.len) else { return false };
        *place = item;
        self.len = self.len.saturating_add(1);
        true
    }

    fn pop(&mut self) -> Option<T> {
        self.len = self.len.checked_sub(1)?;
        self.items.get(self.len).copied()
    }

    fn last(&self) -> Option<&T> {
        self.all().last()
    }

    fn all(&self) -> &[T] {
        self.items.get(..self.len).unwrap_or_default()
    }

    const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// Below the bounds of the look in full.
const MAX_LEVELS: usize = 12;
const MAX_NAMES: usize = 48;
/// Digits of a number that any reader has room for.
const MAX_DIGITS: usize = 15;

#[cfg(test)]
mod tests {
    use super::super::scan;
    use super::*;
    use crate::testkit::{Dice, Pass, json_text};

    #[test]
    fn what_gatepasses_say_is_plain() {
        assert!(is_plain(Pass::good().claims.to_string().as_bytes()));
        for good in ["{}", "[]", r#"{"a":[{"b":1},{"b":2}],"b":-3,"c":true,"d":null}"#, " 1 "] {
            assert!(is_plain(good.as_bytes()), "{good}");
        }
    }

    #[test]
    fn what_may_be_read_in_two_ways_is_not() {
        for bad in [
            r#"{"a":1,"a":2}"#,
            r#"{"b":{"a":1,"a":2}}"#,
            r#"[{"a":1,"b":{"a":1},"a":2}]"#,
            r#"{"a\u0062":1}"#,
            r#"{"a":"\n"}"#,
            r#"{"a":1.5}"#,
            r#"{"a":1e400}"#,
            r#"{"a":1E4}"#,
            r#"{"a":1234567890123456}"#,
            "{\"a\":\"\u{0}",
            "{",
            "}",
        ] {
            assert!(!is_plain(bad.as_bytes()), "{bad}");
        }
        assert!(!is_plain(b"{\"a\":\"\xff\"}"));
        let deep = format!("{}{}", "[".repeat(MAX_LEVELS + 1), "]".repeat(MAX_LEVELS + 1));
        assert!(!is_plain(deep.as_bytes()));
        let deep = format!("{}{}", "[".repeat(MAX_LEVELS), "]".repeat(MAX_LEVELS));
        assert!(is_plain(deep.as_bytes()));
        let wide = |n: usize| {
            let members: Vec<String> = (0..n).map(|at| format!("\"{at}\":1")).collect();
            format!("{{{}}}", members.join(","))
        };
        assert!(is_plain(wide(MAX_NAMES).as_bytes()));
        assert!(!is_plain(wide(MAX_NAMES + 1).as_bytes()));
    }

    const LEAVES: [&str; 10] = [
        "\"a\"",
        "\"b\"",
        "1",
        "-0",
        "1.0",
        "1e9",
        "true",
        "null",
        "\"\\u0061\"",
        "9999999999999999",
    ];
    const NAMES: [&str; 4] = ["\"a\"", "\"b\"", "\"c\"", "\"\\u0062\""];

    #[test]
    fn nothing_well_formed_is_plain_and_not_strict() {
        let mut dice = Dice::new(11);
        let (mut plain, mut refused) = (0, 0);
        for _ in 0..60_000 {
            let text = json_text(&mut dice, &LEAVES, &NAMES);
            let mut bytes = text.into_bytes();
            if dice.roll(3) == 0 {
                let at = dice.roll(bytes.len());
                bytes[at] = b"{}[],:\"\\1e. \xff"[dice.roll(13)];
            }
            let well_formed = serde_json::from_slice::<serde::de::IgnoredAny>(&bytes).is_ok();
            let strict = scan(&bytes).is_ok();
            if well_formed && is_plain(&bytes) {
                assert!(strict, "{}", String::from_utf8_lossy(&bytes));
                plain += 1;
            }
            refused += u32::from(well_formed && !strict);
        }
        assert!(plain > 10_000 && refused > 1_000, "{plain} {refused}");
    }
}
