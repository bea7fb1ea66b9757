//! The uses that this worker knows to be spent: what is in here is refused without asking anybody.
//!
//! It is no authority. Whether a use is spent is the control plane's to say, and a worker that has just
//! started knows of none; this table keeps a known replay from costing a question, and from passing while
//! nobody can be asked. So it may be small, and a collision of its hashes can only deny.
//!
//! It never drops what could still be of use: an entry stays until its gatepass has expired. When it is
//! full, what would need another place is refused (`replay_table_full`), and one agent has at most an eighth
//! of the places, so that none keeps others out.

use std::collections::HashMap;

use crate::clock::UnixSeconds;
use crate::denial::{Code, Denial};
use crate::revocation::{HashKey, Kind};

/// The spent uses that one worker remembers, and those that it is asking about.
#[derive(Debug)]
pub struct ReplayTable {
    /// Of this worker alone: nobody outside can choose ids that meet.
    key: HashKey,
    places: usize,
    entries: HashMap<u64, Entry>,
    /// Places that each agent has.
    agents: HashMap<u64, usize>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    agent: u64,
    until: UnixSeconds,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// So many requests wait to hear.
    Asked(u32),
    Spent,
}

impl ReplayTable {
    /// `key` is random, and this worker's own.
    #[must_use]
    pub fn new(key: &[u8; 16]) -> Self {
        Self::with_places(key, MAX_PLACES)
    }

    fn with_places(key: &[u8; 16], places: usize) -> Self {
        Self { key: HashKey::new("", key), places, entries: HashMap::new(), agents: HashMap::new() }
    }

    /// Whether a use may be asked for: it is not known to be spent, and there is a place to remember it in.
    ///
    /// # Errors
    /// `replayed`, `replay_table_full`.
    pub fn may_ask(&self, jti: &str, agent: &str, now: UnixSeconds) -> Result<(), Denial> {
        match self.entries.get(&self.gatepass(jti)) {
            Some(Entry { state: State::Spent, until, .. }) if *until > now => {
                return Err(Denial::new(Code::Replayed, "this gate knows the use to be spent"));
            }
            Some(_) => return Ok(()),
            None => {}
        }
        if self.entries.len() >= self.places {
            return Err(Denial::new(Code::ReplayTableFull, "every place is taken"));
        }
        let share = self.places / AGENT_SHARE;
        if self.agents.get(&self.agent(agent)).is_some_and(|taken| *taken >= share) {
            return Err(Denial::new(
                Code::ReplayTableFull,
                "the agent has its share of the places",
            ));
        }
        Ok(())
    }

    /// Takes a place for a use that is asked for now.
    ///
    /// # Errors
    /// As [`ReplayTable::may_ask`].
    pub fn ask(
        &mut self,
        jti: &str,
        agent: &str,
        until: UnixSeconds,
        now: UnixSeconds,
    ) -> Result<(), Denial> {
        self.may_ask(jti, agent, now)?;
        let (key, agent) = (self.gatepass(jti), self.agent(agent));
        match self.entries.get_mut(&key) {
            Some(Entry { state: State::Asked(waiting), .. }) => {
                *waiting = waiting.saturating_add(1);
            }
            // Expired, and so is the gatepass that is asked for again: the place is its own.
            Some(entry) => entry.state = State::Asked(1),
            None => {
                self.entries.insert(key, Entry { agent, until, state: State::Asked(1) });
                let taken = self.agents.entry(agent).or_default();
                *taken = taken.saturating_add(1);
            }
        }
        Ok(())
    }

    /// One who asked waits no more. `spent`: the control plane has said that the use is, by whomever.
    pub fn answered(&mut self, jti: &str, spent: bool) {
        let key = self.gatepass(jti);
        let Some(entry) = self.entries.get_mut(&key) else { return };
        match entry.state {
            State::Spent => {}
            State::Asked(_) if spent => entry.state = State::Spent,
            State::Asked(waiting) if waiting > 1 => {
                entry.state = State::Asked(waiting.saturating_sub(1));
            }
            State::Asked(_) => self.remove(key),
        }
    }

    /// Gives back the places of gatepasses that have expired.
    pub fn forget_expired(&mut self, now: UnixSeconds) {
        let expired = self.entries.iter().filter(|(_, entry)| entry.until <= now);
        for key in expired.map(|(key, _)| *key).collect::<Vec<_>>() {
            self.remove(key);
        }
    }

    /// Places that are taken.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.entries.len()
    }

    fn remove(&mut self, key: u64) {
        let Some(entry) = self.entries.remove(&key) else { return };
        if let Some(taken) = self.agents.get_mut(&entry.agent) {
            *taken = taken.saturating_sub(1);
            if *taken == 0 {
                self.agents.remove(&entry.agent);
            }
        }
    }

    fn gatepass(&self, jti: &str) -> u64 {
        self.key.hash(Kind::Credential, jti)
    }

    fn agent(&self, agent: &str) -> u64 {
        self.key.hash(Kind::Agent, agent)
    }
}

/// Of one worker: some 6 MB when all are taken.
pub const MAX_PLACES: usize = 65_536;
/// The part of the places that one agent may have.
const AGENT_SHARE: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixSeconds = UnixSeconds(1_000);
    const LATER: UnixSeconds = UnixSeconds(1_300);

    fn table(places: usize) -> ReplayTable {
        ReplayTable::with_places(&[7; 16], places)
    }

    fn code(result: Result<(), Denial>) -> Option<Code> {
        result.err().map(|denial| denial.code())
    }

    #[test]
    fn a_spent_use_is_refused_until_its_gatepass_has_expired_and_an_unspent_one_is_not() {
        let mut table = table(64);
        table.ask("j1", "a", LATER, NOW).unwrap();
        assert_eq!(code(table.may_ask("j1", "a", NOW)), None, "nobody has answered yet");
        table.answered("j1", true);
        assert_eq!(code(table.may_ask("j1", "a", NOW)), Some(Code::Replayed));
        assert_eq!(code(table.may_ask("j2", "a", NOW)), None);
        assert_eq!(code(table.may_ask("j1", "a", UnixSeconds(1_299))), Some(Code::Replayed));
        table.forget_expired(UnixSeconds(1_299));
        assert_eq!(table.taken(), 1, "never before it has expired");
        assert_eq!(code(table.may_ask("j1", "a", LATER)), None);
        table.forget_expired(LATER);
        assert_eq!((table.taken(), table.agents.len()), (0, 0));
    }

    #[test]
    fn who_was_told_nothing_leaves_nothing() {
        let mut table = table(64);
        table.ask("j1", "a", LATER, NOW).unwrap();
        table.ask("j1", "a", LATER, NOW).unwrap();
        table.answered("j1", false);
        assert_eq!(table.taken(), 1, "another one waits");
        table.answered("j1", false);
        assert_eq!((table.taken(), table.agents.len()), (0, 0));
        table.answered("j1", true);
        assert_eq!(table.taken(), 0, "nobody asked");
        // Of two that asked at once, what one heard holds whatever the other hears.
        table.ask("j1", "a", LATER, NOW).unwrap();
        table.ask("j1", "a", LATER, NOW).unwrap();
        table.answered("j1", true);
        table.answered("j1", false);
        assert_eq!(code(table.may_ask("j1", "a", NOW)), Some(Code::Replayed));
    }

    #[test]
    fn a_full_table_refuses_and_forgets_nothing() {
        let mut table = table(16);
        for n in 0..16 {
            table.ask(&format!("j{n}"), &format!("a{n}"), LATER, NOW).unwrap();
            table.answered(&format!("j{n}"), true);
        }
        assert_eq!(code(table.ask("j16", "a16", LATER, NOW)), Some(Code::ReplayTableFull));
        for n in 0..16 {
            assert_eq!(code(table.may_ask(&format!("j{n}"), "a", NOW)), Some(Code::Replayed));
        }
        table.forget_expired(LATER);
        assert_eq!(code(table.ask("j16", "a16", LATER, LATER)), None);
    }

    #[test]
    fn one_agent_has_an_eighth_and_others_their_own() {
        let mut table = table(64);
        for n in 0..8 {
            table.ask(&format!("j{n}"), "a", LATER, NOW).unwrap();
            table.answered(&format!("j{n}"), n % 2 == 0);
            table.ask(&format!("j{n}"), "a", LATER, NOW).ok();
        }
        assert_eq!(code(table.ask("j8", "a", LATER, NOW)), Some(Code::ReplayTableFull));
        assert_eq!(code(table.ask("j8", "b", LATER, NOW)), None, "another agent");
        table.answered("j1", false);
        assert_eq!(code(table.ask("j9", "a", LATER, NOW)), None, "one place was given back");
        assert_eq!(code(table.ask("j10", "a", LATER, NOW)), Some(Code::ReplayTableFull));
    }

    #[test]
    fn the_key_of_the_worker_says_where_a_gatepass_lies() {
        let hash = |key: u8| ReplayTable::new(&[key; 16]).gatepass("j1");
        assert_ne!(hash(1), hash(2));
    }
}
