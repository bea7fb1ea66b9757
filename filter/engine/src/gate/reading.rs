//! Batches read and vouched for before any of them is applied: signature, identity, time.

use super::order::Order;
use super::{Gate, ISSUED_BEFORE, ROOT_DID_NOT_COME, check_whole};
use crate::batch::{Batch, Header, MAX_PART_BYTES, Shape, exact};
use crate::clock::{MAX_CLOCK_SKEW, Now, UnixSeconds};
use crate::envelope::{PayloadType, Unverified};
use crate::refusal::{Refusal, RefusalCode};
use crate::revocation::Change;

/// A batch whose signature and identity are right; only [`Gate::read`] makes one.
#[derive(Clone, Debug)]
pub struct Authentic {
    pub(super) payload: Vec<u8>,
    pub(super) header: Header,
    /// The version of the root whose key signed it.
    pub(super) read_under: u64,
}

impl Authentic {
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }
}

impl Gate {
    /// Reads a batch whose signature and identity are right, without applying it.
    ///
    /// # Errors
    /// `bad_payload_type`, `bad_signature`, `poison`, `wrong_environment`, `wrong_audience`,
    /// `filter_too_old`.
    pub fn read(&self, envelope: &[u8]) -> Result<Authentic, Refusal> {
        let payload = self.open(envelope)?;
        let header = Batch::decode(&payload)?.header;
        self.check_identity(&header)?;
        Ok(Authentic { payload, header, read_under: self.trust.version() })
    }

    /// The header of a batch that could be applied as far as its signature, its identity and the
    /// time say: the leader must not publish what no VM would believe.
    ///
    /// # Errors
    /// Those of [`Gate::read`], `clock_skew`, `expired`.
    pub fn preview(&self, envelope: &[u8], now: Now) -> Result<Header, Refusal> {
        let authentic = self.read(envelope)?;
        self.check_time(&authentic, now)?;
        Ok(authentic.header)
    }

    /// # Errors
    /// `clock_skew`, `expired`.
    pub fn check_time(&self, authentic: &Authentic, now: Now) -> Result<(), Refusal> {
        let header = &authentic.header;
        if header.issued_at > now.unix.plus(MAX_CLOCK_SKEW) {
            return Err(Refusal::new(RefusalCode::ClockSkew, "`issued_at` is in the future"));
        }
        if header.expires_at <= self.time_for_expiry(now) {
            return Err(Refusal::new(RefusalCode::Expired, "the batch has expired"));
        }
        Ok(())
    }

    /// [`Gate::preview`] for the leader, which must not publish what no VM could apply either: the
    /// feed would be asked for what comes after it, and everybody would be known to be behind.
    ///
    /// # Errors
    /// Those of [`Gate::preview`], and `rollback`, `gap` or `poison` where the root, the keys, the
    /// revocations or the digest keep it from being applied. Whether it joins on is not looked at.
    pub fn vouch(&self, envelope: &[u8], now: Now) -> Result<Header, Refusal> {
        let authentic = self.read(envelope)?;
        self.check_time(&authentic, now)?;
        let header = authentic.header;
        if header.root_version > self.trust.version() {
            return Err(Refusal::new(RefusalCode::Gap, ROOT_DID_NOT_COME));
        }
        if let Order::Refused(RefusalCode::Rollback, why) = self.order(&header) {
            return Err(Refusal::new(RefusalCode::Rollback, why));
        }
        if self.newest.is_some_and(|newest| {
            header.position() > newest.position && header.issued_at < newest.issued_at
        }) {
            return Err(Refusal::new(RefusalCode::Rollback, ISSUED_BEFORE));
        }
        let batch = Batch::decode(&authentic.payload)?;
        let same_epoch = self.revocations.is_some()
            && self.newest.is_some_and(|newest| newest.position.epoch == header.epoch);
        if same_epoch || (header.shape() == Shape::Snapshot && header.part == 0) {
            self.stage(&batch)?;
        } else {
            batch.revocations.map(|bytes| exact::<Change>(bytes, "the revocations")).transpose()?;
        }
        if header.parts == 1 {
            check_whole(&header, &[batch.digest()])?;
        }
        Ok(header)
    }

    /// Walks root documents from the pinned keys without taking them; the version reached.
    ///
    /// # Errors
    /// As [`Trust::advance`].
    pub fn check_roots(&self, roots: &[&[u8]], now: UnixSeconds) -> Result<u64, Refusal> {
        let start = self.trust.from_pinned();
        Ok(start.advance(roots, now.max(self.floor))?.version())
    }

    pub(super) fn open(&self, envelope: &[u8]) -> Result<Vec<u8>, Refusal> {
        if envelope.len() > MAX_PART_BYTES {
            return Err(Refusal::new(RefusalCode::Poison, "the batch is over 512 KiB"));
        }
        let verified = Unverified::from_postcard(envelope)?
            .verify(PayloadType::Batch, self.trust.feed_keys())?;
        Ok(verified.into_payload())
    }

    pub(super) fn check_identity(&self, header: &Header) -> Result<(), Refusal> {
        if header.environment != self.settings.environment {
            return Err(Refusal::new(
                RefusalCode::WrongEnvironment,
                "the batch is of another environment",
            ));
        }
        if header.feed_audience != self.settings.feed_audience {
            return Err(Refusal::new(
                RefusalCode::WrongAudience,
                "the batch is for another feed audience",
            ));
        }
        if header.min_filter > crate::FILTER_LEVEL {
            // Not told as `ahead`: a fleet in the middle of an upgrade goes on until it is stale.
            return Err(Refusal::new(
                RefusalCode::FilterTooOld,
                format!(
                    "the batch needs filter level {}, this is {}",
                    header.min_filter,
                    crate::FILTER_LEVEL
                ),
            ));
        }
        Ok(())
    }
}
