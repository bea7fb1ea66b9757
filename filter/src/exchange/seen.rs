//! What a VM finds of an envelope in the log, and remembers of it.

use gatepass_engine::Gate;
use gatepass_engine::batch::Header;
use gatepass_engine::clock::{Now, UnixSeconds};
use gatepass_engine::gate::Authentic;
use gatepass_engine::position::Position;
use gatepass_engine::refusal::RefusalCode;

use super::Checked;

/// What this VM found of an envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// Its signature and identity are right.
    Verified {
        position: Position,
        issued_at: UnixSeconds,
        expires_at: UnixSeconds,
        /// The gate has taken it, or has found that it never will.
        settled: bool,
    },
    /// It is none that this gate would ever take.
    Refused,
}

impl Seen {
    pub(super) const fn of(header: &Header) -> Self {
        Self::Verified {
            position: header.position(),
            issued_at: header.issued_at,
            expires_at: header.expires_at,
            settled: false,
        }
    }

    pub(super) const fn settled(self) -> Self {
        match self {
            Self::Verified { position, issued_at, expires_at, .. } => {
                Self::Verified { position, issued_at, expires_at, settled: true }
            }
            Self::Refused => Self::Refused,
        }
    }

    pub(super) const fn is_settled(self) -> bool {
        match self {
            Self::Verified { settled, .. } => settled,
            Self::Refused => true,
        }
    }
}

/// Verifies an envelope. `None`: not usable now, perhaps later (a clock that is behind).
/// `Some(None)`: it is none that this gate would ever take.
pub(super) fn inspect(
    gate: &mut Gate,
    bytes: &[u8],
    now: Now,
    checked: &mut Checked,
) -> Option<Option<Authentic>> {
    let read = gate.read(bytes).and_then(|batch| {
        let timely = gate.check_time(&batch, now);
        if timely.as_ref().is_err_and(|refusal| refusal.code == RefusalCode::ClockSkew) {
            // It is ours, and another VM may have taken it before the clock was set back.
            gate.fall_behind(batch.header().position());
        }
        timely.map(|()| batch)
    });
    match read {
        Ok(authentic) => Some(Some(authentic)),
        Err(refusal) => {
            let forged = matches!(
                refusal.code,
                RefusalCode::BadSignature
                    | RefusalCode::BadPayloadType
                    | RefusalCode::Poison
                    | RefusalCode::WrongEnvironment
                    | RefusalCode::WrongAudience
            );
            let passing = refusal.code == RefusalCode::ClockSkew;
            if forged {
                checked.forged = checked.forged.saturating_add(1);
            }
            checked.refusals.push(refusal);
            if passing { None } else { Some(None) }
        }
    }
}
