//! The keys of agents that have proved themselves lately, so that issuing asks the database once: in
//! its transaction, which says whether the key is still the agent's.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::assertion::AgentKeys;

/// Nobody gets in who has not proved to be the agent, so the table is no larger than the registry.
///
/// INVARIANT: what is found here was true once. It saves a look-up; it never stands for one that
/// decides.
#[derive(Default)]
pub struct KnownKeys(Mutex<HashMap<String, Arc<AgentKeys>>>);

impl KnownKeys {
    #[must_use]
    pub fn of(&self, agent: &str) -> Option<Arc<AgentKeys>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(agent).map(Arc::clone)
    }

    /// What was known of the agent before is replaced.
    pub fn keep(&self, agent: String, keys: AgentKeys) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MAX_AGENTS && !all.contains_key(&agent) {
            // The busy ones are back with their next request.
            all.clear();
        }
        all.insert(agent, Arc::new(keys));
    }

    /// A key of the agent turned out to be gone.
    pub fn forget(&self, agent: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(agent);
    }
}

/// About a KiB each.
const MAX_AGENTS: usize = 16_384;

#[cfg(test)]
mod tests {
    use super::*;

    fn keep(known: &KnownKeys, agent: &str) {
        known.keep(agent.to_owned(), AgentKeys::read(agent, &[]).unwrap());
    }

    #[test]
    fn it_knows_whom_it_was_told_of_and_forgets_before_it_grows() {
        let known = KnownKeys::default();
        assert!(known.of("a0").is_none());
        for n in 0..MAX_AGENTS {
            keep(&known, &format!("a{n}"));
        }
        assert!(known.of("a0").is_some());
        keep(&known, "a0");
        assert!(known.of("a1").is_some(), "one that it knew is no growth");
        keep(&known, "one more");
        assert!(known.of("one more").is_some());
        assert_eq!(known.0.lock().unwrap().len(), 1);
        known.forget("one more");
        assert!(known.of("one more").is_none());
    }
}
