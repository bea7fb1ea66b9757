//! The engine's signature check as a Wasm module: the same code, target, features and profile as in
//! the filter, so that a suite can ask it directly. `tests/tests/signatures` builds and runs it.
//!
//! The caller writes key, message and signature, one behind the other, to where [`buffer`] says,
//! and calls [`verify`] with their lengths.

use std::sync::{Mutex, PoisonError};

use gatepass_engine::ed25519::{BaseTable, FixedKey, KeyError, PublicKey};

static INPUT: Mutex<Vec<u8>> = Mutex::new(Vec::new());
/// A table takes far longer than a signature, and suites ask key by key.
static TABLE: Mutex<Option<FixedKey>> = Mutex::new(None);

/// Where `length` bytes of input go; good until the next call.
// SAFETY: no other symbol of the module has this name, which is all that `no_mangle` asks for.
#[unsafe(no_mangle)]
pub extern "C" fn buffer(length: usize) -> *mut u8 {
    let mut input = INPUT.lock().unwrap_or_else(PoisonError::into_inner);
    input.clear();
    input.resize(length, 0);
    input.as_mut_ptr()
}

/// 0: both ways to verify accept; 1: both refuse; 2: only the one without a table accepts; 3: only
/// the one with a table. From 10 on the key is refused, by 20 the signature's length.
// SAFETY: as for `buffer`.
#[unsafe(no_mangle)]
pub extern "C" fn verify(key: usize, message: usize, signature: usize) -> u32 {
    let input = INPUT.lock().unwrap_or_else(PoisonError::into_inner);
    let (key, rest) = input.split_at_checked(key).unwrap_or_default();
    let (message, rest) = rest.split_at_checked(message).unwrap_or_default();
    let signature = rest.get(..signature).unwrap_or_default();
    let key = match PublicKey::from_bytes(key) {
        Ok(key) => key,
        Err(KeyError::Length) => return 10,
        Err(KeyError::NotAPoint) => return 11,
        Err(KeyError::NotCanonical) => return 12,
        Err(KeyError::SmallOrder) => return 13,
        Err(KeyError::MixedOrder) => return 14,
    };
    let Ok(signature) = <[u8; 64]>::try_from(signature) else { return 20 };
    let plain = key.verifies(message, &signature);
    let mut table = TABLE.lock().unwrap_or_else(PoisonError::into_inner);
    let known = table.take().filter(|fixed| *fixed.public() == key);
    let fixed = table.insert(known.unwrap_or_else(|| FixedKey::new(key)));
    match (plain, fixed.verifies(&BaseTable::new(), message, &signature)) {
        (true, true) => 0,
        (false, false) => 1,
        (true, false) => 2,
        (false, true) => 3,
    }
}
