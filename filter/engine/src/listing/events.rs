//! The answer as it comes, in pieces: one JSON document, or a stream of events (WHATWG HTML section 9.2) of which
//! each has a JSON-RPC message for its data.

use super::{Listing, Unreadable};

/// How a list comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `application/json`, and whatever is called nothing else.
    Document,
    /// `text/event-stream`
    Events,
}

/// An answer on its way: what is not whole yet is kept, and goes on once it was cut.
pub struct Cut {
    listing: Listing,
    form: Form,
    kept: Vec<u8>,
    look: Look,
    started: bool,
}

impl Cut {
    #[must_use]
    pub const fn new(listing: Listing, form: Form) -> Self {
        Self {
            listing,
            form,
            kept: Vec::new(),
            look: Look { at: 0, on_a_line: false },
            started: false,
        }
    }

    /// Whether nothing of it waits: then it may end here.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        self.kept.is_empty()
    }

    /// The next piece, and whether it is the last: what may go on in its place.
    ///
    /// # Errors
    /// The answer cannot be read, or is longer than what is kept: nothing more of it may go on.
    pub fn next(&mut self, piece: &[u8], last: bool) -> Result<Vec<u8>, Unreadable> {
        if self.kept.len().saturating_add(piece.len()) > MAX_KEPT_BYTES {
            return Err(Unreadable("too long"));
        }
        self.kept.extend_from_slice(piece);
        match self.form {
            Form::Document => self.document(last),
            Form::Events => self.events(last),
        }
    }

    fn document(&mut self, last: bool) -> Result<Vec<u8>, Unreadable> {
        if !last {
            return Ok(Vec::new());
        }
        let whole = core::mem::take(&mut self.kept);
        // Nothing is listed by nothing: `202 Accepted`.
        if whole.iter().all(u8::is_ascii_whitespace) {
            return Ok(whole);
        }
        Ok(self.listing.message(&whole)?.map_or(whole, String::into_bytes))
    }

    fn events(&mut self, last: bool) -> Result<Vec<u8>, Unreadable> {
        // A mark at the beginning is no part of the first field to a reader, and would hide it from us.
        if !self.started && self.kept.first().is_some_and(|byte| *byte == 0xef) {
            return Err(Unreadable("a byte order mark"));
        }
        let mut out = Vec::new();
        let mut start = 0_usize;
        while let Some(end) = self.look.end_of_event(&self.kept) {
            self.started = true;
            match self.kept.get(start..end).unwrap_or_default() {
                // An empty line by itself says nothing.
                blank @ (b"\n" | b"\r\n" | b"\r") => out.extend_from_slice(blank),
                event => out.extend(self.event(event)?),
            }
            start = end;
        }
        self.kept.drain(..start);
        self.look.at = self.look.at.saturating_sub(start);
        if last {
            // What is not ended by an empty line is no event to a reader of the standard; to others it is.
            let event = core::mem::take(&mut self.kept);
            out.extend(self.event(&event)?);
        }
        Ok(out)
    }

    fn event(&self, event: &[u8]) -> Result<Vec<u8>, Unreadable> {
        let text = core::str::from_utf8(event).map_err(|_| Unreadable("not UTF-8"))?;
        let mut data: Option<String> = None;
        for line in lines(text) {
            if let Some(value) = data_of(line) {
                let data = data.get_or_insert_default();
                if !data.is_empty() {
                    data.push('\n');
                }
                data.push_str(value);
            }
        }
        let Some(data) = data.filter(|data| !data.trim().is_empty()) else {
            return Ok(event.to_vec());
        };
        let Some(cut) = self.listing.message(data.as_bytes())? else { return Ok(event.to_vec()) };
        let mut out = String::with_capacity(text.len());
        for line in lines(text).filter(|line| !line.is_empty() && data_of(line).is_none()) {
            out.push_str(line);
            out.push('\n');
        }
        for line in lines(&cut) {
            out.push_str("data: ");
            out.push_str(line);
            out.push('\n');
        }
        out.push('\n');
        Ok(out.into_bytes())
    }
}

impl core::fmt::Debug for Cut {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Cut").field("listing", &self.listing).finish_non_exhaustive()
    }
}

/// Lines end with CR LF, LF or CR.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    core::iter::from_fn(move || {
        let text = rest?;
        match text.find(['\r', '\n']) {
            None => {
                rest = None;
                Some(text).filter(|text| !text.is_empty())
            }
            Some(at) => {
                let line = text.get(..at)?;
                let after = text.get(at..)?;
                rest = after.strip_prefix("\r\n").or_else(|| after.get(1..));
                Some(line)
            }
        }
    })
}

/// The value of a `data` field; one blank after the colon is not part of it.
fn data_of(line: &str) -> Option<&str> {
    if line == "data" {
        return Some("");
    }
    let value = line.strip_prefix("data:")?;
    Some(value.strip_prefix(' ').unwrap_or(value))
}

/// How far the kept bytes were looked at: each is once, however they come.
#[derive(Default)]
struct Look {
    at: usize,
    /// Something stands on the line that was looked at last.
    on_a_line: bool,
}

impl Look {
    /// Where the next event ends, with its empty line. A CR at the very end may be half of a CR LF.
    fn end_of_event(&mut self, bytes: &[u8]) -> Option<usize> {
        while let Some(byte) = bytes.get(self.at) {
            let next = self.at.saturating_add(1);
            let end = match byte {
                b'\n' => Some(next),
                b'\r' => match bytes.get(next) {
                    Some(b'\n') => Some(next.saturating_add(1)),
                    Some(_) => Some(next),
                    None => return None,
                },
                _ => None,
            };
            self.at = end.unwrap_or(next);
            let was_on_a_line = core::mem::replace(&mut self.on_a_line, end.is_none());
            // An empty line at the beginning ends nothing, and goes on by itself.
            if end.is_some() && !was_on_a_line {
                return Some(self.at);
            }
        }
        None
    }
}

/// Bytes of one answer that wait to be whole.
const MAX_KEPT_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn listing() -> Listing {
        crate::decision::listing_of_tests()
    }

    const TOOLS: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"search","x":[1]},{"name":"delete"}],"nextCursor":"n"}}"#;
    const CUT: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"search","x":[1]}],"nextCursor":"n"}}"#;

    fn cut(form: Form, pieces: &[&str]) -> Result<String, Unreadable> {
        let mut cut = Cut::new(listing(), form);
        let mut out = Vec::new();
        for (nth, piece) in pieces.iter().enumerate() {
            out.extend(cut.next(piece.as_bytes(), nth + 1 == pieces.len())?);
        }
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn a_document_is_cut_however_it_comes() {
        assert_eq!(cut(Form::Document, &[TOOLS]).as_deref(), Ok(CUT));
        for at in 0..TOOLS.len() {
            let (a, b) = TOOLS.split_at(at);
            assert_eq!(cut(Form::Document, &[a, b]).as_deref(), Ok(CUT));
        }
        for whole in [
            CUT,
            "",
            r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"no"}}"#,
            r#"{"result":{"tools":[]},"jsonrpc":"2.0","id":1}"#,
            r#"{"jsonrpc":"2.0","method":"notifications/message"}"#,
        ] {
            assert_eq!(cut(Form::Document, &[whole]).as_deref(), Ok(whole));
        }
        let public = r#"{"result":{"cacheScope":"public","tools":[{"name":"search"}]}}"#;
        let private = r#"{"result":{"cacheScope":"private","tools":[{"name":"search"}]}}"#;
        assert_eq!(cut(Form::Document, &[public]).as_deref(), Ok(private));
        let absent = r#"{"result":{"ttlMs":9,"tools":[{"name":"search"}]}}"#;
        let said = r#"{"result":{"cacheScope":"private","ttlMs":9,"tools":[{"name":"search"}]}}"#;
        assert_eq!(cut(Form::Document, &[absent]).as_deref(), Ok(said));
    }

    #[test]
    fn what_could_be_read_otherwise_does_not_go_on() {
        for bad in [
            r#"{"result":{"tools":[],"tools":[{"name":"delete"}]}}"#,
            r#"{"result":{"tools":[],"Tools":[{"name":"delete"}]}}"#,
            r#"{"result":{},"result":{"tools":[{"name":"delete"}]}}"#,
            r#"{"result":{"t\u006fols":[{"name":"delete"}]}}"#,
            r#"{"result":{"tools":[{"name":"search","name":"delete"}]}}"#,
            r#"{"result":{"tools":[{"title":"delete"}]}}"#,
            r#"{"result":{"tools":{"0":{"name":"delete"}}}}"#,
            r#"[{"result":{"tools":[{"name":"delete"}]}}]"#,
            r#"{"result":{"tools":["#,
            "tools",
            "\u{feff}{}",
        ] {
            assert!(cut(Form::Document, &[bad]).is_err(), "{bad}");
            let event = format!("data: {bad}\n\n");
            assert!(cut(Form::Events, &[&event]).is_err(), "{bad}");
        }
        let long = "x".repeat(MAX_KEPT_BYTES + 1);
        assert!(cut(Form::Document, &[&long]).is_err());
        assert!(cut(Form::Events, &[&long]).is_err());
    }

    #[test]
    fn events_are_cut_one_by_one_however_they_come() {
        let note = "event: message\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"n\"}\n\n";
        for (nl, first) in
            [("\n", "id: 1\ndata: \n\n"), ("\r\n", "id: 1\r\ndata\r\n\r\n"), ("\r", ": x\r\r")]
        {
            let list = format!("event: message{nl}id: 2{nl}data: {TOOLS}{nl}{nl}");
            let expected = format!("{first}{note}event: message\nid: 2\ndata: {CUT}\n\n{note}");
            let all = format!("{first}{note}{list}{note}");
            assert_eq!(cut(Form::Events, &[&all]).as_deref(), Ok(&*expected));
            for at in 0..all.len() {
                let (a, b) = all.split_at(at);
                assert_eq!(cut(Form::Events, &[a, b]).as_deref(), Ok(&*expected), "{at}");
            }
        }
        // Data in several lines is one document, and stays one.
        let split = TOOLS.replace(",\"result\"", "\ndata: ,\"result\"");
        let out = cut(Form::Events, &[&format!("data:{split}\n\n")]).unwrap();
        assert!(!out.contains("delete") && out.contains("search"), "{out}");
        // Not ended, and some readers take it.
        let open = cut(Form::Events, &[&format!("data: {TOOLS}")]).unwrap();
        assert!(!open.contains("delete") && open.contains("search"), "{open}");
        assert!(cut(Form::Events, &[&format!("\u{feff}data: {TOOLS}\n\n")]).is_err());
        // Line ends alone cost what they are, and not their square.
        let blank = "\n".repeat(MAX_KEPT_BYTES);
        assert_eq!(cut(Form::Events, &[&blank]).map(|out| out.len()), Ok(MAX_KEPT_BYTES));
        // What went on is forgotten: a stream may be long.
        let mut cut = Cut::new(listing(), Form::Events);
        for _ in 0..30_000 {
            assert_eq!(cut.next(note.as_bytes(), false).map(|out| out.len()), Ok(note.len()));
        }
    }

    #[test]
    fn who_asks_decides_what_is_seen() {
        let list = listing();
        let seen = |name: &str| {
            let text = format!(r#"{{"result":{{"tools":[{{"name":"{name}"}}]}}}}"#);
            list.message(text.as_bytes()).unwrap().is_none()
        };
        assert!(seen("search"));
        assert!(!seen("delete") && !seen("Search") && !seen("") && !seen("*"));
    }
}
