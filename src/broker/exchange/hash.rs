//! A hash that is the same on every machine, in every version and after every restart: what it places stays there.

/// FNV-1a of 64 bits, and a mix so that all bits depend on all of the input.
pub fn hash_of(bytes: &[u8]) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    mix(bytes.iter().fold(OFFSET, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME)))
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood 2014): a permutation without visible pattern.
pub fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A number below `n`, as evenly as `hash` is spread.
pub fn below(hash: u64, n: usize) -> usize {
    ((u128::from(hash) * n as u128) >> 64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_never_change() {
        assert_eq!(hash_of(b""), 0xf52a_15e9_a9b5_e89b);
        assert_eq!(hash_of(b"a.key"), hash_of(b"a.key"));
    }

    #[test]
    fn below_covers_the_range() {
        assert_eq!((below(0, 7), below(u64::MAX, 7), below(u64::MAX / 2, 2)), (0, 6, 0));
    }
}
