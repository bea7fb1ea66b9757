//! The shared data of one Envoy process.
//!
//! Keys live per `vm_id` and cannot be deleted by a guest. The CAS numbers of all keys come from
//! one counter of the process, which wraps and skips zero.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::abi::Status;

/// Shared data, one for all clones. The methods take the `vm_id` first, then the key.
#[derive(Clone, Debug, Default)]
pub struct SharedData(Arc<Mutex<Store>>);

/// A value, its CAS number, and how often guests have used it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    pub value: Vec<u8>,
    pub number: u32,
    pub reads: u64,
    pub writes: u64,
}

#[derive(Debug)]
struct Store {
    entries: BTreeMap<(Vec<u8>, Vec<u8>), Entry>,
    next: u32,
    misses: u64,
    mismatches: u64,
}

impl SharedData {
    /// `proxy_get_shared_data`: the value with its number, or `NotFound`.
    pub fn get(
        &self,
        vm_id: impl AsRef<[u8]>,
        key: impl AsRef<[u8]>,
    ) -> Result<(Vec<u8>, u32), Status> {
        self.with(|store| match store.entries.get_mut(&full(vm_id, key)) {
            Some(entry) => {
                entry.reads += 1;
                Ok((entry.value.clone(), entry.number))
            }
            None => {
                store.misses += 1;
                Err(Status::NotFound)
            }
        })
    }

    /// `proxy_set_shared_data`: `cas` 0 always writes; another number writes a missing key, or an
    /// existing one that has this number, and is `CasMismatch` otherwise.
    pub fn set(
        &self,
        vm_id: impl AsRef<[u8]>,
        key: impl AsRef<[u8]>,
        value: &[u8],
        cas: u32,
    ) -> Result<(), Status> {
        self.with(|store| {
            let key = full(vm_id, key);
            let present = store.entries.get(&key).map(|entry| entry.number);
            if cas != 0 && present.is_some_and(|number| number != cas) {
                store.mismatches += 1;
                return Err(Status::CasMismatch);
            }
            let number = store.number();
            let entry = store.entries.entry(key).or_default();
            entry.value = value.to_vec();
            entry.number = number;
            entry.writes += 1;
            Ok(())
        })
    }

    /// Looks at a key without counting a read.
    pub fn peek(&self, vm_id: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Option<Entry> {
        self.with(|store| store.entries.get(&full(vm_id, key)).cloned())
    }

    /// Overwrites a key as another party would: with a new number, without counting a write.
    pub fn overwrite(&self, vm_id: impl AsRef<[u8]>, key: impl AsRef<[u8]>, value: &[u8]) {
        self.with(|store| {
            let number = store.number();
            let entry = store.entries.entry(full(vm_id, key)).or_default();
            entry.value = value.to_vec();
            entry.number = number;
        });
    }

    /// All keys of a `vm_id`, sorted.
    pub fn keys(&self, vm_id: impl AsRef<[u8]>) -> Vec<Vec<u8>> {
        self.with(|store| {
            let keys = store.entries.keys();
            keys.filter(|(id, _)| id == vm_id.as_ref()).map(|(_, key)| key.clone()).collect()
        })
    }

    /// Sets the number that the next write of any key takes, so that a test can make it wrap.
    pub fn set_next_number(&self, next: u32) {
        self.with(|store| store.next = next.max(1));
    }

    /// How many reads met no key.
    pub fn misses(&self) -> u64 {
        self.with(|store| store.misses)
    }

    /// How many writes met another number.
    pub fn mismatches(&self) -> u64 {
        self.with(|store| store.mismatches)
    }

    fn with<T>(&self, act: impl FnOnce(&mut Store) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Store {
    fn number(&mut self) -> u32 {
        let number = self.next;
        self.next = self.next.checked_add(1).unwrap_or(1);
        number
    }
}

impl Default for Store {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), next: 1, misses: 0, mismatches: 0 }
    }
}

fn full(vm_id: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> (Vec<u8>, Vec<u8>) {
    (vm_id.as_ref().to_vec(), key.as_ref().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cas_zero_always_overwrites() {
        let data = SharedData::default();
        assert_eq!(data.get("vm", "k"), Err(Status::NotFound));
        assert_eq!(data.set("vm", "k", b"1", 0), Ok(()));
        assert_eq!(data.set("vm", "k", b"2", 0), Ok(()));
        assert_eq!(data.get("vm", "k"), Ok((b"2".to_vec(), 2)));
    }

    #[test]
    fn another_number_creates_but_does_not_overwrite() {
        let data = SharedData::default();
        assert_eq!(data.set("vm", "k", b"1", u32::MAX), Ok(()));
        assert_eq!(data.set("vm", "k", b"2", u32::MAX), Err(Status::CasMismatch));
        let (_, number) = data.get("vm", "k").unwrap();
        assert_eq!(data.set("vm", "k", b"2", number), Ok(()));
        assert_eq!(data.set("vm", "k", b"3", number), Err(Status::CasMismatch));
        assert_eq!((data.misses(), data.mismatches()), (0, 2));
    }

    #[test]
    fn numbers_of_all_keys_come_from_one_counter_that_skips_zero() {
        let data = SharedData::default();
        data.set_next_number(u32::MAX);
        data.set("vm", "a", b"", 0).unwrap();
        data.set("vm", "b", b"", 0).unwrap();
        data.set("other", "a", b"", 0).unwrap();
        let number = |vm, key| data.peek(vm, key).unwrap().number;
        assert_eq!((number("vm", "a"), number("vm", "b"), number("other", "a")), (u32::MAX, 1, 2));
    }
}
