//! Who calls the admin API.

use std::sync::Arc;

use axum::http::{HeaderMap, header};

use crate::db::{DbError, signed};
use crate::desk::Refused;
use crate::desk::operators::{Need, Who, authenticate};
use crate::server::Shared;

/// The operator behind `Authorization: Bearer`, if their role allows what is needed.
pub(super) async fn operator(
    shared: &Arc<Shared>,
    headers: &HeaderMap,
    need: Need,
) -> Result<Who, Refused> {
    let Some(secret) = bearer(headers) else {
        return Err(Refused::Unauthenticated(
            "send an operator's token: `Authorization: Bearer gpo_...`".to_owned(),
        ));
    };
    let now = shared.db.now();
    let mut connection = shared.db.readers().acquire().await?;
    let (who, used) = authenticate(&mut connection, secret, now).await?;
    drop(connection);
    if used.is_none_or(|used| now.since(used) >= NOTE_USE_EVERY) {
        let token = who.token.clone();
        let noted: Result<(), DbError> = shared
            .db
            .write(async move |tx| {
                sqlx::query("UPDATE tokens SET last_used_at = ? WHERE id = ?")
                    .bind(signed(now.0))
                    .bind(&token)
                    .execute(tx.sql())
                    .await?;
                Ok(())
            })
            .await;
        noted?;
    }
    who.demand(need)?;
    Ok(who)
}

/// The one token in the one `Authorization` header.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (all.next(), all.next()) else {
        return None;
    };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// Seconds: a token's last use is known to the minute, and a busy one does not wear the disk.
const NOTE_USE_EVERY: u64 = 60;
