//! A fast hash for tables and guesses of our own. Whoever can make two texts meet makes us look twice, and no more:
//! what an attacker must not steer is hashed with a key ([`crate::revocation::HashKey`]).

/// Eight bytes at a time.
#[must_use]
pub(crate) fn fold(bytes: &[u8], seed: u64) -> u64 {
    let mut state = seed ^ bytes.len() as u64;
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        state = (state ^ u64::from_le_bytes(*word)).wrapping_mul(ODD).rotate_left(29);
    }
    if rest.is_empty() {
        return state;
    }
    // Their number is in the state, so none of them is taken for another's zero.
    let last = rest.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
    (state ^ last).wrapping_mul(ODD).rotate_left(29)
}

/// Whether two texts are the same. Comparing slices calls `memcmp`, which in Wasm is slower: a decision by rules takes
/// 5 % longer with it in V8, and no less natively.
#[inline]
#[must_use]
pub(crate) fn same(one: &str, other: &str) -> bool {
    same_bytes(one.as_bytes(), other.as_bytes())
}

#[inline]
#[must_use]
pub(crate) fn same_bytes(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    let (words, rest) = one.as_chunks::<8>();
    let (others, others_rest) = other.as_chunks::<8>();
    let mut words = words.iter().zip(others);
    let number = |word: &[u8; 8]| u64::from_le_bytes(*word);
    words.all(|(one, other)| number(one) == number(other))
        && rest.iter().zip(others_rest).all(|(one, other)| one == other)
}

/// The fraction of the golden ratio.
const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
