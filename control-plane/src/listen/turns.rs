//! Turns: so many pieces of work are worked on at once, whatever their number, each for as long as it
//! has something to do.
//!
//! A fleet that comes back brings thousands of handshakes in one moment. Worked on all at once none would be
//! done before its peer gives up, and whoever is connected already would wait behind all of them. A turn
//! is one step: work that waits for its peer has none, so a peer that is slow, or says nothing, keeps
//! nobody from theirs. First come, first served.

use core::future::poll_fn;
use core::pin::pin;
use core::task::Poll;

use tokio::sync::Semaphore;

pub(super) struct Turns(Semaphore);

impl Turns {
    pub(super) fn new(at_once: usize) -> Self {
        Self(Semaphore::new(at_once.max(1)))
    }

    /// Does the work step by step, each in its turn.
    pub(super) async fn take<F: Future>(&self, work: F) -> F::Output {
        let mut work = pin!(work);
        loop {
            // INVARIANT: nobody closes it, and without a turn nothing would be lost but order.
            let turn = self.0.acquire().await;
            let step = poll_fn(|context| Poll::Ready(work.as_mut().poll(context))).await;
            drop(turn);
            match step {
                Poll::Ready(done) => return done,
                // What it waits for wakes this task.
                Poll::Pending => woken().await,
            }
        }
    }
}

/// Ends when the task is polled the next time.
async fn woken() {
    let mut waited = false;
    poll_fn(|_| match core::mem::replace(&mut waited, true) {
        true => Poll::Ready(()),
        false => Poll::Pending,
    })
    .await;
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Works in `steps`, between which another task must come by.
    async fn work(within: &AtomicUsize, steps: usize) -> usize {
        for _ in 0..steps {
            let others = within.fetch_add(1, Ordering::SeqCst);
            assert_eq!(others, 0, "two at once");
            std::thread::yield_now();
            within.fetch_sub(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
        }
        steps
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn all_come_to_their_end_and_no_two_work_at_once() {
        let (turns, within) = (Arc::new(Turns::new(1)), Arc::new(AtomicUsize::new(0)));
        let tasks = (1..50).map(|steps| {
            let (turns, within) = (Arc::clone(&turns), Arc::clone(&within));
            tokio::spawn(async move { turns.take(work(&within, steps)).await })
        });
        for (steps, task) in (1..50).zip(tasks.collect::<Vec<_>>()) {
            assert_eq!(task.await.unwrap(), steps);
        }
    }

    #[tokio::test]
    async fn work_that_waits_for_its_peer_keeps_nobody_from_theirs() {
        let turns = Arc::new(Turns::new(1));
        let waiting = Arc::clone(&turns);
        let silent = tokio::spawn(async move { waiting.take(core::future::pending::<()>()).await });
        tokio::task::yield_now().await;
        assert_eq!(turns.take(async { 7 }).await, 7);
        silent.abort();
        assert!(silent.await.unwrap_err().is_cancelled());
        assert_eq!(turns.take(async { 8 }).await, 8);
    }
}
