//! Why something that was asked for is not done: one text for who asked, one for the log.

use std::borrow::Cow;

use crate::db::DbError;

/// A refusal; nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// What was sent is wrong; names the field and what was expected.
    #[error("`{field}`: {why}")]
    Invalid { field: Cow<'static, str>, why: String },
    #[error("there is no {what} `{id}`")]
    NotFound { what: &'static str, id: String },
    /// It does not fit the state that the thing is in.
    #[error("{0}")]
    Conflict(String),
    #[error("{0}")]
    Forbidden(String),
    #[error("{0}")]
    Unauthenticated(String),
    #[error("{0}")]
    TooMany(String),
    /// The control plane may not do this now, whoever asks.
    #[error("{0}")]
    Closed(String),
    /// Ours: who asked learns no more than that.
    #[error(transparent)]
    Internal(#[from] DbError),
}

impl Refused {
    pub fn invalid(field: impl Into<Cow<'static, str>>, why: impl Into<String>) -> Self {
        Self::Invalid { field: field.into(), why: why.into() }
    }

    pub fn not_found(what: &'static str, id: &str) -> Self {
        Self::NotFound { what, id: id.to_owned() }
    }

    /// A stable name for programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Invalid { .. } => "invalid",
            Self::NotFound { .. } => "not_found",
            Self::Conflict(_) => "conflict",
            Self::Forbidden(_) => "forbidden",
            Self::Unauthenticated(_) => "unauthenticated",
            Self::TooMany(_) => "too_many_requests",
            Self::Closed(_) => "closed",
            Self::Internal(_) => "internal",
        }
    }
}

impl From<sqlx::Error> for Refused {
    fn from(error: sqlx::Error) -> Self {
        match error.as_database_error() {
            // A constraint that our own checks did not foresee is still a refusal, not a fault.
            Some(error) if error.is_unique_violation() => {
                Self::Conflict("it exists already".to_owned())
            }
            Some(error) if error.is_foreign_key_violation() => {
                Self::Conflict("it names something that does not exist".to_owned())
            }
            _ => Self::Internal(error.into()),
        }
    }
}
