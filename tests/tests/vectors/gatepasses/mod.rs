//! The cases of `tests/vectors/gatepasses`.

mod budgets;
mod claims;
mod constraints;
mod credential;
mod demands;
mod granted;
mod requests;
mod revocation;
mod rules;
mod state;
mod token;

use gatepass_engine::denial::Code;

use crate::case::Book;

/// The case that most others differ from.
pub(crate) const GRANTED: &str = "granted";

pub(crate) fn book() -> Book {
    Book::new(vec![
        granted::family(),
        credential::family(),
        token::family(),
        claims::family(),
        requests::family(),
        state::family(),
        revocation::family(),
        demands::family(),
        constraints::family(),
        rules::family(),
        budgets::family(),
    ])
}

/// Codes that no vector can have yet.
pub(crate) const NOT_REACHABLE: [(Code, &str); 11] = [
    (Code::Replayed, "the control plane is asked: `tests/tests/uses`"),
    (Code::ReplayTableFull, "the control plane is asked: `tests/tests/uses`"),
    (Code::ConfirmationFailed, "the control plane is asked: `tests/tests/uses`"),
    (Code::BodyTooLarge, "these requests have no body that is read: `tests/tests/requests`"),
    (Code::BodyMalformed, "these requests have no body that is read: `tests/tests/requests`"),
    (Code::BodyTooSlow, "these requests have no body that is read: `tests/tests/requests`"),
    (Code::GateBusy, "these requests have no body that is read: `tests/tests/requests`"),
    (Code::HeaderBodyMismatch, "these requests have no body that is read: `tests/tests/requests`"),
    (Code::TooManyOpen, "a gate that has one request open has room for more"),
    (Code::DurationOver, "it ends what is open"),
    (Code::PolicyChanged, "it ends what is open"),
];
