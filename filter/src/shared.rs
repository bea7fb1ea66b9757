//! Shared data as the exchange needs it: what all VMs of one Envoy see, and nobody vouches for.

/// Envoy's shared data. The number of a key changes with each write to it, and the numbers of all
/// keys come from one counter that wraps.
pub trait SharedData {
    /// Value and number; `None` when the key is missing.
    fn read(&mut self, key: &str) -> Option<(Vec<u8>, u32)>;

    /// The number alone, of a key whose value is empty (0.19 us: nothing is copied into the VM).
    fn number(&mut self, key: &str) -> Option<u32>;

    /// Writes.
    ///
    /// # Errors
    /// [`Moved`] when the key has another number than `when` asks for.
    fn write(&mut self, key: &str, value: &[u8], when: When) -> Result<(), Moved>;
}

/// The condition of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    Always,
    /// The key is missing.
    Missing,
    /// The key still has this number.
    Still(u32),
}

impl When {
    /// The host's form: 0 always overwrites; any other number succeeds on a missing key and fails
    /// on an existing one with another number, so one that is never given out creates only.
    #[must_use]
    pub const fn cas(self) -> u32 {
        match self {
            Self::Always => 0,
            Self::Missing => u32::MAX,
            // A real number 0 would overwrite without a check; ask for one that fails instead.
            Self::Still(0) => u32::MAX,
            Self::Still(number) => number,
        }
    }
}

/// Somebody else wrote in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("another VM wrote the key first")]
pub struct Moved;

/// Whether number `a` was given out after `b`, on a counter that wraps.
#[must_use]
pub const fn is_later(a: u32, b: u32) -> bool {
    a != b && a.wrapping_sub(b) < 1 << 31
}

#[cfg(test)]
pub(crate) mod fake {
    use super::*;
    use std::collections::HashMap;

    /// Shared data in memory with the host's rules.
    #[derive(Default)]
    pub(crate) struct Fake {
        pub(crate) keys: HashMap<String, (Vec<u8>, u32)>,
        pub(crate) next: u32,
    }

    impl SharedData for Fake {
        fn read(&mut self, key: &str) -> Option<(Vec<u8>, u32)> {
            self.keys.get(key).cloned()
        }

        fn number(&mut self, key: &str) -> Option<u32> {
            self.keys.get(key).map(|(_, number)| *number)
        }

        fn write(&mut self, key: &str, value: &[u8], when: When) -> Result<(), Moved> {
            let cas = when.cas();
            if let Some((_, number)) = self.keys.get(key)
                && cas != 0
                && cas != *number
            {
                return Err(Moved);
            }
            self.next = self.next.wrapping_add(1).max(1);
            self.keys.insert(key.to_owned(), (value.to_vec(), self.next));
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::fake::Fake;
    use super::*;

    #[test]
    fn later_survives_the_wrap() {
        assert!(is_later(2, 1));
        assert!(!is_later(1, 2));
        assert!(!is_later(1, 1));
        assert!(is_later(1, u32::MAX));
        assert!(!is_later(u32::MAX, 1));
    }

    #[test]
    fn create_only_creates() {
        let mut data = Fake::default();
        assert_eq!(data.write("k", b"a", When::Missing), Ok(()));
        assert_eq!(data.write("k", b"b", When::Missing), Err(Moved));
        let (_, number) = data.read("k").unwrap();
        assert_eq!(data.write("k", b"c", When::Still(number)), Ok(()));
        assert_eq!(data.write("k", b"d", When::Still(number)), Err(Moved));
        assert_eq!(data.write("k", b"e", When::Always), Ok(()));
    }
}
