//! An HTTP/2 client on a raw socket (RFC 9113, prior knowledge): it sends the fields that it is
//! given, so that a test can say what no library would: duplicated pseudo-headers, upper-case
//! names, bytes that are not UTF-8.
//!
//! Every field goes out as a literal that is never indexed and not Huffman-coded (RFC 7541 section
//! 6.2.3). One request is open at a time, and none is larger than the first flow-control window, unless the
//! connection has settled. One that stays open (RFC 8441) is begun, and then bytes go both ways.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use loona_hpack::Decoder;

use super::wire::{Response, WireError};

/// A kept-alive connection.
pub struct Connection {
    stream: TcpStream,
    unread: Vec<u8>,
    decoder: Decoder<'static>,
    next_stream: u32,
}

/// One request: what its frames carry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    pub fields: Vec<Field>,
    /// One DATA frame each, or more where it is too long for one; none ends the stream with the HEADERS frame.
    pub data: Vec<Vec<u8>>,
    /// A second HEADERS frame, when there are any.
    pub trailers: Vec<Field>,
}

/// Name and value as they go over the wire.
pub type Field = (Vec<u8>, Vec<u8>);

/// What came back for one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Response(Response),
    /// The stream was reset before its response had ended, with this error code.
    Reset(u32),
    /// The connection was given up, with this error code or none.
    Gone(Option<u32>),
}

/// What comes on a stream that was begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    Bytes(Vec<u8>),
    /// It was ended or reset, or the connection was.
    Ended,
}

impl Answer {
    /// As tables of expectations write it: `401 no_credential`, `200`, `reset 1`, `gone 1`.
    #[must_use]
    pub fn verdict(&self) -> String {
        match self {
            Self::Response(response) => response.verdict(),
            Self::Reset(code) => format!("reset {code}"),
            Self::Gone(Some(code)) => format!("gone {code}"),
            Self::Gone(None) => "gone".to_owned(),
        }
    }
}

impl Connection {
    /// Sends the preface. A header table of size 0 keeps the answers' blocks apart.
    ///
    /// # Errors
    /// Nobody listens there.
    pub fn open(address: SocketAddr) -> Result<Self, WireError> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut decoder = Decoder::new();
        decoder.set_max_allowed_table_size(0);
        let mut out = PREFACE.to_vec();
        let no_table = [0, SETTINGS_HEADER_TABLE_SIZE, 0, 0, 0, 0];
        out.extend(frame(SETTINGS, 0, 0, &no_table));
        stream.write_all(&out)?;
        Ok(Self { stream, unread: Vec::new(), decoder, next_stream: 1 })
    }

    /// Sends one request and reads what comes for it.
    ///
    /// # Errors
    /// What came is no HTTP/2, or nothing came.
    pub fn exchange(&mut self, request: &Request) -> Result<Answer, WireError> {
        let id = self.next_stream;
        self.next_stream = id.saturating_add(2);
        // A server that gives the connection up while it is written to has still said why.
        let _ = self.stream.write_all(&request.frames(id));
        self.receive(id, |_| false)
    }

    /// Waits for the peer's settings, so that as much as they say can be sent at once.
    ///
    /// # Errors
    /// None came.
    pub fn settled(&mut self) -> Result<(), WireError> {
        let (mut settings, mut window) = (false, false);
        while !(settings && window) {
            let frame = self.frame()?;
            match frame.kind {
                SETTINGS if frame.flags & ACK == 0 => {
                    self.reply(SETTINGS, &[])?;
                    settings = true;
                }
                WINDOW_UPDATE => window = true,
                _ => {}
            }
        }
        Ok(())
    }

    /// Sends the headers of a request whose body is still to come.
    ///
    /// # Errors
    /// The connection broke.
    pub fn start(&mut self, fields: &[Field]) -> Result<u32, WireError> {
        let id = self.next_stream;
        self.next_stream = id.saturating_add(2);
        self.stream.write_all(&headers(id, 0, fields))?;
        Ok(id)
    }

    /// Ends a request that was started.
    ///
    /// # Errors
    /// The connection broke.
    pub fn end(&mut self, id: u32) -> Result<(), WireError> {
        Ok(self.stream.write_all(&frame(DATA, END_STREAM, id, &[]))?)
    }

    /// Takes a request back.
    ///
    /// # Errors
    /// The connection broke.
    pub fn reset(&mut self, id: u32) -> Result<(), WireError> {
        Ok(self.stream.write_all(&frame(RST_STREAM, 0, id, &CANCEL.to_be_bytes()))?)
    }

    /// What comes for a request that was started.
    ///
    /// # Errors
    /// What came is no HTTP/2, or nothing came.
    pub fn answer(&mut self, id: u32) -> Result<Answer, WireError> {
        self.receive(id, |_| false)
    }

    /// Sends a request without an end: what came for it, as soon as its response began with 200.
    ///
    /// # Errors
    /// As [`Connection::exchange`].
    pub fn begin(&mut self, fields: &[Field]) -> Result<(u32, Answer), WireError> {
        let id = self.start(fields)?;
        Ok((id, self.receive(id, |response| response.status == 200)?))
    }

    /// Sends bytes on a stream that was begun.
    ///
    /// # Errors
    /// The connection broke.
    pub fn say(&mut self, id: u32, bytes: &[u8]) -> Result<(), WireError> {
        let frames = bytes.chunks(MAX_FRAME_BYTES).flat_map(|part| frame(DATA, 0, id, part));
        Ok(self.stream.write_all(&frames.collect::<Vec<u8>>())?)
    }

    /// What comes next on a stream that was begun: bytes, or its end.
    ///
    /// # Errors
    /// `Io` when nothing came for `time`.
    pub fn hear(&mut self, id: u32, time: Duration) -> Result<Heard, WireError> {
        self.stream.set_read_timeout(Some(time))?;
        loop {
            let frame = match self.frame() {
                Ok(frame) => frame,
                Err(WireError::Closed(_)) => return Ok(Heard::Ended),
                Err(error) => return Err(error),
            };
            match frame.kind {
                SETTINGS if frame.flags & ACK == 0 => self.reply(SETTINGS, &[])?,
                PING if frame.flags & ACK == 0 => self.reply(PING, &frame.payload)?,
                RST_STREAM if frame.stream == id => return Ok(Heard::Ended),
                DATA if frame.stream == id && frame.flags & END_STREAM != 0 => {
                    return Ok(Heard::Ended);
                }
                DATA if frame.stream == id => return Ok(Heard::Bytes(frame.payload)),
                _ => {}
            }
        }
    }

    fn receive(
        &mut self,
        id: u32,
        is_enough: impl Fn(&Response) -> bool,
    ) -> Result<Answer, WireError> {
        let mut response: Option<Response> = None;
        loop {
            let frame = match self.frame() {
                Ok(frame) => frame,
                Err(WireError::Closed(_)) => return Ok(Answer::Gone(None)),
                Err(error) => return Err(error),
            };
            match frame.kind {
                SETTINGS if frame.flags & ACK == 0 => self.reply(SETTINGS, &[])?,
                PING if frame.flags & ACK == 0 => self.reply(PING, &frame.payload)?,
                GOAWAY => match number(&frame.payload, 4) {
                    NO_ERROR => {}
                    code => return Ok(Answer::Gone(Some(code))),
                },
                RST_STREAM if frame.stream == id => {
                    return Ok(Answer::Reset(number(&frame.payload, 0)));
                }
                HEADERS => {
                    // Blocks of other streams are decoded too: the table is the connection's.
                    let fields = self.block(&frame)?;
                    if frame.stream == id && response.is_none() {
                        response = head(fields)?;
                    }
                }
                DATA if frame.stream == id => {
                    if let Some(response) = &mut response {
                        response.body.extend(&frame.payload);
                    }
                }
                _ => {}
            }
            let ends = matches!(frame.kind, HEADERS | DATA)
                && frame.stream == id
                && frame.flags & END_STREAM != 0;
            if let Some(response) = &response
                && (ends || is_enough(response))
            {
                return Ok(Answer::Response(response.clone()));
            }
        }
    }

    fn block(&mut self, first: &Frame) -> Result<Vec<Field>, WireError> {
        let mut block = first.payload.clone();
        let mut flags = first.flags;
        while flags & END_HEADERS == 0 {
            let more = self.frame()?;
            block.extend(more.payload);
            flags = more.flags;
        }
        self.decoder.decode(&block).map_err(|error| WireError::Unreadable(format!("{error:?}")))
    }

    fn reply(&mut self, kind: u8, payload: &[u8]) -> Result<(), WireError> {
        Ok(self.stream.write_all(&frame(kind, ACK, 0, payload))?)
    }

    /// Padding and priority are for requests: Envoy sends neither.
    fn frame(&mut self) -> Result<Frame, WireError> {
        self.read_until(HEAD_BYTES)?;
        let length = usize::try_from(number(&self.unread, 0) >> 8).unwrap_or(usize::MAX);
        // Whole or not at all, or one that comes in two would be lost when the time is over.
        self.read_until(HEAD_BYTES.saturating_add(length))?;
        let head: Vec<u8> = self.unread.drain(..HEAD_BYTES).collect();
        let payload = self.unread.drain(..length).collect();
        let at = |place: usize| head.get(place).copied().unwrap_or_default();
        Ok(Frame { kind: at(3), flags: at(4), stream: number(&head, 5) & 0x7fff_ffff, payload })
    }

    fn read_until(&mut self, count: usize) -> Result<(), WireError> {
        let mut buffer = [0; 16 * 1024];
        while self.unread.len() < count {
            let read = match self.stream.read(&mut buffer) {
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::ConnectionReset => 0,
                Err(error) => return Err(error.into()),
            };
            if read == 0 {
                return Err(WireError::Closed(format!("{:?}", self.unread)));
            }
            self.unread.extend(buffer.iter().take(read));
        }
        Ok(())
    }
}

impl Request {
    /// The four pseudo-headers, then the headers.
    #[must_use]
    pub fn new(method: &[u8], authority: &[u8], path: &[u8], headers: &[(&[u8], &[u8])]) -> Self {
        let pseudo: [(&[u8], &[u8]); 4] = [
            (b":method", method),
            (b":scheme", b"http"),
            (b":authority", authority),
            (b":path", path),
        ];
        Self::of(pseudo.iter().chain(headers).copied())
    }

    /// Just these fields, in this order.
    #[must_use]
    pub fn of<'f>(fields: impl IntoIterator<Item = (&'f [u8], &'f [u8])>) -> Self {
        Self {
            fields: fields
                .into_iter()
                .map(|(name, value)| (name.to_vec(), value.to_vec()))
                .collect(),
            ..Self::default()
        }
    }

    fn frames(&self, id: u32) -> Vec<u8> {
        let last = if self.trailers.is_empty() { END_STREAM } else { 0 };
        let mut out = headers(id, if self.data.is_empty() { last } else { 0 }, &self.fields);
        let parts = self.data.iter().flat_map(|part| {
            // An empty frame is a frame.
            let empty = part.is_empty().then_some(part.as_slice());
            empty.into_iter().chain(part.chunks(MAX_FRAME_BYTES))
        });
        let mut parts = parts.peekable();
        while let Some(part) = parts.next() {
            let ends = parts.peek().is_none();
            out.extend(frame(DATA, if ends { last } else { 0 }, id, part));
        }
        if !self.trailers.is_empty() {
            out.extend(headers(id, END_STREAM, &self.trailers));
        }
        out
    }
}

/// A HEADERS frame, and CONTINUATION frames where it is too long for one.
fn headers(id: u32, flags: u8, fields: &[Field]) -> Vec<u8> {
    let block: Vec<u8> = fields
        .iter()
        .flat_map(|(name, value)| {
            let never_indexed = std::iter::once(0x10);
            never_indexed.chain(literal(name)).chain(literal(value))
        })
        .collect();
    let parts: Vec<&[u8]> = block.chunks(MAX_FRAME_BYTES).collect();
    let last = parts.len().saturating_sub(1);
    let mut out = Vec::new();
    for (at, part) in parts.into_iter().enumerate() {
        let kind = if at == 0 { HEADERS } else { CONTINUATION };
        let ends = if at == last { END_HEADERS } else { 0 };
        let flags = if at == 0 { flags | ends } else { ends };
        out.extend(frame(kind, flags, id, part));
    }
    out
}

/// A string literal (RFC 7541 section 5.2): its length with a 7-bit prefix, then its bytes.
fn literal(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    match u8::try_from(text.len()) {
        Ok(short) if short < 0x7f => out.push(short),
        _ => {
            out.push(0x7f);
            let mut rest = text.len().saturating_sub(0x7f);
            while rest >= 0x80 {
                out.push(u8::try_from(rest % 0x80).unwrap_or_default() | 0x80);
                rest /= 0x80;
            }
            out.push(u8::try_from(rest).unwrap_or_default());
        }
    }
    out.extend(text);
    out
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let mut out: Vec<u8> = length.to_be_bytes().into_iter().skip(1).collect();
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend(payload);
    out
}

/// The final response's head; `None` for an interim one.
fn head(fields: Vec<Field>) -> Result<Option<Response>, WireError> {
    let fields: Vec<(String, String)> =
        fields.into_iter().map(|(name, value)| (lossy(&name), lossy(&value))).collect();
    let status = fields
        .iter()
        .find(|(name, _)| name == ":status")
        .and_then(|(_, status)| status.parse().ok())
        .ok_or_else(|| WireError::Unreadable(format!("{fields:?}")))?;
    let headers = fields.into_iter().filter(|(name, _)| !name.starts_with(':')).collect();
    Ok((status >= 200).then_some(Response { status, headers, body: Vec::new() }))
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The big-endian number at that place; 0 where the bytes end before.
fn number(bytes: &[u8], at: usize) -> u32 {
    let found = bytes.get(at..).and_then(<[u8]>::first_chunk);
    u32::from_be_bytes(found.copied().unwrap_or_default())
}

struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

/// Of a frame.
const HEAD_BYTES: usize = 9;
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const NO_ERROR: u32 = 0;
const CANCEL: u32 = 8;
const SETTINGS_HEADER_TABLE_SIZE: u8 = 1;
/// The least that a peer must take (RFC 9113 section 4.2).
const MAX_FRAME_BYTES: usize = 16 * 1024;
/// How long an answer may take: longer than any hold.
const PATIENCE: Duration = Duration::from_secs(15);
