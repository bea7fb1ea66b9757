//! Operators, their tokens and what a role allows.
//!
//! A token is 256 random bits in base64url behind a prefix; the database has its SHA-256 alone, so
//! whoever reads the database can use none. It names one role in one environment and ends by
//! itself.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gatepass_engine::clock::UnixSeconds;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use sqlx::SqliteConnection;
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::Refused;
use crate::audit::hex;
use crate::db::{signed, unsigned};
use crate::keys::KeyError;

/// What a token lets its holder do.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, clap::ValueEnum, sqlx::Type,
)]
#[serde(rename_all = "snake_case")]
#[sqlx(rename_all = "snake_case")]
pub enum Role {
    /// Reads.
    Viewer,
    /// Runs the registry and the policy.
    Operator,
    /// Reads, and agrees to what others propose.
    Approver,
    /// Reads, the audit record too.
    Auditor,
    /// Everything, operators and tokens too.
    Admin,
}

/// What something asks of a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    Read,
    Audit,
    Agree,
    Operate,
    Administer,
}

impl Role {
    #[must_use]
    pub const fn allows(self, need: Need) -> bool {
        match (self, need) {
            (_, Need::Read)
            | (Self::Admin, _)
            | (Self::Auditor, Need::Audit)
            | (Self::Approver | Self::Operator, Need::Agree)
            | (Self::Operator, Need::Operate) => true,
            (Self::Viewer | Self::Approver, Need::Audit | Need::Operate | Need::Administer)
            | (Self::Viewer, Need::Agree)
            | (Self::Auditor, Need::Agree | Need::Operate | Need::Administer)
            | (Self::Operator, Need::Audit | Need::Administer) => false,
        }
    }

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Approver => "approver",
            Self::Auditor => "auditor",
            Self::Admin => "admin",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let all = [Self::Viewer, Self::Operator, Self::Approver, Self::Auditor, Self::Admin];
        all.into_iter().find(|role| role.as_str() == text)
    }
}

/// An operator who has shown a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who {
    pub operator: String,
    pub token: String,
    pub role: Role,
    /// The person they are, where known.
    pub person: Option<String>,
}

impl Who {
    /// # Errors
    /// [`Refused::Forbidden`].
    pub fn demand(&self, need: Need) -> Result<(), Refused> {
        if self.role.allows(need) {
            return Ok(());
        }
        Err(Refused::Forbidden(format!("the role `{}` does not allow this", self.role.as_str())))
    }
}

/// A new secret: `prefix` and 256 random bits.
///
/// # Errors
/// [`KeyError::Randomness`].
pub fn new_secret(prefix: &str) -> Result<Zeroizing<String>, KeyError> {
    let mut bytes = Zeroizing::new([0_u8; 32]);
    getrandom::fill(bytes.as_mut_slice()).map_err(|_| KeyError::Randomness)?;
    Ok(Zeroizing::new(format!("{prefix}{}", URL_SAFE_NO_PAD.encode(*bytes))))
}

/// What the database keeps of a secret.
#[must_use]
pub fn digest(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

/// [`digest`] as the API takes it.
#[must_use]
pub fn digest_text(secret: &str) -> String {
    hex(&digest(secret))
}

/// Who holds a token. Looked up by its digest, so nothing secret is compared byte by byte.
///
/// # Errors
/// [`Refused::Unauthenticated`], the same for every reason.
pub async fn authenticate(
    connection: &mut SqliteConnection,
    secret: &str,
    now: UnixSeconds,
) -> Result<(Who, Option<UnixSeconds>), Refused> {
    let unknown =
        || Refused::Unauthenticated("the token is not known, ended or expired".to_owned());
    if secret.len() > MAX_SECRET_BYTES {
        return Err(unknown());
    }
    type Row = (String, String, String, i64, Option<i64>, Option<String>);
    let row: Option<Row> = sqlx::query_as(
        "SELECT t.id, t.operator, t.role, t.expires_at, t.last_used_at, o.person
         FROM tokens t JOIN operators o ON o.id = t.operator LEFT JOIN people p ON p.id = o.person
         WHERE t.digest = ? AND t.ended_at IS NULL AND o.state = 'active'
           AND (o.person IS NULL OR p.state = 'active')",
    )
    .bind(digest(secret).as_slice())
    .fetch_optional(connection)
    .await?;
    let Some((token, operator, role, expires_at, used, person)) = row else {
        return Err(unknown());
    };
    let role = Role::parse(&role).ok_or_else(unknown)?;
    if unsigned(expires_at) <= now.0 {
        return Err(unknown());
    }
    Ok((Who { operator, token, role, person }, used.map(|used| UnixSeconds(unsigned(used)))))
}

/// Whether a token is good for anything: it, its operator and the person that they are.
///
/// # Errors
/// What SQLite says.
pub async fn lives(
    connection: &mut SqliteConnection,
    token: &str,
    now: UnixSeconds,
) -> Result<bool, Refused> {
    let row: Option<(String,)> = sqlx::query_as(
        "SELECT t.id FROM tokens t JOIN operators o ON o.id = t.operator
           LEFT JOIN people p ON p.id = o.person
         WHERE t.id = ? AND t.ended_at IS NULL AND t.expires_at > ? AND o.state = 'active'
           AND (o.person IS NULL OR p.state = 'active')",
    )
    .bind(token)
    .bind(signed(now.0))
    .fetch_optional(connection)
    .await?;
    Ok(row.is_some())
}

/// The roles of an operator's living tokens.
///
/// # Errors
/// What SQLite says.
pub async fn roles(
    connection: &mut SqliteConnection,
    operator: &str,
    now: UnixSeconds,
) -> Result<Vec<Role>, Refused> {
    let rows: Vec<(Role,)> = sqlx::query_as(
        "SELECT t.role FROM tokens t JOIN operators o ON o.id = t.operator
           LEFT JOIN people p ON p.id = o.person
         WHERE o.id = ? AND t.ended_at IS NULL AND t.expires_at > ? AND o.state = 'active'
           AND (o.person IS NULL OR p.state = 'active')",
    )
    .bind(operator)
    .bind(signed(now.0))
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|(role,)| role).collect())
}

/// What a join token is good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joins {
    pub fleet: String,
    /// `None`: the feed of those in no cohort.
    pub cohort: Option<String>,
}

/// Who a fleet's join token belongs to.
///
/// # Errors
/// [`Refused::Unauthenticated`].
pub async fn fleet(
    connection: &mut SqliteConnection,
    secret: &str,
    now: UnixSeconds,
) -> Result<Joins, Refused> {
    let unknown =
        || Refused::Unauthenticated("the join token is not known, ended or expired".to_owned());
    if secret.len() > MAX_SECRET_BYTES {
        return Err(unknown());
    }
    let row: Option<(String, Option<String>)> = sqlx::query_as(
        "SELECT fleet, cohort FROM join_tokens WHERE digest = ? AND ended_at IS NULL AND expires_at > ?",
    )
    .bind(digest(secret).as_slice())
    .bind(signed(now.0))
    .fetch_optional(connection)
    .await?;
    row.map(|(fleet, cohort)| Joins { fleet, cohort }).ok_or_else(unknown)
}

/// Reads a digest that somebody else computed.
pub(super) fn read_digest(text: &str) -> Result<[u8; 32], Refused> {
    crate::audit::digest(text)
        .filter(|_| text.len() == 64)
        .ok_or_else(|| Refused::invalid("digest", "expected SHA-256 as 64 hexadecimal digits"))
}

/// Prefix of an operator's token, so that scanners for leaked secrets can find it.
pub const OPERATOR_PREFIX: &str = "gpo_";
/// Prefix of a fleet's join token.
pub const JOIN_PREFIX: &str = "gpj_";
/// Seconds that a token may last.
pub const MAX_TOKEN_LIFE: u64 = 90 * 24 * 3600;
/// Tokens of one operator at once: the one in use and its successor.
pub const MAX_TOKENS: i64 = 2;
const MAX_SECRET_BYTES: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_allow_what_they_are_for_and_no_more() {
        use Need::{Administer, Agree, Audit, Operate, Read};
        let table = [
            (Role::Viewer, vec![Read]),
            (Role::Operator, vec![Read, Agree, Operate]),
            (Role::Approver, vec![Read, Agree]),
            (Role::Auditor, vec![Read, Audit]),
            (Role::Admin, vec![Read, Audit, Agree, Operate, Administer]),
        ];
        for (role, allowed) in table {
            for need in [Read, Audit, Agree, Operate, Administer] {
                assert_eq!(role.allows(need), allowed.contains(&need), "{role:?} {need:?}");
            }
            assert_eq!(Role::parse(role.as_str()), Some(role));
        }
    }

    #[test]
    fn secrets_differ_and_have_256_bits() {
        let (a, b) = (new_secret(OPERATOR_PREFIX).unwrap(), new_secret(OPERATOR_PREFIX).unwrap());
        assert_ne!(*a, *b);
        assert_eq!(a.len(), OPERATOR_PREFIX.len() + 43);
        assert_eq!(digest_text(&a).len(), 64);
    }
}
