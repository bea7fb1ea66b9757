//! A stand-in for the filter, assembled by hand, so that what Envoy does with a filter's
//! counters, filter state and configuration is tested here without the filter.
//!
//! On configuration it counts a fixed list of counters once; on a request it sets filter state
//! and lets the request pass. It asks the host for nothing else.

use std::path::PathBuf;

/// Writes a module to `folder` that counts `counters` and sets each of `states` (key, value).
/// With `accepts` false it refuses its configuration, as the filter does with an ill-formed one.
pub(crate) fn write(
    folder: &std::path::Path,
    accepts: bool,
    counters: &[&str],
    states: &[(&str, &str)],
) -> PathBuf {
    let mut data = Data::default();
    let mut configure = vec![NO_LOCALS];
    for counter in counters {
        let (at, length) = data.place(counter);
        // proxy_define_metric(counter, name, length, &id), proxy_increment_metric(id, 1)
        configure.extend(consts(&[0, at, length, ID_AT]));
        configure.extend([CALL, 0, DROP]);
        configure.extend(consts(&[ID_AT]));
        configure.extend([I32_LOAD, 2, 0, I64_CONST, 1, CALL, 1, DROP]);
    }
    configure.extend(consts(&[u32::from(accepts)]));
    configure.push(END);

    let mut request = vec![NO_LOCALS];
    for (key, value) in states {
        let (key, value) = (data.place(key), data.place(value));
        // proxy_set_property(key, length, value, length)
        request.extend(consts(&[key.0, key.1, value.0, value.1]));
        request.extend([CALL, 2, DROP]);
    }
    request.extend(consts(&[0]));
    request.push(END);

    let path = folder.join("probe.wasm");
    std::fs::write(&path, module(&data.bytes, configure, request)).unwrap();
    path
}

fn module(data: &[u8], configure: Vec<u8>, request: Vec<u8>) -> Vec<u8> {
    let function = |parameters: &[u8], results: &[u8]| {
        [vec![0x60], vector(&[parameters]), vector(&[results])].concat()
    };
    let vector_of_bytes = |bytes: &[u8]| [uleb(bytes.len()), bytes.to_vec()].concat();
    let name = |text: &str| vector_of_bytes(text.as_bytes());
    let import = |field: &str, kind: u8| [name("env"), name(field), vec![0, kind]].concat();
    let export = |field: &str, kind: u8, index: u8| [name(field), vec![kind, index]].concat();
    let section = |id: u8, entries: &[Vec<u8>]| {
        let body = [uleb(entries.len()), entries.concat()].concat();
        [vec![id], vector_of_bytes(&body)].concat()
    };
    let body = |code: &[u8]| vector_of_bytes(code);
    let nothing = [NO_LOCALS, END];
    let no_memory = [NO_LOCALS, I32_CONST, 0, END];
    [
        b"\0asm\x01\0\0\0".to_vec(),
        section(
            1,
            &[
                function(&[], &[]),
                function(&[I32], &[I32]),
                function(&[I32, I32], &[I32]),
                function(&[I32, I32, I32], &[I32]),
                function(&[I32, I32, I32, I32], &[I32]),
                function(&[I32, I64], &[I32]),
            ],
        ),
        section(
            2,
            &[
                import("proxy_define_metric", 4),
                import("proxy_increment_metric", 5),
                import("proxy_set_property", 4),
            ],
        ),
        section(3, &[vec![0], vec![1], vec![2], vec![3]]),
        section(5, &[vec![0, 1]]),
        section(
            7,
            &[
                export("memory", 2, 0),
                export("proxy_abi_version_0_2_1", 0, 3),
                export("proxy_on_memory_allocate", 0, 4),
                export("proxy_on_configure", 0, 5),
                export("proxy_on_request_headers", 0, 6),
            ],
        ),
        section(10, &[body(&nothing), body(&no_memory), body(&configure), body(&request)]),
        section(11, &[[vec![0], consts(&[DATA_AT]), vec![END], vector_of_bytes(data)].concat()]),
    ]
    .concat()
}

#[derive(Default)]
struct Data {
    bytes: Vec<u8>,
}

impl Data {
    /// Where the text lies in the module's memory, and its length.
    fn place(&mut self, text: &str) -> (u32, u32) {
        let at = DATA_AT + u32::try_from(self.bytes.len()).unwrap();
        self.bytes.extend(text.as_bytes());
        (at, u32::try_from(text.len()).unwrap())
    }
}

fn vector(items: &[&[u8]]) -> Vec<u8> {
    let bytes = items.concat();
    [uleb(bytes.len()), bytes].concat()
}

/// Pushes each value as an `i32.const`.
fn consts(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|value| [vec![I32_CONST], sleb(*value)].concat()).collect()
}

fn uleb(value: usize) -> Vec<u8> {
    let mut rest = value;
    let mut out = Vec::new();
    loop {
        let low = u8::try_from(rest & 0x7f).unwrap();
        rest >>= 7;
        if rest == 0 {
            out.push(low);
            return out;
        }
        out.push(low | 0x80);
    }
}

/// Signed LEB128 of a number that is not negative: a further byte where the sign bit is set.
fn sleb(value: u32) -> Vec<u8> {
    let mut out = uleb(usize::try_from(value).unwrap());
    if let Some(last) = out.last_mut().filter(|last| **last & 0x40 != 0) {
        *last |= 0x80;
        out.push(0);
    }
    out
}

const I32: u8 = 0x7f;
const I64: u8 = 0x7e;
const I32_CONST: u8 = 0x41;
const I64_CONST: u8 = 0x42;
const I32_LOAD: u8 = 0x28;
const CALL: u8 = 0x10;
const DROP: u8 = 0x1a;
const END: u8 = 0x0b;
const NO_LOCALS: u8 = 0;
/// Where the host writes a metric's id.
const ID_AT: u32 = 8;
const DATA_AT: u32 = 1024;
