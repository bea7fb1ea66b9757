//! Why nothing was issued, as OAuth says it (RFC 6749 section 5.2).

use gatepass_engine::denial::Denial;

use crate::db::DbError;
use crate::desk::Refused;

/// An OAuth error with its description; nothing was issued.
#[derive(Debug, thiserror::Error)]
#[error("{error}: {description}")]
pub struct Denied {
    pub error: OAuthError,
    pub description: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OAuthError {
    InvalidRequest,
    InvalidClient,
    InvalidGrant,
    UnauthorizedClient,
    UnsupportedGrantType,
    InvalidScope,
    /// RFC 8707.
    InvalidTarget,
    /// RFC 9396.
    InvalidAuthorizationDetails,
    AccessDenied,
    TooManyRequests,
    TemporarilyUnavailable,
    ServerError,
}

impl OAuthError {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidScope => "invalid_scope",
            Self::InvalidTarget => "invalid_target",
            Self::InvalidAuthorizationDetails => "invalid_authorization_details",
            Self::AccessDenied => "access_denied",
            Self::TooManyRequests => "too_many_requests",
            Self::TemporarilyUnavailable => "temporarily_unavailable",
            Self::ServerError => "server_error",
        }
    }
}

impl core::fmt::Display for OAuthError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Denied {
    pub fn new(error: OAuthError, description: impl Into<String>) -> Self {
        Self { error, description: description.into() }
    }
}

impl From<DbError> for Denied {
    fn from(error: DbError) -> Self {
        tracing::error!(%error, "nothing was issued");
        Self::new(OAuthError::ServerError, "nothing was issued; the control plane's log says why")
    }
}

impl From<sqlx::Error> for Denied {
    fn from(error: sqlx::Error) -> Self {
        DbError::from(error).into()
    }
}

impl From<Refused> for Denied {
    fn from(refused: Refused) -> Self {
        let error = match &refused {
            Refused::Invalid { field, .. } if field == "authorization_details" => {
                OAuthError::InvalidAuthorizationDetails
            }
            Refused::Internal(_) => {
                tracing::error!(error = %refused, "nothing was issued");
                return Self::new(OAuthError::ServerError, "the control plane's log says why");
            }
            Refused::Closed(_) => OAuthError::TemporarilyUnavailable,
            Refused::TooMany(_) => OAuthError::TooManyRequests,
            Refused::Invalid { .. }
            | Refused::NotFound { .. }
            | Refused::Conflict(_)
            | Refused::Forbidden(_)
            | Refused::Unauthenticated(_) => OAuthError::InvalidRequest,
        };
        Self::new(error, refused.to_string())
    }
}

/// What the engine says of a gatepass that could be of no use.
pub(super) fn not_admitted(denial: &Denial) -> Denied {
    use gatepass_engine::Code;
    let error = match denial.code() {
        Code::InsufficientScope => OAuthError::InvalidScope,
        Code::WrongAudience => OAuthError::InvalidTarget,
        Code::NoRoute | Code::ActionNotGranted | Code::UnsupportedRestriction | Code::Malformed => {
            OAuthError::InvalidAuthorizationDetails
        }
        _ => OAuthError::AccessDenied,
    };
    let said = denial.ruling().and_then(|ruling| ruling.message.as_deref());
    let said = said.map(|message| format!(": {message}")).unwrap_or_default();
    Denied::new(
        error,
        format!("the gate would deny it as `{}`: {}{said}", denial.code(), denial.detail()),
    )
}
