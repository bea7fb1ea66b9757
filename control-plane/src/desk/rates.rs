//! How often each agent may ask.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use gatepass_engine::clock::UnixSeconds;

use super::token::{Denied, OAuthError};

/// Only agents that have proved themselves are counted, so the table is as large as the registry.
#[derive(Default)]
pub struct Rates(Mutex<HashMap<String, Window>>);

struct Window {
    minute: u64,
    count: u32,
}

impl Rates {
    /// Counts one request of an agent that has proved itself.
    ///
    /// # Errors
    /// [`OAuthError::TooManyRequests`] when the minute's share is used up.
    pub fn take(&self, agent: &str, most: u32, now: UnixSeconds) -> Result<(), Denied> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let minute = now.0 / 60;
        let window = all.entry(agent.to_owned()).or_insert(Window { minute, count: 0 });
        if window.minute != minute {
            *window = Window { minute, count: 0 };
        }
        if window.count >= most {
            return Err(Denied::new(
                OAuthError::TooManyRequests,
                format!("an agent may ask {most} times a minute"),
            ));
        }
        window.count = window.count.saturating_add(1);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_agent_has_its_own_share_of_each_minute() {
        let rates = Rates::default();
        let now = UnixSeconds(120);
        assert!(rates.take("a", 2, now).is_ok());
        assert!(rates.take("a", 2, now).is_ok());
        assert_eq!(rates.take("a", 2, now).unwrap_err().error, OAuthError::TooManyRequests);
        assert!(rates.take("b", 2, now).is_ok());
        assert!(rates.take("a", 2, now.plus(60)).is_ok());
    }
}
