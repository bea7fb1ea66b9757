//! How deep a text is nested, before anything reads it.
//!
//! Cedar's parser and its tree recurse: ten thousand parentheses would end the process. What is counted is the
//! text itself, in one pass, outside strings and comments. Both bounds are far above what the engine takes
//! ([`gatepass_engine::policy::MAX_DEPTH`]), and far below what [`STACK`] holds.

/// Where a text goes too deep: the byte, and what is too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooDeep {
    pub(super) at: usize,
    pub(super) what: &'static str,
}

/// # Errors
/// The first place at which a bound is passed.
pub(super) fn check(text: &str) -> Result<(), TooDeep> {
    let mut scan = Scan::default();
    let mut rest = text.bytes().enumerate().peekable();
    while let Some((at, byte)) = rest.next() {
        match byte {
            b'"' => {
                while let Some((_, byte)) = rest.next() {
                    match byte {
                        b'\\' => drop(rest.next()),
                        b'"' => break,
                        _ => {}
                    }
                }
                scan.word(b"");
            }
            b'/' if rest.next_if(|(_, next)| *next == b'/').is_some() => {
                // To Cedar a carriage return ends a line too.
                while rest.next_if(|(_, next)| !matches!(next, b'\n' | b'\r')).is_some() {}
            }
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => {
                let is_more =
                    |(_, byte): &(usize, u8)| byte.is_ascii_alphanumeric() || *byte == b'_';
                let mut end = at;
                while let Some((next, _)) = rest.next_if(is_more) {
                    end = next;
                }
                let word = text.as_bytes().get(at..=end).unwrap_or_default();
                scan.word(word);
            }
            byte => scan.sign(byte),
        }
        if scan.open.len() > MAX_OPEN {
            return Err(TooDeep { at, what: "brackets" });
        }
        if scan.links() > MAX_LINKS {
            return Err(TooDeep { at, what: "operators" });
        }
        if scan.terms() > MAX_TERMS {
            return Err(TooDeep { at, what: "terms" });
        }
    }
    Ok(())
}

#[derive(Default)]
struct Scan {
    /// Where brackets are open: what stood around each.
    open: Vec<Level>,
    level: Level,
    /// Of all that is open.
    around: Level,
}

/// What nests without brackets, between two of them.
#[derive(Clone, Copy, Default)]
struct Level {
    /// `if` in `if`: until a comma.
    ifs: usize,
    /// `a.b.c`, `1 + 2 + 3`, `- - 1`: until something of another kind.
    links: usize,
    /// `a && b || c`, and clauses of a rule: until a comma or the rule's end.
    terms: usize,
}

impl Scan {
    const fn links(&self) -> usize {
        let level = self.level.ifs.saturating_add(self.level.links);
        level.saturating_add(self.around.ifs).saturating_add(self.around.links)
    }

    const fn terms(&self) -> usize {
        self.level.terms.saturating_add(self.around.terms)
    }

    fn word(&mut self, word: &[u8]) {
        match word {
            b"if" => self.level.ifs = self.level.ifs.saturating_add(1),
            b"then" | b"else" => self.level.links = 0,
            _ => {}
        }
    }

    fn sign(&mut self, byte: u8) {
        match byte {
            b'(' | b'[' | b'{' => {
                // `a["b"]["c"]` and clauses after each other: each is one more.
                self.level.links = self.level.links.saturating_add(usize::from(byte == b'['));
                self.level.terms = self.level.terms.saturating_add(usize::from(byte == b'{'));
                self.around = self.around.and(self.level);
                self.open.push(core::mem::take(&mut self.level));
            }
            b')' | b']' | b'}' => {
                self.level = self.open.pop().unwrap_or_default();
                self.around = self.around.without(self.level);
            }
            b'.' | b'+' | b'-' | b'*' | b'!' => {
                self.level.links = self.level.links.saturating_add(1)
            }
            b'&' | b'|' => {
                self.level.links = 0;
                self.level.terms = self.level.terms.saturating_add(1);
            }
            b',' | b';' => self.level = Level::default(),
            _ => {}
        }
    }
}

impl Level {
    const fn and(self, other: Self) -> Self {
        Self {
            ifs: self.ifs.saturating_add(other.ifs),
            links: self.links.saturating_add(other.links),
            terms: self.terms.saturating_add(other.terms),
        }
    }

    const fn without(self, other: Self) -> Self {
        Self {
            ifs: self.ifs.saturating_sub(other.ifs),
            links: self.links.saturating_sub(other.links),
            terms: self.terms.saturating_sub(other.terms),
        }
    }
}

/// Bytes of the stack that rules are compiled on: four times what the deepest text takes in a
/// debug build.
pub(super) const STACK: usize = 32 << 20;
/// Brackets inside each other.
const MAX_OPEN: usize = 64;
/// Attributes of attributes, sums of sums, and `if` in `if`.
const MAX_LINKS: usize = 256;
/// Operands of `&&` and `||` (two signs each), and clauses.
const MAX_TERMS: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn what(text: &str) -> Option<&'static str> {
        check(text).err().map(|too_deep| too_deep.what)
    }

    #[test]
    fn what_nests_is_counted_and_nothing_else() {
        let nested = |open: &str, times: usize, close: &str| {
            format!(
                "permit (principal, action, resource) when {{ {}1{} }};",
                open.repeat(times),
                close.repeat(times)
            )
        };
        for (open, close, most, kind) in [
            ("(", ")", 63, "brackets"),
            ("[", "]", 63, "brackets"),
            ("{a:", "}", 63, "brackets"),
            ("!(", ")", 63, "brackets"),
            ("!", "", 256, "operators"),
            ("a.", "", 256, "operators"),
            ("", "[\"a\"]", 256, "operators"),
            ("1 + ", "", 256, "operators"),
            ("if a then b else ", "", 256, "operators"),
            ("a && ", "", 4_999, "terms"),
        ] {
            assert_eq!(what(&nested(open, most, close)), None, "{open}");
            assert_eq!(what(&nested(open, most + 1, close)), Some(kind), "{open}");
        }
        for flat in ["a.b == 1 || ", "1, ", "(1), ", "\"((((\" == ", "// ((((\n", "\"\\\"((\", "] {
            assert_eq!(what(&nested(flat, 1_000, "")), None, "{flat}");
        }
        assert_eq!(what(&format!("//\r{}", nested("(", 64, ")"))), Some("brackets"));
        let rules = "permit (principal, action, resource) when { -1 == 1 };\n".repeat(20_000);
        assert_eq!(what(&rules), None);
        let clauses =
            "permit (principal, action, resource)".to_owned() + &"when { true }".repeat(10_001);
        assert_eq!(what(&clauses), Some("terms"));
        assert_eq!(what(&")".repeat(100_000)), None);
        assert_eq!(check("(é\"").map_err(|e| e.at), Ok(()));
    }
}
