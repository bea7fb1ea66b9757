//! Shared queues of one Envoy process.
//!
//! Registering an existing name keeps its data and moves its callback to the caller; that is why
//! each worker needs a queue of its own name.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use super::abi::Status;

/// The queues, one set for all clones.
#[derive(Clone, Debug, Default)]
pub struct SharedQueues(Arc<Mutex<Store>>);

#[derive(Debug, Default)]
struct Store {
    tokens: BTreeMap<(Vec<u8>, Vec<u8>), u32>,
    queues: BTreeMap<u32, Queue>,
}

#[derive(Debug)]
struct Queue {
    items: VecDeque<Vec<u8>>,
    target: Target,
    /// Calls of `proxy_on_queue_ready` that the target has not had yet.
    due: u32,
}

/// The VM instance and root context that a queue calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) instance: u32,
    pub(super) root: u32,
}

impl SharedQueues {
    /// What lies in a queue, oldest first; nothing if there is no such queue.
    pub fn items(&self, vm_id: impl AsRef<[u8]>, name: impl AsRef<[u8]>) -> Vec<Vec<u8>> {
        self.with(|store| {
            let key = (vm_id.as_ref().to_vec(), name.as_ref().to_vec());
            let queue = store.tokens.get(&key).and_then(|t| store.queues.get(t));
            queue.map_or_else(Vec::new, |queue| queue.items.iter().cloned().collect())
        })
    }

    pub(super) fn register(&self, vm_id: &[u8], name: &[u8], target: Target) -> u32 {
        self.with(|store| {
            let next = u32::try_from(store.tokens.len()).map_or(u32::MAX, |n| n + 1);
            let key = (vm_id.to_vec(), name.to_vec());
            let token = *store.tokens.entry(key).or_insert(next);
            let queue = store.queues.entry(token).or_insert_with(|| Queue {
                items: VecDeque::new(),
                target,
                due: 0,
            });
            queue.target = target;
            token
        })
    }

    pub(super) fn resolve(&self, vm_id: &[u8], name: &[u8]) -> Result<u32, Status> {
        self.with(|store| {
            let key = (vm_id.to_vec(), name.to_vec());
            store.tokens.get(&key).copied().ok_or(Status::NotFound)
        })
    }

    pub(super) fn enqueue(&self, token: u32, item: Vec<u8>) -> Result<(), Status> {
        self.with(|store| {
            let queue = store.queues.get_mut(&token).ok_or(Status::NotFound)?;
            queue.items.push_back(item);
            queue.due += 1;
            Ok(())
        })
    }

    pub(super) fn dequeue(&self, token: u32) -> Result<Vec<u8>, Status> {
        self.with(|store| {
            let queue = store.queues.get_mut(&token).ok_or(Status::NotFound)?;
            queue.items.pop_front().ok_or(Status::Empty)
        })
    }

    /// Takes the callbacks that are due for one VM instance, as (root context, queue).
    pub(super) fn take_due(&self, instance: u32) -> Vec<(u32, u32)> {
        self.with(|store| {
            let mut due = Vec::new();
            for (token, queue) in &mut store.queues {
                if queue.target.instance == instance {
                    let times = std::mem::take(&mut queue.due);
                    due.extend((0..times).map(|_| (queue.target.root, *token)));
                }
            }
            due
        })
    }

    fn with<T>(&self, act: impl FnOnce(&mut Store) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registering_again_keeps_the_data_and_moves_the_callback() {
        let queues = SharedQueues::default();
        let first = Target { instance: 1, root: 1 };
        let second = Target { instance: 2, root: 1 };
        let token = queues.register(b"vm", b"q", first);
        queues.enqueue(token, b"a".to_vec()).unwrap();
        assert_eq!(queues.register(b"vm", b"q", second), token);
        assert_eq!(queues.take_due(1), []);
        assert_eq!(queues.take_due(2), [(1, token)]);
        assert_eq!(queues.dequeue(token), Ok(b"a".to_vec()));
        assert_eq!(queues.dequeue(token), Err(Status::Empty));
    }
}
