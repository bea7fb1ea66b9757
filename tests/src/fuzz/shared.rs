//! Targets for what the VMs of one Envoy share, and nobody vouches for: header maps, the log, the
//! exchange, the lease, places, counts of attempts.

use std::collections::HashMap;
use std::sync::LazyLock;

use gatepass_engine::batch::Feed;
use gatepass_engine::clock::Milliseconds;
use gatepass_engine::decision::Header;
use gatepass_engine::gate::{Gate, Mode};
use gatepass_engine::position::Position;
use gatepass_engine::refusal::RefusalCode;
use gatepass_filter::attempts as tries;
use gatepass_filter::configuration::{Configuration, Prefix};
use gatepass_filter::exchange::Exchange;
use gatepass_filter::lease::{self, VmId};
use gatepass_filter::log::{BankKey, EnvelopeDigest, Log, Place, Stored};
use gatepass_filter::positions::{Enforced, OwnPlace, slowest};
use gatepass_filter::shared::{Moved, SharedData, When};

use super::bytes::Bytes;
use super::gate::{Observed, POOL};
use super::scene::{self, Draft, MONOTONIC};

/// Shared data in memory with the host's rules.
#[derive(Default)]
pub struct Memory {
    keys: HashMap<String, (Vec<u8>, u32)>,
    next: u32,
}

impl SharedData for Memory {
    fn read(&mut self, key: &str) -> Option<(Vec<u8>, u32)> {
        self.keys.get(key).cloned()
    }

    fn number(&mut self, key: &str) -> Option<u32> {
        self.keys.get(key).map(|(_, number)| *number)
    }

    fn write(&mut self, key: &str, value: &[u8], when: When) -> Result<(), Moved> {
        let cas = when.cas();
        if self.number(key).is_some_and(|number| cas != 0 && cas != number) {
            return Err(Moved);
        }
        self.next = self.next.wrapping_add(1).max(1);
        self.keys.insert(key.to_owned(), (value.to_vec(), self.next));
        Ok(())
    }
}

/// A header map that is read is written and read to the same; one that is written is read.
pub fn pairs(bytes: &[u8]) {
    let text: Vec<&str> = bytes
        .split(|byte| *byte == b'\n')
        .filter_map(|line| core::str::from_utf8(line).ok())
        .take(1_000)
        .collect();
    let halves: Vec<(&str, &str)> =
        text.iter().map(|line| line.split_once('=').unwrap_or((line, ""))).collect();
    check_pairs(&halves);
    let Ok(headers) = gatepass_filter::pairs::read(bytes) else {
        return;
    };
    let size: usize = headers.iter().map(|h| h.name.len() + h.value.len() + 10).sum();
    assert!(size <= bytes.len(), "more is borrowed than is there");
    let as_text: Option<Vec<(&str, &str)>> = headers
        .iter()
        .map(|Header { name, value }| {
            Some((core::str::from_utf8(name).ok()?, core::str::from_utf8(value).ok()?))
        })
        .collect();
    if let Some(pairs) = as_text {
        check_pairs(&pairs);
    }
}

fn check_pairs(pairs: &[(&str, &str)]) {
    let written = gatepass_filter::pairs::write(pairs);
    let expected: Vec<Header<'_>> = pairs
        .iter()
        .map(|(name, value)| Header { name: name.as_bytes(), value: value.as_bytes() })
        .collect();
    assert_eq!(gatepass_filter::pairs::read(&written), Ok(expected));
}

/// What decodes is encoded and decoded to the same.
pub fn log(bytes: &[u8]) {
    let Ok(log) = Log::decode(bytes) else {
        return;
    };
    let written = log.encode();
    assert!(written.is_some(), "what was read fits");
    assert_eq!(Log::decode(&written.unwrap_or_default()).as_ref(), Ok(&log));
    assert_eq!(log.is_empty(), log.envelopes().next().is_none());
    assert_eq!(log.envelopes().count(), log.len());
    let _ = log.wants_base();
}

/// Steps over shared data: anything is written to any key, two VMs check, a leader publishes. No
/// VM goes back, none believes what nobody signed, and a publish heals whatever lies there.
pub fn exchange(bytes: &[u8]) {
    let Some(prefix) = PREFIX.as_ref() else { return };
    let mut bytes = Bytes(bytes);
    let mut data = Memory::default();
    let mut vms = [Vm::new(prefix), Vm::new(prefix)];
    let mut steps = 0_u64;
    while !bytes.is_empty() && steps < MAX_STEPS {
        steps += 1;
        match bytes.byte() % 6 {
            0 => {
                let name = KEYS.get(usize::from(bytes.byte()) % KEYS.len()).unwrap_or(&"log");
                let value = bytes.block();
                let _ = data.write(&prefix.key(name), value, When::Always);
            }
            1 => {
                let log = compose(&mut bytes).encode().unwrap_or_default();
                let _ = data.write(&prefix.key("log"), &log, When::Always);
            }
            2 => {
                let _ = data.write(&prefix.key("gen"), &[], When::Always);
            }
            3 => {
                let _ = data.keys.remove(&prefix.key(if bytes.byte() & 1 == 0 {
                    "log"
                } else {
                    "gen"
                }));
            }
            choice => {
                let vm = vms.get_mut(usize::from(choice & 1));
                if let Some(vm) = vm {
                    vm.check(&mut data, steps);
                }
            }
        }
    }
    heal(&mut data, &mut vms, steps);
}

/// A full snapshot from the feed, newer than all, reaches both VMs whatever was there before.
fn heal(data: &mut Memory, vms: &mut [Vm; 2], steps: u64) {
    let (first, second) = (scene::root_version(1, false), scene::root_version(2, false));
    let feed = Feed { roots: vec![&first, &second], batches: vec![&NEWEST] };
    let now = at(steps + 5_000);
    let [leader, follower] = vms;
    let published = leader.exchange.publish(data, &mut leader.gate, &feed, 1, now);
    let newest = Some(Position { epoch: NEWEST_EPOCH, sequence: 240 });
    for vm in [leader, follower] {
        vm.check(data, steps + 5_000);
        assert_eq!(vm.gate.position(), newest, "after {published:?}");
    }
}

static NEWEST: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut snapshot = Draft::snapshot(240).epoch(NEWEST_EPOCH);
    snapshot.header.root_version = 2;
    snapshot.sealed()
});

static PREFIX: LazyLock<Option<Prefix>> = LazyLock::new(|| {
    let configuration = serde_json::json!({
        "environment": "prod",
        "feed_audience": "fleet",
        "control_plane": {"cluster": "c", "authority": "a"},
        "roots": {"keys": [scene::base64url(&scene::public(scene::ROOT))], "threshold": 1},
        "min_root_version": 1,
        "mode": "enforce",
    });
    Some(Configuration::parse(configuration.to_string().as_bytes()).ok()?.prefix)
});

struct Vm {
    exchange: Exchange,
    gate: Gate,
}

impl Vm {
    fn new(prefix: &Prefix) -> Self {
        Self { exchange: Exchange::new(prefix.clone()), gate: scene::bare_gate(Mode::Enforce) }
    }

    fn check(&mut self, data: &mut Memory, steps: u64) {
        let now = at(steps);
        let before = Observed::of(&self.gate, now);
        let checked = self.exchange.check(data, &mut self.gate, now);
        let after = Observed::of(&self.gate, now);
        assert!(after.position >= before.position || after.position.is_none(), "went back");
        if !checked.news {
            assert_eq!(after, before);
        }
        if let Some(position) = after.position {
            let known = (scene::EPOCH..=NEWEST_EPOCH).contains(&position.epoch);
            assert!(known && position.sequence <= 240, "a position that nobody signed");
        }
        let _ = checked.refusals.iter().all(|refusal| refusal.code != RefusalCode::FilterTooOld);
    }
}

fn at(milliseconds: u64) -> gatepass_engine::Now {
    let now = scene::now();
    gatepass_engine::Now {
        unix: now.unix.plus(milliseconds / 1000),
        monotonic: Milliseconds(MONOTONIC).plus(milliseconds),
    }
}

/// A log of envelopes that are right in any order, with lies about when, what and where.
fn compose(bytes: &mut Bytes<'_>) -> Log {
    let mut log = Log::default();
    let roots = bytes.byte();
    if roots & 1 != 0 {
        log.roots.push(scene::root_version(1, false));
    }
    if roots & 2 != 0 {
        log.roots.push(scene::root_version(2, false));
    }
    if roots & 4 != 0 {
        log.roots.push(bytes.block().to_vec());
    }
    for _ in 0..bytes.byte() % 8 {
        let (lie, chosen) = (bytes.byte(), bytes.byte());
        let envelope = match lie & 3 {
            0 => bytes.block().to_vec(),
            _ => POOL.get(usize::from(chosen) % POOL.len()).cloned().unwrap_or_default(),
        };
        let digest = match lie & 4 {
            0 => EnvelopeDigest::of(&envelope),
            _ => EnvelopeDigest([lie; 32]),
        };
        let place = match lie & 8 {
            0 => Place::Here(envelope),
            _ => Place::Bank(BankKey { owner: lie, bank: chosen, number: chosen.into() }),
        };
        let received = match lie & 16 {
            0 => Milliseconds(MONOTONIC),
            _ => Milliseconds(u64::MAX),
        };
        let stored = Stored { received, digest, place };
        match lie >> 6 {
            0 => log.checkpoint = Some(stored),
            1 => log.base.push(stored),
            _ => log.deltas.push(stored),
        }
    }
    log
}

/// Whatever lies there, three beginnings without an end are poison, and not for ever.
pub fn attempts(bytes: &[u8]) {
    let mut data = Memory::default();
    let _ = data.write("try", bytes, When::Always);
    let digest = EnvelopeDigest([0xab; 32]);
    // A forged count of this very batch can only hide or hasten what is found of it.
    let named = bytes.windows(32).any(|window| window == digest.0);
    let early = tries::is_poison(&mut data, "try", digest, Milliseconds(1));
    assert!(!early || named);
    for now in 0..3 {
        tries::begin(&mut data, "try", digest, Milliseconds(10 + now));
    }
    let poison = tries::is_poison(&mut data, "try", digest, Milliseconds(9_000));
    assert!(poison || named);
    for _ in 0..3 {
        tries::end(&mut data, "try", digest);
    }
    let poison = tries::is_poison(&mut data, "try", digest, Milliseconds(9_000));
    assert!(!poison || named);
    let kept = data.read("try").map(|(kept, _)| kept.len()).unwrap_or_default();
    assert!(kept < 1_000, "the counts grew to {kept} bytes");
}

/// A forged lease or place does not hold for longer than a true one.
pub fn places(bytes: &[u8]) {
    let mut bytes = Bytes(bytes);
    let mut data = Memory::default();
    let _ = data.write("lead", bytes.block(), When::Always);
    for place in ["vm0", "vm1", "vm127"] {
        let _ = data.write(place, bytes.block(), When::Always);
    }
    let (vm, now) = (VmId(bytes.byte().into()), Milliseconds(MONOTONIC));
    let held = lease::hold(&mut data, "lead", vm, now);
    assert!(held || lease::hold(&mut data, "lead", vm, now.plus(60_000)));
    lease::release(&mut data, "lead", vm);
    let key = |name: &str| name.to_owned();
    let mut own = OwnPlace::default();
    let position = Position { epoch: 7, sequence: 9 };
    let at = Enforced { position: Some(position), policy: None };
    own.renew(&mut data, key, vm, at, now);
    assert!(own.number() <= 127);
    let found = slowest(&mut data, key, now);
    assert!((1..=4).contains(&found.vms), "{found:?}");
    assert!(found.at.position.is_none_or(|slowest| slowest <= position));
}

const KEYS: [&str; 8] = ["log", "gen", "try", "want", "b1.0.0", "b1.1.0", "b1.0.1", "b0.0.0"];
const MAX_STEPS: u64 = 16;
/// Above those of all other envelopes.
const NEWEST_EPOCH: u64 = scene::EPOCH + 2;
