//! A hostile plugin under the gate's own `vm_id`: on each tick, in each of its VMs, it overwrites
//! the shared data that the gate's VMs exchange their state through. Requests to its own listener
//! tell it how: the first letter of the path is a [`Way`], and `c` keeps a copy of the log.

use std::path::{Path, PathBuf};

use gatepass_engine::clock::Milliseconds;
use gatepass_envoy::PluginConfig;
use gatepass_filter::configuration::Configuration;
use gatepass_filter::log::{EnvelopeDigest, Log, Place, Stored};

/// How it overwrites.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Everything, with what is no value at all.
    Garbage,
    /// The log alone, with one that is well-formed and signed by nobody.
    Forgery,
    /// The log, and the lease with one that never ends, so that no VM of the gate may poll.
    NoLeader,
    /// The log alone, with a genuine one of the past.
    Replay,
    /// Not at all.
    Stop,
}

impl Way {
    pub(crate) const fn path(self) -> &'static str {
        match self {
            Self::Garbage => "/g",
            Self::Forgery => "/f",
            Self::NoLeader => "/l",
            Self::Replay => "/r",
            Self::Stop => "/s",
        }
    }
}

/// Has it keep the log of now for [`Way::Replay`].
pub(crate) const CAPTURE: &str = "/c";
/// Counts its rounds.
pub(crate) const ROUNDS: &str = "overwriter_rounds";

/// Writes the plugin against the gate of that configuration. `forged` is an envelope.
pub(crate) fn write(folder: &Path, plugin: &PluginConfig, forged: &[u8]) -> PathBuf {
    let prefix = Configuration::parse(plugin.text().as_bytes()).unwrap().prefix;
    let log = Log {
        base: vec![Stored {
            received: Milliseconds(u64::MAX),
            digest: EnvelopeDigest::of(forged),
            place: Place::Here(forged.to_vec()),
        }],
        ..Log::default()
    };
    let mut data = Data::default();
    let [log_key, lead_key] = ["log", "lead"].map(|name| data.place(prefix.key(name).as_bytes()));
    let others = ["gen", "want", "try"].map(str::to_owned).into_iter();
    let places = (0..8).map(|number| format!("vm{number}"));
    let banks =
        (0..4).flat_map(|owner| (0..4).map(move |at| format!("b{owner}.{}.{}", at / 2, at % 2)));
    let keys: Vec<Placed> = others
        .chain(places)
        .chain(banks)
        .map(|name| data.place(prefix.key(&name).as_bytes()))
        .chain([log_key, lead_key])
        .collect();
    let garbage = [&b""[..], &[0xff; 64], &[0; 16], b"{\"not\":\"a log\"}"];
    let garbage = garbage.map(|bytes| data.place(bytes));
    let forged = data.place(&log.encode().unwrap());
    let command = data.place(b"overwriter/command");
    let saved = data.place(b"overwriter/saved");
    let path = data.place(b":path");
    let rounds = data.place(ROUNDS.as_bytes());

    let set =
        |key: Placed, value: &str| format!("(drop (call $set {key} {value} (i32.const 0)))\n");
    let with_garbage: String = (0..)
        .zip(keys.iter().cycle().take(keys.len() * garbage.len()))
        .map(|(at, key)| {
            let kind = at / keys.len();
            let value = garbage[kind];
            format!(
                "(if (i32.eq (i32.rem_u (global.get $round) (i32.const {})) (i32.const {kind}))
                   (then {}))\n",
                garbage.len(),
                set(*key, &value.to_string())
            )
        })
        .collect();
    let text = format!(
        r#"(module
  (import "env" "proxy_set_tick_period_milliseconds" (func $every (param i32) (result i32)))
  (import "env" "proxy_set_shared_data"
    (func $set (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_get_shared_data"
    (func $get (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_get_header_map_value"
    (func $header (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_define_metric" (func $define (param i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_increment_metric" (func $count (param i32 i64) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get"
    (func $clock (param i32 i64 i32) (result i32)))
  (memory (export "memory") 64)
  (global $free (mut i32) (i32.const {HEAP}))
  (global $round (mut i32) (i32.const 0))
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "proxy_on_memory_allocate") (param $size i32) (result i32)
    (global.get $free)
    (global.set $free (i32.add (global.get $free) (local.get $size))))
  (func (export "proxy_on_vm_start") (param i32 i32) (result i32) (i32.const 1))
  (func (export "proxy_on_configure") (param i32 i32) (result i32)
    (drop (call $define (i32.const 0) {rounds} (i32.const {METRIC})))
    (drop (call $every (i32.const {EVERY})))
    (i32.const 1))

  ;; Appends a varint to the text that ends at $at; gives its new end.
  (func $varint (param $at i32) (param $value i64) (result i32)
    (loop $more
      (if (i64.ge_u (local.get $value) (i64.const 128))
        (then
          (i32.store8 (local.get $at)
            (i32.wrap_i64 (i64.or (local.get $value) (i64.const 128))))
          (local.set $value (i64.shr_u (local.get $value) (i64.const 7)))
          (local.set $at (i32.add (local.get $at) (i32.const 1)))
          (br $more))))
    (i32.store8 (local.get $at) (i32.wrap_i64 (local.get $value)))
    (i32.add (local.get $at) (i32.const 1)))

  ;; A lease of VM 42 that has just begun.
  (func $lease
    (local $end i32)
    (drop (call $clock (i32.const 1) (i64.const 1) (i32.const {NUMBER})))
    (local.set $end (call $varint (i32.const {LEASE}) (i64.const 42)))
    (local.set $end (call $varint (local.get $end)
      (i64.add (i64.div_u (i64.load (i32.const {NUMBER})) (i64.const 1000000)) (i64.const 240))))
    (drop (call $set {lead_key} (i32.const {LEASE})
      (i32.sub (local.get $end) (i32.const {LEASE})) (i32.const 0))))

  (func $read (param $key i32) (param $size i32) (result i32)
    (i32.eqz (call $get (local.get $key) (local.get $size)
      (i32.const {AT}) (i32.const {SIZE}) (i32.const {CAS}))))

  (func (export "proxy_on_tick") (param i32)
    (local $way i32)
    (global.set $free (i32.const {HEAP}))
    (if (i32.eqz (call $read {command})) (then (return)))
    (local.set $way (i32.load8_u (i32.load (i32.const {AT}))))
    (if (i32.eq (local.get $way) (i32.const {stop})) (then (return)))
    (global.set $round (i32.add (global.get $round) (i32.const 1)))
    (if (i32.eq (local.get $way) (i32.const {all})) (then {with_garbage}))
    (if (i32.eq (local.get $way) (i32.const {forgery})) (then {forge}))
    (if (i32.eq (local.get $way) (i32.const {no_leader})) (then (call $lease) {spoil}))
    (if (i32.and (i32.eq (local.get $way) (i32.const {replay})) (call $read {saved}))
      (then (drop (call $set {log_key} (i32.load (i32.const {AT})) (i32.load (i32.const {SIZE}))
        (i32.const 0)))))
    (drop (call $count (i32.load (i32.const {METRIC})) (i64.const 1))))

  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (local $way i32)
    (global.set $free (i32.const {HEAP}))
    (drop (call $header (i32.const 0) {path} (i32.const {AT}) (i32.const {SIZE})))
    (local.set $way (i32.add (i32.load (i32.const {AT})) (i32.const 1)))
    (if (i32.ne (i32.load8_u (local.get $way)) (i32.const {capture}))
      (then
        (drop (call $set {command} (local.get $way) (i32.const 1) (i32.const 0))))
      (else
        (if (call $read {log_key})
          (then (drop (call $set {saved} (i32.load (i32.const {AT}))
            (i32.load (i32.const {SIZE})) (i32.const 0)))))))
    (i32.const 0))

  (data (i32.const {DATA}) "{bytes}"))"#,
        stop = letter(Way::Stop.path()),
        all = letter(Way::Garbage.path()),
        forgery = letter(Way::Forgery.path()),
        no_leader = letter(Way::NoLeader.path()),
        replay = letter(Way::Replay.path()),
        capture = letter(CAPTURE),
        forge = set(log_key, &forged.to_string()),
        spoil = set(log_key, &garbage[1].to_string()),
        bytes = data.escaped(),
    );
    let path = folder.join("overwriter.wasm");
    std::fs::write(&path, wat::parse_str(&text).unwrap()).unwrap();
    path
}

fn letter(path: &str) -> u8 {
    path.as_bytes()[1]
}

#[derive(Default)]
struct Data {
    bytes: Vec<u8>,
}

impl Data {
    fn place(&mut self, bytes: &[u8]) -> Placed {
        let at = DATA + self.bytes.len();
        self.bytes.extend(bytes);
        assert!(DATA + self.bytes.len() < HEAP);
        Placed { at, size: bytes.len() }
    }

    fn escaped(&self) -> String {
        self.bytes.iter().map(|byte| format!("\\{byte:02x}")).collect()
    }
}

/// Bytes in the module's memory; shown as the two arguments of a host call.
#[derive(Clone, Copy)]
struct Placed {
    at: usize,
    size: usize,
}

impl std::fmt::Display for Placed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "(i32.const {}) (i32.const {})", self.at, self.size)
    }
}

/// Milliseconds between rounds of one VM.
const EVERY: u32 = 10;
// Places in the module's memory.
const AT: usize = 8;
const SIZE: usize = 12;
const CAS: usize = 16;
const METRIC: usize = 20;
const NUMBER: usize = 24;
const LEASE: usize = 64;
const DATA: usize = 1024;
const HEAP: usize = 256 * 1024;
