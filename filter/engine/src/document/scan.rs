//! The grammar of RFC 8259, to the letter, without recursion.

use super::{Document, Kind, MAX_DEPTH, MAX_NODES, Malformed, Node, text};

pub(super) fn document(bytes: &[u8]) -> Result<Document<'_>, Malformed> {
    if u32::try_from(bytes.len()).is_err() {
        return Err(Malformed { what: "too long", at: 0 });
    }
    let text = core::str::from_utf8(bytes)
        .map_err(|error| Malformed { what: "not UTF-8", at: error.valid_up_to() })?;
    // Few documents have more, and who sends a long text pays no more than for a nested one.
    let nodes = Vec::with_capacity((bytes.len() / BYTES_OF_A_NODE).min(MAX_NODES));
    let mut scan = Scan { bytes, at: 0, nodes, open: Vec::new() };
    scan.run()?;
    Ok(Document { text, nodes: scan.nodes })
}

struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
    nodes: Vec<Node>,
    /// The objects and arrays that are open.
    open: Vec<Container>,
}

#[derive(Clone, Copy)]
struct Container {
    node: usize,
    object: bool,
}

/// What must come next.
enum Awaited {
    Value,
    /// The first of a container, or its end.
    First,
    /// After a value.
    Next,
}

impl Scan<'_> {
    fn run(&mut self) -> Result<(), Malformed> {
        let mut awaited = Awaited::Value;
        loop {
            self.skip_space();
            awaited = match awaited {
                Awaited::Value => self.value()?,
                Awaited::First => self.first()?,
                Awaited::Next => match self.open.last().copied() {
                    Some(container) => self.next(container)?,
                    None => break,
                },
            };
        }
        if self.at == self.bytes.len() { Ok(()) } else { Err(self.wrong("more than one value")) }
    }

    fn value(&mut self) -> Result<Awaited, Malformed> {
        let start = self.at;
        match self.peek() {
            Some(b'{') => return self.begin(true),
            Some(b'[') => return self.begin(false),
            Some(b'"') => self.text()?,
            Some(b'-' | b'0'..=b'9') => {
                self.number()?;
                self.leaf(Kind::Number, start, self.at)?;
            }
            Some(b't') => self.word(b"true", Kind::True)?,
            Some(b'f') => self.word(b"false", Kind::False)?,
            Some(b'n') => self.word(b"null", Kind::Null)?,
            Some(_) => return Err(self.wrong("no value")),
            None => return Err(self.wrong("ends too early")),
        }
        Ok(Awaited::Next)
    }

    fn begin(&mut self, object: bool) -> Result<Awaited, Malformed> {
        if self.open.len() >= MAX_DEPTH {
            return Err(self.wrong("nested too deep"));
        }
        let kind = if object { Kind::Object } else { Kind::Array };
        self.open.push(Container { node: self.nodes.len(), object });
        self.leaf(kind, self.at, self.at)?;
        self.step();
        Ok(Awaited::First)
    }

    fn first(&mut self) -> Result<Awaited, Malformed> {
        match (self.open.last(), self.peek()) {
            (Some(Container { object: true, .. }), Some(b'}'))
            | (Some(Container { object: false, .. }), Some(b']')) => {
                self.end();
                Ok(Awaited::Next)
            }
            (Some(Container { object: true, .. }), _) => self.name(),
            _ => Ok(Awaited::Value),
        }
    }

    fn next(&mut self, container: Container) -> Result<Awaited, Malformed> {
        match (container.object, self.peek()) {
            (true, Some(b'}')) | (false, Some(b']')) => {
                self.end();
                Ok(Awaited::Next)
            }
            (object, Some(b',')) => {
                self.step();
                self.skip_space();
                if object { self.name() } else { Ok(Awaited::Value) }
            }
            (_, Some(_)) => Err(self.wrong("neither `,` nor an end")),
            (_, None) => Err(self.wrong("ends too early")),
        }
    }

    fn name(&mut self) -> Result<Awaited, Malformed> {
        if self.peek() != Some(b'"') {
            return Err(self.wrong("no member name"));
        }
        self.text()?;
        self.skip_space();
        if self.peek() != Some(b':') {
            return Err(self.wrong("no `:`"));
        }
        self.step();
        Ok(Awaited::Value)
    }

    fn end(&mut self) {
        self.step();
        let after = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX);
        let end = narrow(self.at);
        if let Some(container) = self.open.pop()
            && let Some(node) = self.nodes.get_mut(container.node)
        {
            node.end = end;
            node.next = after;
        }
    }

    fn leaf(&mut self, kind: Kind, start: usize, end: usize) -> Result<(), Malformed> {
        if self.nodes.len() >= MAX_NODES {
            return Err(self.wrong("too many values"));
        }
        let next = narrow(self.nodes.len().saturating_add(1));
        self.nodes.push(Node { kind, start: narrow(start), end: narrow(end), next });
        Ok(())
    }

    fn word(&mut self, word: &[u8], kind: Kind) -> Result<(), Malformed> {
        let end = self.at.saturating_add(word.len());
        if self.bytes.get(self.at..end) != Some(word) {
            return Err(self.wrong("no value"));
        }
        self.leaf(kind, self.at, end)?;
        self.at = end;
        Ok(())
    }

    fn text(&mut self) -> Result<(), Malformed> {
        self.step();
        let start = self.at;
        let mut escaped = false;
        loop {
            self.at = self.at.saturating_add(plain(self.bytes.get(self.at..).unwrap_or_default()));
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    let rest = self.bytes.get(self.at..).unwrap_or_default();
                    let Some((_, length)) = text::escape(rest) else {
                        return Err(self.wrong("no escape"));
                    };
                    self.at = self.at.saturating_add(length);
                }
                Some(_) => return Err(self.wrong("a control character in a text")),
                None => return Err(self.wrong("ends too early")),
            }
        }
        let kind = if escaped { Kind::Escaped } else { Kind::Text };
        self.leaf(kind, start, self.at)?;
        self.step();
        Ok(())
    }

    fn number(&mut self) -> Result<(), Malformed> {
        if self.peek() == Some(b'-') {
            self.step();
        }
        match self.peek() {
            Some(b'0') => self.step(),
            Some(b'1'..=b'9') => self.digits()?,
            _ => return Err(self.wrong("no number")),
        }
        if self.peek() == Some(b'.') {
            self.step();
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.step();
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.step();
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Malformed> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.step();
        }
        if self.at == start { Err(self.wrong("no digit")) } else { Ok(()) }
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.step();
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    const fn step(&mut self) {
        self.at = self.at.saturating_add(1);
    }

    const fn wrong(&self, what: &'static str) -> Malformed {
        Malformed { what, at: self.at }
    }
}

/// How many bytes of a text stand for themselves. Eight are looked at in one: of those that are a quote, a backslash
/// or a control character, the first has its high bit in `ends` (a borrow reaches only the bytes after it).
fn plain(rest: &[u8]) -> usize {
    let below = |word: u64, bound: u64| word.wrapping_sub(EACH.wrapping_mul(bound)) & !word & HIGH;
    let mut at = 0_usize;
    while let Some(word) = rest.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*word);
        let ends = below(word, 0x20) | below(word ^ QUOTES, 1) | below(word ^ BACKSLASHES, 1);
        if ends != 0 {
            return at.saturating_add(ends.trailing_zeros() as usize / 8);
        }
        at = at.saturating_add(8);
    }
    let last = rest.get(at..).unwrap_or_default().iter();
    let is_plain = |byte: &&u8| !matches!(byte, b'"' | b'\\' | 0..=0x1f);
    at.saturating_add(last.take_while(is_plain).count())
}

/// In each byte: its lowest bit, its highest, a quote, a backslash.
const EACH: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;
const QUOTES: u64 = 0x2222_2222_2222_2222;
const BACKSLASHES: u64 = 0x5c5c_5c5c_5c5c_5c5c;
const BYTES_OF_A_NODE: usize = 8;

/// INVARIANT: the length of the text was held against it.
fn narrow(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}
