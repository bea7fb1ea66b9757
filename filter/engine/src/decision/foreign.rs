//! A gatepass of ours in a request that goes on without a decision.

use super::Judge;
use super::credential::{AUTHORIZATION, scheme_and_token};
use crate::gatepass::Token;
use crate::token_cache::TokenCache;
use crate::trace::Trace;

impl<T: Trace> Judge<'_, '_, T> {
    /// A request that goes on without a decision may carry a gatepass of ours all the same; it must
    /// not reach the upstream, which could use it elsewhere.
    pub(super) fn note_foreign_credential(&mut self, cache: &mut TokenCache) {
        let revocable = |_: &str| false;
        let mut looked_at = 0_usize;
        for header in self.request.headers.iter().filter(|header| header.name == AUTHORIZATION) {
            for part in header.value.split(|byte| *byte == b',') {
                let Ok(presented) = scheme_and_token(part.trim_ascii()) else {
                    continue;
                };
                let kept = cache.find(presented.token);
                let token = Token::split(presented.token);
                if kept.is_none() && token.is_err() {
                    continue;
                }
                if looked_at >= MAX_FOREIGN_CREDENTIALS {
                    // More than anyone sends: not worth verifying, not worth passing on.
                    self.authentic = true;
                    return;
                }
                looked_at = looked_at.saturating_add(1);
                let place = kept.or_else(|| {
                    let signed = token.ok()?.read().ok()?.verify(&self.speaking(), revocable);
                    cache.keep(presented.token, signed.ok()?)
                });
                let signed = place.and_then(|place| cache.get(place));
                if signed.is_some_and(|one| one.authentic(&self.speaking(), revocable).is_ok()) {
                    self.authentic = true;
                    return;
                }
            }
        }
    }
}

/// Credentials of a gatepass's shape that are looked at in a request that is not decided. Commas
/// alone do not count: Digest (RFC 7616) has many.
const MAX_FOREIGN_CREDENTIALS: usize = 4;
