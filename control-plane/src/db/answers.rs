//! Answers to followers, encoded once for all who are told the same: thousands of polls end in the same
//! moment, and whoever does not read its answer keeps no copy of its own.

use std::collections::VecDeque;
use std::sync::Arc;

/// The newest answers, by what they carry. All of them have the same root documents.
#[derive(Default)]
pub(super) struct Answers(VecDeque<Answer>);

struct Answer {
    batches: Vec<Arc<[u8]>>,
    encoded: Arc<[u8]>,
}

impl Answers {
    /// The answer with just these batches, made by `encode` where it is not known.
    pub(super) fn of<E>(
        &mut self,
        batches: Vec<Arc<[u8]>>,
        encode: impl FnOnce(&[Arc<[u8]>]) -> Result<Vec<u8>, E>,
    ) -> Result<Arc<[u8]>, E> {
        if let Some(known) = self.0.iter().find(|known| are_same(&known.batches, &batches)) {
            return Ok(Arc::clone(&known.encoded));
        }
        let encoded: Arc<[u8]> = encode(&batches)?.into();
        if self.0.len() >= MAX_KNOWN {
            self.0.pop_front();
        }
        self.0.push_back(Answer { batches, encoded: Arc::clone(&encoded) });
        Ok(encoded)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_again_is_encoded_once() {
        let mut answers = Answers::default();
        let mut encoded = 0;
        let mut tell = |answers: &mut Answers, batches: &[&Arc<[u8]>]| {
            let batches = batches.iter().map(|batch| Arc::clone(batch)).collect();
            let answer = answers.of(batches, |batches| {
                encoded += 1;
                Ok::<_, ()>(batches.concat())
            });
            (answer.unwrap().to_vec(), encoded)
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
}
