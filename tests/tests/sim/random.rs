//! The only source of chance: the same numbers for the same seed.

/// Splitmix64.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A generator of its own: what one part draws does not move what another will draw.
    pub(crate) fn fork(&mut self) -> Self {
        Self(self.next())
    }

    /// 0 to `end` - 1; 0 where there is nothing to choose from.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next().checked_rem(end).unwrap_or(0)
    }

    /// Both ends included.
    pub(crate) fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.below(to - from + 1)
    }

    pub(crate) fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }

    /// Between both ends, each order of magnitude as likely as another.
    pub(crate) fn of_any_size(&mut self, from: u64, to: u64) -> u64 {
        let (low, high) = ((from as f64).ln(), (to as f64).ln());
        let part = self.below(1 << 20) as f64 / f64::from(1 << 20);
        (low + (high - low) * part).exp() as u64
    }

    /// The time until something that happens every `mean` on the average, and at any time equally likely.
    pub(crate) fn until_next(&mut self, mean: u64) -> u64 {
        let part = (self.below(1 << 20) + 1) as f64 / f64::from(1 << 20);
        (-part.ln() * mean as f64) as u64 + 1
    }

    pub(crate) fn index(&mut self, length: usize) -> usize {
        self.below(length as u64) as usize
    }

    pub(crate) fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.index(from.len())].clone()
    }
}
