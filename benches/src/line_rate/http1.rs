//! As much of HTTP/1.1 as the load needs: one request at a time, answers with `content-length`.

use std::time::Instant;

use super::Failed;
use super::load::Answer;
use super::request::{AUTHORITY, Asked};

#[derive(Default)]
pub(crate) struct Http1 {
    /// When the request that is waited for fell due.
    due: Option<Instant>,
}

impl Http1 {
    pub(crate) fn request(
        &mut self,
        asked: &Asked,
        credential: Option<&str>,
        due: Instant,
        out: &mut Vec<u8>,
    ) {
        for part in [asked.method, " ", asked.path, " HTTP/1.1\r\nhost: ", AUTHORITY, "\r\n"] {
            out.extend_from_slice(part.as_bytes());
        }
        for (name, value) in asked.headers {
            for part in [name, ": ", value, "\r\n"] {
                out.extend_from_slice(part.as_bytes());
            }
        }
        if !asked.body.is_empty() {
            let length = format!("content-length: {}\r\n", asked.body.len());
            out.extend_from_slice(length.as_bytes());
        }
        if let Some(credential) = credential {
            for part in ["authorization: Bearer ", credential, "\r\n"] {
                out.extend_from_slice(part.as_bytes());
            }
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(&asked.body);
        self.due = Some(due);
    }

    pub(crate) fn answers(
        &mut self,
        unread: &mut Vec<u8>,
        take: &mut impl FnMut(Instant, &Answer<'_>),
    ) -> Result<(), Failed> {
        let Some(head_end) = unread.windows(4).position(|part| part == b"\r\n\r\n") else {
            return Ok(());
        };
        let head = core::str::from_utf8(unread.get(..head_end).unwrap_or_default())?;
        let status = head.get(9..12).ok_or("no status")?.parse()?;
        let length = head.split("\r\n").find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.ok_or("an answer without `content-length`")?.parse()?;
        let body = head_end + 4..head_end + 4 + length;
        let (Some(body), Some(due)) = (unread.get(body.clone()), self.due) else {
            return Ok(());
        };
        take(due, &Answer { status, body });
        self.due = None;
        // One request at a time, so nothing follows.
        unread.clear();
        Ok(())
    }
}
