//! Places for connections: so many in all, and so many for one address, so that one host that has
//! gone wrong cannot keep the others out.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The places of one listener.
pub(super) struct Places {
    all: Arc<Semaphore>,
    most_of_one: usize,
    taken: Mutex<HashMap<IpAddr, usize>>,
}

/// One of all places, before it is known who comes.
pub(super) struct Open {
    _permit: OwnedSemaphorePermit,
}

/// A place that an address has; given back when dropped.
pub(super) struct Place {
    places: Arc<Places>,
    origin: Option<IpAddr>,
    _open: Open,
}

impl Places {
    pub(super) fn new(all: usize, most_of_one: usize) -> Arc<Self> {
        let taken = Mutex::new(HashMap::new());
        Arc::new(Self { all: Arc::new(Semaphore::new(all)), most_of_one, taken })
    }

    /// Waits for one of all places.
    pub(super) async fn open(&self) -> Option<Open> {
        let _permit = Arc::clone(&self.all).acquire_owned().await.ok()?;
        Some(Open { _permit })
    }

    /// `None` when the address has as many as one may have.
    pub(super) fn take(self: &Arc<Self>, open: Open, address: IpAddr) -> Option<Place> {
        let origin = origin(address);
        if let Some(origin) = origin {
            let mut taken = self.taken();
            let count = taken.get(&origin).copied().unwrap_or(0);
            if count >= self.most_of_one {
                return None;
            }
            taken.insert(origin, count.saturating_add(1));
        }
        Some(Place { places: Arc::clone(self), origin, _open: open })
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        // INVARIANT: each use changes one entry at once, so a panic leaves nothing half-changed.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(origin) = self.origin else {
            return;
        };
        let mut taken = self.places.taken();
        let left = taken.get(&origin).copied().unwrap_or(0).saturating_sub(1);
        if left == 0 {
            taken.remove(&origin);
        } else {
            taken.insert(origin, left);
        }
    }
}

/// What counts as one: an IPv4 address, or the /64 that one host of IPv6 has to itself. `None` on
/// loopback, where a proxy speaks for many.
fn origin(address: IpAddr) -> Option<IpAddr> {
    match address.to_canonical() {
        address if address.is_loopback() => None,
        IpAddr::V4(address) => Some(address.into()),
        IpAddr::V6(address) => {
            let network = u128::from(address) & !u128::from(u64::MAX);
            Some(std::net::Ipv6Addr::from(network).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn take(places: &Arc<Places>, address: &str) -> Option<Place> {
        places.take(places.open().await.unwrap(), address.parse().unwrap())
    }

    #[tokio::test]
    async fn one_address_has_only_so_many_places() {
        let places = Places::new(9, 2);
        let first = take(&places, "192.0.2.1").await.unwrap();
        let _second = take(&places, "::ffff:192.0.2.1").await.unwrap();
        assert!(take(&places, "192.0.2.1").await.is_none());
        let _other = take(&places, "192.0.2.2").await.unwrap();
        drop(first);
        let _again = take(&places, "192.0.2.1").await.unwrap();
        assert!(take(&places, "192.0.2.1").await.is_none());
    }

    #[tokio::test]
    async fn a_host_of_ipv6_is_its_network_and_loopback_is_nobody() {
        let places = Places::new(9, 1);
        let _first = take(&places, "2001:db8::1").await.unwrap();
        assert!(take(&places, "2001:db8::2").await.is_none());
        let _other = take(&places, "2001:db8:0:1::1").await.unwrap();
        for address in ["127.0.0.1", "::1", "127.0.0.1"] {
            drop(take(&places, address).await.unwrap());
        }
        let _both = [take(&places, "::1").await.unwrap(), take(&places, "::1").await.unwrap()];
    }

    #[tokio::test]
    async fn what_is_given_back_leaves_nothing_behind() {
        let places = Places::new(1, 1);
        drop(take(&places, "192.0.2.1").await.unwrap());
        // Refused ones give theirs back too: there is one in all.
        let held = take(&places, "192.0.2.1").await.unwrap();
        drop(held);
        assert!(places.taken().is_empty());
        assert_eq!(places.all.available_permits(), 1);
    }
}
