//! An address, or a range of them.

use core::net::IpAddr;

use serde::{Deserialize, Serialize};

/// An address with the length of its prefix: 32 or 128 for one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Net {
    address: IpAddr,
    prefix: u8,
}

impl Net {
    /// `None` for a prefix that is longer than the address.
    #[must_use]
    pub const fn new(address: IpAddr, prefix: u8) -> Option<Self> {
        if prefix > bits(address) { None } else { Some(Self { address, prefix }) }
    }

    /// One address.
    #[must_use]
    pub const fn of(address: IpAddr) -> Self {
        Self { address, prefix: bits(address) }
    }

    pub(super) const fn is_sound(&self) -> bool {
        self.prefix <= bits(self.address)
    }

    pub(super) const fn is_ipv4(&self) -> bool {
        self.address.is_ipv4()
    }

    /// All of it is loopback: `127.0.0.0/8`, `::1`.
    pub(super) fn is_loopback(&self) -> bool {
        self.address.is_loopback() && self.prefix >= if self.is_ipv4() { 8 } else { 128 }
    }

    /// All of it is multicast: `224.0.0.0/4`, `ff00::/8`.
    pub(super) fn is_multicast(&self) -> bool {
        self.address.is_multicast() && self.prefix >= if self.is_ipv4() { 4 } else { 8 }
    }

    /// All of it lies in the other; never across versions.
    pub(super) fn is_in(&self, other: &Self) -> bool {
        self.is_ipv4() == other.is_ipv4() && {
            let (first, last) = self.range();
            let (lowest, highest) = other.range();
            lowest <= first && last <= highest
        }
    }

    /// The first and the last address.
    fn range(&self) -> (u128, u128) {
        let (number, host) = match self.address {
            IpAddr::V4(address) => {
                let free = u32::from(32_u8.saturating_sub(self.prefix));
                (u128::from(u32::from(address)), ones(free))
            }
            IpAddr::V6(address) => {
                let free = u32::from(128_u8.saturating_sub(self.prefix));
                (u128::from(address), ones(free))
            }
        };
        (number & !host, number | host)
    }
}

/// So many ones at the end.
fn ones(bits: u32) -> u128 {
    match bits {
        0 => 0,
        bits => u128::MAX >> 128_u32.saturating_sub(bits),
    }
}

const fn bits(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}
