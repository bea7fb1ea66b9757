//! One layout of rules, as Cedar's own formatter has it.

use cedar_policy_formatter::{Config, policies_str_to_pretty};

use super::{Note, nowhere, on_a_stack, too_deep};

/// The text as it should be laid out; comments stay.
///
/// # Errors
/// It is nested too deep, or does not parse: `compile` says where.
pub fn formatted(file: &str, text: &str) -> Result<String, Note> {
    if let Some(note) = too_deep(file, text) {
        return Err(note);
    }
    // As Cedar's own tools have it, so that they agree.
    let config = Config::default();
    let made =
        on_a_stack(|| policies_str_to_pretty(text, &config).map_err(|error| error.to_string()))?;
    made.map_err(|message| Note { message, ..nowhere(file) })
}
