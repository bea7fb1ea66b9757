//! The name under which an Envoy stands in the fleet: one for all of its VMs and for as long as the
//! process runs, so that a new leader is no second entry. It identifies nobody; the feed's
//! connection does that.

use crate::lease::VmId;
use crate::shared::{SharedData, When};

/// What the first VM drew, as 16 hexadecimal digits. `own` is offered where there is none yet, and
/// where another plugin has written what is no name.
pub fn name(data: &mut impl SharedData, key: &str, own: VmId) -> String {
    for _ in 0..MAX_TRIES {
        let when = match data.read(key) {
            None => When::Missing,
            Some((bytes, number)) => match <[u8; 8]>::try_from(bytes.as_slice()) {
                Ok(bytes) => return text(u64::from_le_bytes(bytes)),
                Err(_) => When::Still(number),
            },
        };
        if data.write(key, &own.0.to_le_bytes(), when).is_ok() {
            break;
        }
    }
    text(own.0)
}

fn text(name: u64) -> String {
    format!("{name:016x}")
}

/// Whoever wrote first in between has most likely written a name.
const MAX_TRIES: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::fake::Fake;

    #[test]
    fn every_vm_says_what_the_first_one_drew() {
        let mut data = Fake::default();
        let first = name(&mut data, "node", VmId(7));
        assert_eq!(first, "0000000000000007");
        assert_eq!(name(&mut data, "node", VmId(8)), first);
        // Another process is another Envoy.
        assert_ne!(name(&mut Fake::default(), "node", VmId(8)), first);
    }

    #[test]
    fn what_is_no_name_is_replaced() {
        for forged in [vec![], vec![1; 7], vec![1; 9]] {
            let mut data = Fake::default();
            data.write("node", &forged, When::Always).unwrap();
            assert_eq!(name(&mut data, "node", VmId(9)), "0000000000000009");
            assert_eq!(name(&mut data, "node", VmId(1)), "0000000000000009");
        }
    }
}
