//! Poison: a batch whose application ends the VM would end the next VM too, and the next, until
//! Envoy answers 503 for good. Each application is counted in shared data before it begins and
//! after it ended; a batch that several VMs began and none ended is refused by the next.

use gatepass_engine::clock::Milliseconds;
use serde::{Deserialize, Serialize};

use crate::log::EnvelopeDigest;
use crate::shared::{SharedData, When};

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Attempt {
    digest: EnvelopeDigest,
    begun: u32,
    ended: u32,
    last: Milliseconds,
}

impl Attempt {
    const fn unfinished(&self) -> u32 {
        self.begun.saturating_sub(self.ended)
    }
}

/// Whether the batch is poison: begun [`MOST_UNFINISHED`] times without an end, the last time
/// longer ago than VMs that apply it side by side need.
pub fn is_poison(
    data: &mut impl SharedData,
    key: &str,
    digest: EnvelopeDigest,
    now: Milliseconds,
) -> bool {
    read(data, key).0.iter().any(|attempt| {
        attempt.digest == digest
            && attempt.unfinished() >= MOST_UNFINISHED
            && now.since(attempt.last) > SIDE_BY_SIDE
            // A record from the future is a forgery; it must not refuse for ever.
            && attempt.last <= now
    })
}

/// Before the batch is applied.
pub fn begin(data: &mut impl SharedData, key: &str, digest: EnvelopeDigest, now: Milliseconds) {
    change(data, key, |all| {
        if let Some(known) = all.iter_mut().find(|attempt| attempt.digest == digest) {
            known.begun = known.begun.saturating_add(1);
            known.last = now;
            return;
        }
        if all.len() >= MOST_KEPT {
            // Finished ones first, then the oldest.
            let victim = all
                .iter()
                .enumerate()
                .min_by_key(|(_, a)| (a.unfinished() > 0, a.last))
                .map(|(at, _)| at);
            if let Some(at) = victim {
                all.swap_remove(at);
            }
        }
        all.push(Attempt { digest, begun: 1, ended: 0, last: now });
    });
}

/// After it was applied or refused: the VM lives.
pub fn end(data: &mut impl SharedData, key: &str, digest: EnvelopeDigest) {
    change(data, key, |all| {
        if let Some(known) = all.iter_mut().find(|attempt| attempt.digest == digest) {
            known.ended = known.ended.saturating_add(1);
        }
    });
}

fn read(data: &mut impl SharedData, key: &str) -> (Vec<Attempt>, When) {
    match data.read(key) {
        None => (Vec::new(), When::Missing),
        Some((bytes, number)) => {
            let known: Vec<Attempt> = match postcard::take_from_bytes(&bytes) {
                Ok((known, [])) => known,
                _ => Vec::new(),
            };
            (known.into_iter().take(MOST_KEPT).collect(), When::Still(number))
        }
    }
}

fn change(data: &mut impl SharedData, key: &str, act: impl Fn(&mut Vec<Attempt>)) {
    for _ in 0..MAX_TRIES {
        let (mut all, when) = read(data, key);
        act(&mut all);
        let Ok(bytes) = postcard::to_allocvec(&all) else {
            return;
        };
        if data.write(key, &bytes, when).is_ok() {
            return;
        }
    }
}

/// Applications begun and not ended.
const MOST_UNFINISHED: u32 = 3;
/// Milliseconds in which all VMs that apply a batch at once are done with it.
const SIDE_BY_SIDE: u64 = 1_000;
/// Batches that are counted at once.
const MOST_KEPT: usize = 8;
/// A count that is lost to other writers only makes the refusal come one VM later.
const MAX_TRIES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::fake::Fake;

    const BAD: EnvelopeDigest = EnvelopeDigest([1; 32]);

    fn at(ms: u64) -> Milliseconds {
        Milliseconds(ms)
    }

    #[test]
    fn a_batch_that_three_vms_began_and_none_ended_is_poison() {
        let mut data = Fake::default();
        for crash in 0..3 {
            assert!(!is_poison(&mut data, "try", BAD, at(crash * 100 + 5_000)));
            begin(&mut data, "try", BAD, at(crash * 100));
        }
        assert!(!is_poison(&mut data, "try", BAD, at(300)), "they may still be at it");
        assert!(is_poison(&mut data, "try", BAD, at(1_500)));
        assert!(!is_poison(&mut data, "try", EnvelopeDigest([2; 32]), at(1_500)));
    }

    #[test]
    fn many_vms_that_apply_a_good_batch_side_by_side_do_not_refuse_it() {
        let mut data = Fake::default();
        for _ in 0..32 {
            assert!(!is_poison(&mut data, "try", BAD, at(10)));
            begin(&mut data, "try", BAD, at(10));
        }
        for _ in 0..32 {
            end(&mut data, "try", BAD);
        }
        assert!(!is_poison(&mut data, "try", BAD, at(60_000)));
    }

    #[test]
    fn later_batches_do_not_make_poison_forgotten() {
        let mut data = Fake::default();
        for _ in 0..3 {
            begin(&mut data, "try", BAD, at(0));
        }
        for other in 10..60 {
            let digest = EnvelopeDigest([other; 32]);
            begin(&mut data, "try", digest, at(u64::from(other)));
            end(&mut data, "try", digest);
        }
        assert!(is_poison(&mut data, "try", BAD, at(5_000)));
    }

    #[test]
    fn garbage_in_the_key_is_no_poison_and_no_panic() {
        let mut data = Fake::default();
        for garbage in [&b"\xff\xff\xff\xff\xff"[..], b"", b"\x01"] {
            data.write("try", garbage, When::Always).unwrap();
            assert!(!is_poison(&mut data, "try", BAD, at(0)));
            begin(&mut data, "try", BAD, at(0));
            end(&mut data, "try", BAD);
        }
        let future = [Attempt { digest: BAD, begun: 9, ended: 0, last: at(u64::MAX) }];
        data.write("try", &postcard::to_allocvec(&future[..]).unwrap(), When::Always).unwrap();
        assert!(!is_poison(&mut data, "try", BAD, at(5_000)));
    }
}
