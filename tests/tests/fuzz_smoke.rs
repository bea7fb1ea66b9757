//! Replays the corpus of every fuzz target, and plain mutations of it that are the same in every
//! run: what libFuzzer finds stays found on stable, without it.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop where it is"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use gatepass_tests::fuzz::TARGETS;
use gatepass_tests::fuzz::seeds::seeds;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

/// Names in a folder, without the ends of files.
fn names(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|e| e.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned()).collect()
}

fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = fuzz().join("corpus").join(target);
    let names = names(&folder).into_iter();
    names.map(|name| (name.clone(), std::fs::read(folder.join(name)).unwrap())).collect()
}

#[test]
fn every_target_has_a_corpus_and_a_fuzzer_and_nothing_else_does() {
    let targets: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names(&fuzz().join("corpus")), targets);
    assert_eq!(names(&fuzz().join("fuzz_targets")), targets);
    for target in &targets {
        assert!(!corpus(target).is_empty(), "{target} has no corpus");
    }
}

#[test]
fn the_seeds_of_the_corpus_are_those_that_are_made() {
    for (target, _) in TARGETS {
        let known = corpus(target);
        for (name, bytes) in seeds(target) {
            let held = known.iter().find(|(known, _)| *known == name);
            let same = held.is_some_and(|(_, held)| *held == bytes);
            assert!(same, "{target}/{name}: run `cargo run -p gatepass-tests --bin fuzz-seeds`");
        }
    }
}

#[test]
fn the_corpus_holds() {
    for (target, run) in TARGETS {
        for (name, bytes) in corpus(target) {
            println!("{target}/{name}");
            run(&bytes);
        }
    }
}

#[test]
fn mutations_of_the_corpus_hold() {
    for (target, run) in TARGETS {
        let corpus: Vec<Vec<u8>> = corpus(target).into_iter().map(|(_, bytes)| bytes).collect();
        let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
        let (begun, mut runs) = (Instant::now(), 0);
        // The number alone ends it on a machine that is fast enough, so that runs are alike.
        while runs < MUTATIONS && begun.elapsed() < LONGEST {
            let bytes = dice.mutated(&corpus);
            let held = std::panic::catch_unwind(|| run(&bytes));
            assert!(held.is_ok(), "{target} fails on {:?}", bytes.escape_ascii().to_string());
            runs += 1;
        }
        println!("{target}: {runs} mutations in {:?}", begun.elapsed());
    }
}

/// xorshift64*: the same numbers in every run.
struct Dice(u64);

impl Dice {
    /// From 0 to `sides - 1`.
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % sides.max(1)
    }

    fn mutated(&mut self, corpus: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = corpus[self.roll(corpus.len())].clone();
        for _ in 0..1 + self.roll(4) {
            let at = self.roll(bytes.len() + 1);
            match self.roll(6) {
                0 if at < bytes.len() => bytes[at] ^= 1 << self.roll(8),
                1 if at < bytes.len() => bytes[at] = ODD[self.roll(ODD.len())],
                2 => bytes.truncate(at),
                3 => bytes.insert(at, ODD[self.roll(ODD.len())]),
                4 => {
                    let other = &corpus[self.roll(corpus.len())];
                    bytes.truncate(at);
                    bytes.extend_from_slice(&other[self.roll(other.len() + 1)..]);
                }
                _ => {
                    let end = (at + self.roll(8)).min(bytes.len());
                    bytes.drain(at..end);
                }
            }
        }
        bytes
    }
}

/// Bytes that some reader treats apart.
const ODD: &[u8] = b"\x00\x01\x7f\x80\xff\n \"%&+,-./0:;=?ABcx\\_{}[]";
const MUTATIONS: u32 = 1_000;
/// Of one target: the whole stays below half a minute on any machine.
const LONGEST: Duration = Duration::from_millis(1_200);
