//! The whole state for one audience, in parts.

use gatepass_engine::batch::{Header, MAX_PARTS, whole_digest};
use gatepass_engine::clock::UnixSeconds;
use gatepass_engine::revocation::Change;

use super::{PART_BUDGET, Part, PublishError, Publisher, REVOCATIONS_PER_PART, encoded, signed};
use crate::keys::Signer;

impl Publisher {
    pub(super) fn snapshot_of(
        &mut self,
        audience: &str,
        bundle: &[u8],
        feed: &dyn Signer,
        now: UnixSeconds,
    ) -> Result<Vec<Vec<u8>>, PublishError> {
        let issued_at = self.stamp(now);
        self.drop_ended();
        let parts = self.parts(bundle)?;
        let count = u16::try_from(parts.len()).map_err(|_| PublishError::TooLarge)?;
        if count > MAX_PARTS {
            return Err(PublishError::TooLarge);
        }
        let header = self.header(audience, 0, self.state.sequence, issued_at);
        let mut header = Header { parts: count, ..header };
        let digests: Vec<[u8; 32]> =
            parts.iter().map(|part| part.batch(header.clone()).digest()).collect();
        header.whole_digest = whole_digest(&digests);
        (0..)
            .zip(&parts)
            .map(|(number, part)| {
                let header = Header { part: number, ..header.clone() };
                signed(&part.batch(header), feed)
            })
            .collect()
    }

    /// Hash key and issuer keys in the first part, then revocations, then the bundle.
    fn parts(&self, bundle: &[u8]) -> Result<Vec<Part>, PublishError> {
        let total = u32::try_from(self.state.revocations.len())
            .map_err(|_| PublishError::TooManyRevocations)?;
        let mut parts = Vec::new();
        let mut rest = self.state.revocations.as_slice();
        loop {
            let (items, after) = rest.split_at(rest.len().min(REVOCATIONS_PER_PART));
            let first = parts.is_empty();
            parts.push(Part {
                revocations: Some(encoded(&Change {
                    hash_key: first.then_some(self.state.hash_key),
                    total,
                    items: items.to_vec(),
                })?),
                keys: first.then(|| encoded(&self.state.keys)).transpose()?,
                bundle: None,
            });
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
        let room = parts
            .last()
            .and_then(|part| part.revocations.as_ref())
            .map_or(0, |bytes| PART_BUDGET.saturating_sub(bytes.len()));
        let (head, tail) = bundle.split_at(bundle.len().min(room));
        if let Some(part) = parts.last_mut().filter(|_| !head.is_empty()) {
            part.bundle = Some(head.to_vec());
        }
        parts.extend(
            tail.chunks(PART_BUDGET)
                .map(|share| Part { bundle: Some(share.to_vec()), ..Part::default() }),
        );
        Ok(parts)
    }
}
