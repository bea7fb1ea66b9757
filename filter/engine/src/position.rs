//! The feed's position. Revocation compares positions, so no clock takes part in it.

use core::fmt;

use serde::{Deserialize, Serialize};

/// (epoch, sequence), strictly increasing per environment. In a gatepass: `"seq":[epoch,sequence]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Position {
    pub epoch: u64,
    pub sequence: u64,
}

impl fmt::Display for Position {
    /// `<epoch>.<sequence>`, the form of the feed's `after=` parameter.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.sequence)
    }
}

impl core::str::FromStr for Position {
    type Err = ParsePositionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (epoch, sequence) = text.split_once('.').ok_or(ParsePositionError)?;
        let number = |part: &str| part.parse().map_err(|_| ParsePositionError);
        Ok(Self { epoch: number(epoch)?, sequence: number(sequence)? })
    }
}

/// The text is not `<epoch>.<sequence>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a position is written `<epoch>.<sequence>`, both decimal numbers")]
pub struct ParsePositionError;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_epoch_is_ahead_whatever_the_sequence() {
        let old = Position { epoch: 1, sequence: 900 };
        let new = Position { epoch: 2, sequence: 1 };
        assert!(new > old);
    }

    #[test]
    fn what_is_printed_is_parsed() {
        let position = Position { epoch: 1_700_000_000, sequence: 7 };
        assert_eq!(position.to_string().parse(), Ok(position));
        for bad in ["", "1", "1.", ".1", "1.2.3", "-1.2", "a.b"] {
            assert_eq!(bad.parse::<Position>(), Err(ParsePositionError), "{bad}");
        }
    }
}
