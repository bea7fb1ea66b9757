//! Answers to followers, encoded once for all who are told the same: thousands of polls end in the same
//! moment, and whoever does not read its answer keeps no copy of its own.
//!
//! Who does not read keeps that one answer, though, and a snapshot can be large: asked for anew in each
//! second and never read, they would add up. So what all followers together have not read yet is bounded;
//! past the bound no other answer is made, until some are read or those who do not read are gone. What is
//! only known here is in nobody's way, and a checkpoint, without which gates turn stale, is always made.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

/// The newest answers to the followers of one audience, by what they carry. All of them have the same
/// root documents.
#[derive(Default)]
pub(super) struct Answers(VecDeque<Answer>);

/// The answers to all audiences that are on their way to somebody, or known.
pub(super) struct Held {
    all: Vec<Made>,
    most_bytes: usize,
}

struct Answer {
    batches: Vec<Arc<[u8]>>,
    encoded: Arc<[u8]>,
    /// Ends when this is forgotten.
    _known: Arc<()>,
}

/// An answer that was made.
struct Made {
    encoded: Weak<[u8]>,
    known: Weak<()>,
}

impl Made {
    /// Bytes of it that somebody has not read: those who do not read hold it beside us.
    fn unread(&self) -> usize {
        let own = self.known.strong_count();
        let is_held = self.encoded.strong_count() > own;
        if is_held { self.encoded.upgrade().map_or(0, |encoded| encoded.len()) } else { 0 }
    }
}

impl Default for Held {
    fn default() -> Self {
        Self { all: Vec::new(), most_bytes: MAX_HELD_BYTES }
    }
}

impl Answers {
    /// The answer with just these batches, made by `encode` where it is not known. `None` while followers
    /// have not read too much of what they were told before, unless it `is_small`.
    pub(super) fn of<E>(
        &mut self,
        batches: Vec<Arc<[u8]>>,
        held: &mut Held,
        is_small: bool,
        encode: impl FnOnce(&[Arc<[u8]>]) -> Result<Vec<u8>, E>,
    ) -> Result<Option<Arc<[u8]>>, E> {
        if let Some(known) = self.0.iter().find(|known| are_same(&known.batches, &batches)) {
            return Ok(Some(Arc::clone(&known.encoded)));
        }
        if self.0.len() >= MAX_KNOWN {
            self.0.pop_front();
        }
        held.all.retain(|made| made.encoded.strong_count() > 0);
        let unread: usize = held.all.iter().map(Made::unread).sum();
        if unread > held.most_bytes && !is_small {
            return Ok(None);
        }
        let encoded: Arc<[u8]> = encode(&batches)?.into();
        let known = Arc::new(());
        held.all.push(Made { encoded: Arc::downgrade(&encoded), known: Arc::downgrade(&known) });
        self.0.push_back(Answer { batches, encoded: Arc::clone(&encoded), _known: known });
        Ok(Some(encoded))
    }

    /// Forgets all: the root documents or the position are others now.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

/// By where they lie: what is kept here lies nowhere else as long as it is kept.
fn are_same(one: &[Arc<[u8]>], other: &[Arc<[u8]>]) -> bool {
    one.len() == other.len() && one.iter().zip(other).all(|(one, other)| Arc::ptr_eq(one, other))
}

/// A checkpoint, a snapshot, and deltas for who is one or two steps behind. Each is at most what one answer may hold.
const MAX_KNOWN: usize = 4;
/// Bytes of all answers that somebody has not read yet, beyond which no other is made: some sixteen snapshots
/// of a million revocations.
const MAX_HELD_BYTES: usize = 256 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_again_is_encoded_once() {
        let mut answers = Answers::default();
        let mut held = Held::default();
        let mut encoded = 0;
        let mut tell = |answers: &mut Answers, batches: &[&Arc<[u8]>]| {
            let batches = batches.iter().map(|batch| Arc::clone(batch)).collect();
            let answer = answers.of(batches, &mut held, false, |batches| {
                encoded += 1;
                Ok::<_, ()>(batches.concat())
            });
            (answer.unwrap().unwrap().to_vec(), encoded)
        };
        let batch = |content: u8| -> Arc<[u8]> { vec![content].into() };
        let (one, two) = (batch(1), batch(2));
        assert_eq!(tell(&mut answers, &[&one]), (vec![1], 1));
        assert_eq!(tell(&mut answers, &[&one]), (vec![1], 1));
        // One thing changed: more, fewer, others, the same content signed anew.
        assert_eq!(tell(&mut answers, &[&one, &two]), (vec![1, 2], 2));
        assert_eq!(tell(&mut answers, &[&two]), (vec![2], 3));
        assert_eq!(tell(&mut answers, &[]), (vec![], 4));
        assert_eq!(tell(&mut answers, &[&batch(1)]), (vec![1], 5));
        assert_eq!(answers.0.len(), MAX_KNOWN);
        assert_eq!(tell(&mut answers, &[&one]), (vec![1], 6), "the oldest made room");
        answers.clear();
        assert_eq!(tell(&mut answers, &[&one]), (vec![1], 7));
    }

    #[test]
    fn what_nobody_reads_is_bounded_and_what_is_read_makes_room() {
        // Of two audiences in turn: what one of them does not read leaves the other no more room.
        let mut all = [Answers::default(), Answers::default()];
        let mut held = Held { most_bytes: 25, ..Held::default() };
        let mut tell = |is_small: bool| -> Option<Arc<[u8]>> {
            // The position moves each time, so it is always another answer.
            all.reverse();
            let answers = &mut all[0];
            answers.clear();
            answers
                .of(vec![vec![7; 10].into()], &mut held, is_small, |all| Ok::<_, ()>(all.concat()))
                .unwrap()
        };
        let unread: Vec<Arc<[u8]>> = (0..3).map(|_| tell(false).unwrap()).collect();
        assert!(tell(false).is_none());
        assert!(tell(false).is_none());
        assert!(tell(true).is_some(), "a checkpoint is always made");
        drop(unread);
        // Its twin: all of them are read at once.
        assert!((0..100).all(|_| tell(false).is_some()));
    }

    #[test]
    fn what_is_only_known_is_in_nobodys_way() {
        // Of many audiences each keeps its newest answers, which all were read.
        let mut all: Vec<Answers> = (0..10).map(|_| Answers::default()).collect();
        let mut held = Held { most_bytes: 25, ..Held::default() };
        let mut tell = |at: usize| {
            let encode = |all: &[Arc<[u8]>]| Ok::<_, ()>(all.concat());
            all[at].of(vec![vec![7; 10].into()], &mut held, false, encode).unwrap()
        };
        for at in 0..10 {
            assert!(tell(at).is_some(), "{at}");
        }
        // Its twin: nobody reads them.
        let unread: Vec<_> = (0..10).map_while(&mut tell).collect();
        assert_eq!(unread.len(), 3);
    }
}
