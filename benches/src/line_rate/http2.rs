//! As much of HTTP/2 (RFC 9113) as the load needs: requests of one HEADERS frame, windows that are
//! never used up, answers read to their end.

use std::collections::HashMap;
use std::time::Instant;

use super::Failed;
use super::load::Answer;
use super::request::{AUTHORITY, PATH};

pub(crate) struct Http2 {
    next: u32,
    hpack: loona_hpack::Decoder<'static>,
    open: HashMap<u32, Stream>,
}

struct Stream {
    due: Instant,
    status: u16,
    body: Vec<u8>,
}

impl Default for Http2 {
    fn default() -> Self {
        Self { next: 1, hpack: loona_hpack::Decoder::new(), open: HashMap::new() }
    }
}

impl Http2 {
    pub(crate) fn greet(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        frame(out, SETTINGS, 0, 0, &[]);
        frame(out, WINDOW_UPDATE, 0, 0, &(1_u32 << 30).to_be_bytes());
    }

    pub(crate) fn request(&mut self, credential: Option<&str>, due: Instant, out: &mut Vec<u8>) {
        // RFC 7541: indexed `:method: GET` and `:scheme: http`, the rest as literals that enter no
        // table, so that each request costs the same.
        let mut block = vec![0x82, 0x86];
        literal(&mut block, 4, PATH);
        literal(&mut block, 1, AUTHORITY);
        if let Some(credential) = credential {
            literal(&mut block, 23, &format!("Bearer {credential}"));
        }
        frame(out, HEADERS, END_STREAM | END_HEADERS, self.next, &block);
        self.open.insert(self.next, Stream { due, status: 0, body: Vec::new() });
        self.next += 2;
    }

    pub(crate) fn answers(
        &mut self,
        unread: &mut Vec<u8>,
        out: &mut Vec<u8>,
        take: &mut impl FnMut(Instant, &Answer<'_>),
    ) -> Result<(), Failed> {
        let mut at = 0;
        while let Some((head, rest)) = unread.get(at..).and_then(|b| b.split_first_chunk::<9>()) {
            let [a, b, c, kind, flags, id @ ..] = *head;
            let length = usize::try_from(u32::from_be_bytes([0, a, b, c]))?;
            let id = u32::from_be_bytes(id) & 0x7fff_ffff;
            let Some(payload) = rest.get(..length) else { break };
            at += 9 + length;
            match kind {
                HEADERS if flags & (END_HEADERS | PADDED | PRIORITY) == END_HEADERS => {
                    let fields = self.hpack.decode(payload).map_err(|e| format!("{e:?}"))?;
                    let stream = self.open.get_mut(&id).ok_or("an answer to nothing")?;
                    if let Some((_, status)) = fields.iter().find(|(name, _)| name == b":status") {
                        stream.status = core::str::from_utf8(status)?.parse()?;
                    }
                }
                DATA if flags & PADDED == 0 => {
                    let stream = self.open.get_mut(&id).ok_or("data for nothing")?;
                    stream.body.extend_from_slice(payload);
                    // Given back, or a long run would use the connection's window up.
                    frame(out, WINDOW_UPDATE, 0, 0, &u32::try_from(length.max(1))?.to_be_bytes());
                }
                SETTINGS if flags & ACK == 0 => frame(out, SETTINGS, ACK, 0, &[]),
                PING if flags & ACK == 0 => frame(out, PING, ACK, 0, payload),
                SETTINGS | PING | WINDOW_UPDATE => {}
                other => return Err(format!("a frame of kind {other}, flags {flags}").into()),
            }
            if matches!(kind, HEADERS | DATA) && flags & END_STREAM != 0 {
                let stream = self.open.remove(&id).ok_or("the end of nothing")?;
                take(stream.due, &Answer { status: stream.status, body: &stream.body });
            }
        }
        unread.drain(..at);
        Ok(())
    }
}

fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    out.extend(length.iter().skip(1));
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend(payload);
}

/// A literal without indexing (RFC 7541 section 6.2.2), its name from the static table.
fn literal(block: &mut Vec<u8>, name: u8, value: &str) {
    if name < 15 {
        block.push(name);
    } else {
        block.extend([0x0f, name - 15]);
    }
    let mut length = value.len();
    if length < 127 {
        block.push(length as u8);
    } else {
        block.push(127);
        length -= 127;
        while length >= 128 {
            block.push((length % 128) as u8 | 128);
            length /= 128;
        }
        block.push(length as u8);
    }
    block.extend(value.as_bytes());
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITY: u8 = 0x20;
