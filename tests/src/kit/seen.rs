//! What clients saw of the positions that a gate answers from, and which of those answers were stale.
//!
//! Judged from outside alone: by when a request was sent, when its answer was there, and the position
//! that the answer states.

use std::time::Instant;

use gatepass_engine::position::Position;

use super::wire::Response;

/// One answer as its client saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Before the first byte of the request was sent.
    pub started: Instant,
    /// After the last byte of the answer was read.
    pub ended: Instant,
    /// `None` before the gate has heard anything.
    pub position: Option<Position>,
}

impl Seen {
    /// The answer of a gate whose configuration exposes its position; `None` for any other.
    #[must_use]
    pub fn of(started: Instant, ended: Instant, answer: &Response) -> Option<Self> {
        let stated = answer.header("x-gatepass-position")?;
        let position = if stated == "none" { None } else { Some(stated.parse().ok()?) };
        Some(Self { started, ended, position })
    }
}

/// How many answers are from a position older than one in an answer that had ended before their
/// request was sent. `answers` are of all workers of one Envoy, in any order.
#[must_use]
pub fn stale_after_new(answers: &[Seen]) -> usize {
    let mut by_end: Vec<&Seen> = answers.iter().collect();
    by_end.sort_by_key(|seen| seen.ended);
    let mut by_start: Vec<&Seen> = answers.iter().collect();
    by_start.sort_by_key(|seen| seen.started);
    let mut ended = by_end.into_iter().peekable();
    let mut newest = None;
    let mut stale = 0_usize;
    for seen in by_start {
        while let Some(before) = ended.next_if(|before| before.ended < seen.started) {
            newest = newest.max(before.position);
        }
        if seen.position < newest {
            stale = stale.saturating_add(1);
        }
    }
    stale
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_what_was_asked_after_a_newer_answer_ended_is_stale() {
        let start = Instant::now();
        let at = |milliseconds: u64| start + Duration::from_millis(milliseconds);
        let seen = |from, to, sequence: u64| Seen {
            started: at(from),
            ended: at(to),
            position: (sequence > 0).then_some(Position { epoch: 1, sequence }),
        };
        for (answers, expected) in [
            (vec![], 0),
            (vec![seen(0, 1, 1), seen(2, 3, 1), seen(4, 5, 2)], 0),
            // One thing changed: the second is older.
            (vec![seen(0, 1, 2), seen(2, 3, 1), seen(4, 5, 2)], 1),
            // Sent before the newer answer was there.
            (vec![seen(0, 3, 2), seen(2, 4, 1)], 0),
            (vec![seen(0, 3, 2), seen(3, 4, 1)], 0),
            // Nothing heard is older than anything.
            (vec![seen(0, 1, 1), seen(2, 3, 0)], 1),
            // In any order; each is counted once.
            (vec![seen(6, 7, 1), seen(0, 9, 1), seen(0, 1, 2), seen(2, 3, 3), seen(4, 5, 2)], 2),
        ] {
            assert_eq!(stale_after_new(&answers), expected, "{answers:?}");
        }
    }
}
