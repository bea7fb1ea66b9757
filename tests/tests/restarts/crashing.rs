//! The shipped filter with a callback of another's in front of its own, which ends its VM: the filter itself never
//! panics, so what happens then could not be seen otherwise. No function of what is shipped is another.

/// Ends the VM when the body of a response has [`DEADLY`] bytes.
pub(crate) fn crashing(module: &[u8]) -> Vec<u8> {
    let mut sections = sections(module);
    let types = count(&sections, TYPE);
    // Imports come first in the numbering; the filter imports nothing but functions.
    let function = count(&sections, IMPORT) + count(&sections, FUNCTION);
    let i32 = 0x7f;
    let own = redirect(&mut sections, b"proxy_on_response_body", function);
    append(&mut sections, TYPE, &[0x60, 3, i32, i32, i32, 1, i32]);
    append(&mut sections, FUNCTION, &leb(types));
    let test = [&[0, 0x20, 1, 0x41][..], &signed_leb(DEADLY), &[0x46, 0x04, 0x40]].concat();
    // unreachable; end; the filter's own with the same three; end
    let body =
        [&test[..], &[0x00, 0x0b, 0x20, 0, 0x20, 1, 0x20, 2, 0x10], &leb(own), &[0x0b]].concat();
    append(&mut sections, CODE, &[leb(body.len() as u64), body].concat());
    let mut out = b"\0asm\x01\0\0\0".to_vec();
    for (id, payload) in sections {
        out.push(id);
        out.extend(leb(payload.len() as u64));
        out.extend(payload);
    }
    out
}

/// Exports another function under a name, and says which was.
fn redirect(sections: &mut [(u8, Vec<u8>)], name: &[u8], function: u64) -> u64 {
    let at = section(sections, EXPORT);
    let (_, payload) = sections.get_mut(at).unwrap();
    let (count, mut rest) = read(payload);
    let (mut out, mut was) = (leb(count), None);
    for _ in 0..count {
        let (length, after) = read(rest);
        let (known, after) = after.split_at(usize::try_from(length).unwrap());
        let (kind, after) = after.split_first().unwrap();
        let (index, after) = read(after);
        let meant = known == name;
        was = was.or(meant.then_some(index));
        out.extend(leb(length));
        out.extend(known);
        out.push(*kind);
        out.extend(leb(if meant { function } else { index }));
        rest = after;
    }
    *payload = out;
    was.unwrap()
}

fn sections(module: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut rest = module.get(8..).unwrap();
    let mut out = Vec::new();
    while let Some((id, after)) = rest.split_first() {
        let (length, after) = read(after);
        let (payload, after) = after.split_at(usize::try_from(length).unwrap());
        out.push((*id, payload.to_vec()));
        rest = after;
    }
    out
}

fn section(sections: &[(u8, Vec<u8>)], id: u8) -> usize {
    sections.iter().position(|(known, _)| *known == id).unwrap()
}

fn count(sections: &[(u8, Vec<u8>)], id: u8) -> u64 {
    let (_, payload) = sections.get(section(sections, id)).unwrap();
    read(payload).0
}

fn append(sections: &mut [(u8, Vec<u8>)], id: u8, item: &[u8]) {
    let at = section(sections, id);
    let (_, payload) = sections.get_mut(at).unwrap();
    let (count, items) = read(payload);
    *payload = [&leb(count + 1)[..], items, item].concat();
}

fn read(bytes: &[u8]) -> (u64, &[u8]) {
    let mut value = 0;
    for (nth, byte) in bytes.iter().enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * nth);
        if byte & 0x80 == 0 {
            return (value, bytes.get(nth + 1..).unwrap());
        }
    }
    panic!("a number without an end");
}

fn leb(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let byte = u8::try_from(value & 0x7f).unwrap();
        value >>= 7;
        if value == 0 {
            out.push(byte);
            return out;
        }
        out.push(byte | 0x80);
    }
}

/// Of a number that is not negative: one more byte where the last would show a sign.
fn signed_leb(value: u64) -> Vec<u8> {
    let mut out = leb(value);
    if let Some(last) = out.last_mut()
        && *last & 0x40 != 0
    {
        *last |= 0x80;
        out.push(0);
    }
    out
}

/// Bytes.
pub(crate) const DEADLY: u64 = 1313;
const TYPE: u8 = 1;
const IMPORT: u8 = 2;
const FUNCTION: u8 = 3;
const EXPORT: u8 = 7;
const CODE: u8 = 10;
