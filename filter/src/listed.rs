//! The answer to a call that lists something, on its way to the caller: cut by the engine, piece by piece.

use gatepass_engine::decision::Header;
use gatepass_engine::listing::{Cut, Form};

use crate::host::{self, Buffer, Failed, Level, Map};

/// Prepares the headers of an answer that will be cut, and says how it comes. What is no success lists nothing:
/// it may be Envoy's own answer.
///
/// # Errors
/// It is coded, although the upstream was not asked for that: nobody could read it.
pub(crate) fn prepare(headers: &[Header<'_>]) -> Result<Option<Form>, Failed> {
    let all = |name: &'static [u8]| headers.iter().filter(move |header| header.name == name);
    if !all(b":status").all(|header| header.value.starts_with(b"2")) {
        return Ok(None);
    }
    // A part of a list cannot be cut.
    if all(b":status").any(|header| header.value == b"206") {
        return Err(Failed);
    }
    if !all(b"content-encoding").all(|header| header.value.eq_ignore_ascii_case(b"identity")) {
        return Err(Failed);
    }
    for header in headers.iter().filter(|header| OF_THE_WHOLE.contains(&header.name)) {
        host::remove_header(Map::Response, header.name)?;
    }
    let is_stream = |header: &Header<'_>| {
        let essence = header.value.split(|byte| *byte == b';').next().unwrap_or_default();
        essence.trim_ascii().eq_ignore_ascii_case(b"text/event-stream")
    };
    let events = all(b"content-type").any(is_stream);
    Ok(Some(if events { Form::Events } else { Form::Document }))
}

/// What says something of the bytes as they were.
const OF_THE_WHOLE: [&[u8]; 5] =
    [b"content-length", b"etag", b"digest", b"content-digest", b"repr-digest"];

/// Puts what may go on in the place of one piece.
///
/// # Errors
/// The answer cannot be cut: nothing more of it may go on.
pub(crate) fn pass_on(cut: &mut Cut, size: usize, ends: bool) -> Result<(), Failed> {
    let piece = if size == 0 { Vec::new() } else { host::buffer(Buffer::ResponseBody, size)? };
    if piece.len() != size {
        return Err(Failed);
    }
    let goes_on = cut.next(&piece, ends).map_err(|why| {
        host::log(
            Level::Warn,
            &format!("gatepass cut off a list that it could not read: {}", why.0),
        );
        Failed
    })?;
    if goes_on == piece {
        Ok(())
    } else {
        host::replace_buffer(Buffer::ResponseBody, size, &goes_on)
    }
}
