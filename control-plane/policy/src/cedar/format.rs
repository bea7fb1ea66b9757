//! One layout of rules, as Cedar's own formatter has it.

use cedar_policy_formatter::{Config, policies_str_to_pretty};

use super::{Note, nowhere, on_own_stack};

/// The text as it should be laid out; comments stay.
///
/// # Errors
/// It is nested too deep, or does not parse: `compile` says where.
pub fn formatted(file: &str, text: &str) -> Result<String, Note> {
    // As Cedar's own tools have it, so that they agree.
    let config = Config::default();
    let made = on_own_stack(&[(file, text)], || {
        policies_str_to_pretty(text, &config)
            .map_err(|error| vec![Note { message: error.to_string(), ..nowhere(file) }])
    });
    made.map_err(|notes| notes.into_iter().next().unwrap_or_else(|| nowhere(file)))
}
