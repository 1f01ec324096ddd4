//! Hashes of passwords, in RabbitMQ's formats: a salt of four bytes, then the digest of salt and password; as text, in
//! base64. So hashes can be copied from a RabbitMQ definitions file.

use std::fmt;
use std::hint::black_box;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use md5::Md5;
use sha2::{Digest, Sha256, Sha512};

/// How a password is hashed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HashingAlgorithm {
    #[default]
    Sha256,
    Sha512,
    /// What RabbitMQ used before 3.6; only to let in who has not changed the password since.
    Md5,
}

impl HashingAlgorithm {
    pub const ALL: [HashingAlgorithm; 3] = [HashingAlgorithm::Sha256, HashingAlgorithm::Sha512, HashingAlgorithm::Md5];

    /// RabbitMQ's name for it, as definitions have it: `hashing_algorithm`.
    pub fn name(self) -> &'static str {
        match self {
            HashingAlgorithm::Sha256 => "rabbit_password_hashing_sha256",
            HashingAlgorithm::Sha512 => "rabbit_password_hashing_sha512",
            HashingAlgorithm::Md5 => "rabbit_password_hashing_md5",
        }
    }

    pub fn named(name: &str) -> Option<HashingAlgorithm> {
        HashingAlgorithm::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    const fn digest_bytes(self) -> usize {
        match self {
            HashingAlgorithm::Sha256 => 32,
            HashingAlgorithm::Sha512 => 64,
            HashingAlgorithm::Md5 => 16,
        }
    }

    /// Bytes of a hash: salt and digest.
    pub const fn hash_bytes(self) -> usize {
        SALT_BYTES + self.digest_bytes()
    }
}

const SALT_BYTES: usize = 4;
const DIGEST_MAX_BYTES: usize = 64;

/// A salted hash of a password.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PasswordHash {
    algorithm: HashingAlgorithm,
    salt: [u8; SALT_BYTES],
    /// Zeros behind the algorithm's own bytes.
    digest: [u8; DIGEST_MAX_BYTES],
}

impl fmt::Debug for PasswordHash {
    /// Not shown: it need not be in a log to be guessed from.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

impl PasswordHash {
    /// What a hash in text has to be, as it ends the sentence "expected …".
    pub const EXPECTED: &str = "base64 of 36 bytes: a salt of 4 and a SHA-256";

    /// Stands in for the hash of a user who has none: whatever the password, it is hashed and does not match.
    pub const NOBODY: PasswordHash =
        PasswordHash { algorithm: HashingAlgorithm::Sha256, salt: [0; SALT_BYTES], digest: [0; DIGEST_MAX_BYTES] };

    /// Hashes a password with the default algorithm and a fresh random salt.
    pub fn of(password: &[u8]) -> PasswordHash {
        PasswordHash::salted(HashingAlgorithm::default(), rand::random(), password)
    }

    /// Reads a hash of the default algorithm, as [`PasswordHash::encoded`] writes it; `None` if it is no such thing.
    pub fn decode(text: &str) -> Option<PasswordHash> {
        PasswordHash::decode_as(HashingAlgorithm::default(), text)
    }

    /// The same for any algorithm, which the text does not tell.
    pub fn decode_as(algorithm: HashingAlgorithm, text: &str) -> Option<PasswordHash> {
        PasswordHash::from_bytes(algorithm, &BASE64.decode(text).ok()?)
    }

    /// The hash as text, as RabbitMQ writes it in definitions: `password_hash`.
    pub fn encoded(&self) -> String {
        BASE64.encode(self.to_bytes())
    }

    pub fn algorithm(&self) -> HashingAlgorithm {
        self.algorithm
    }

    /// The salt, then the digest: as many bytes as [`HashingAlgorithm::hash_bytes`] says.
    pub fn to_bytes(&self) -> Vec<u8> {
        [&self.salt[..], &self.digest[..self.algorithm.digest_bytes()]].concat()
    }

    /// What [`PasswordHash::to_bytes`] gives; `None` for another number of bytes.
    pub fn from_bytes(algorithm: HashingAlgorithm, bytes: &[u8]) -> Option<PasswordHash> {
        let (salt, digest) = bytes.split_first_chunk()?;
        (digest.len() == algorithm.digest_bytes()).then(|| PasswordHash::new(algorithm, *salt, digest))
    }

    /// Whether it is the hash of this password. Takes the same time for each password of one length.
    pub fn matches(&self, password: &[u8]) -> bool {
        let other = PasswordHash::salted(self.algorithm, self.salt, password);
        let differing = self.digest.iter().zip(&other.digest).fold(0, |bits, (a, b)| black_box(bits | (a ^ b)));
        differing == 0
    }

    fn salted(algorithm: HashingAlgorithm, salt: [u8; SALT_BYTES], password: &[u8]) -> PasswordHash {
        match algorithm {
            HashingAlgorithm::Sha256 => PasswordHash::new(algorithm, salt, &digest::<Sha256>(salt, password)),
            HashingAlgorithm::Sha512 => PasswordHash::new(algorithm, salt, &digest::<Sha512>(salt, password)),
            HashingAlgorithm::Md5 => PasswordHash::new(algorithm, salt, &digest::<Md5>(salt, password)),
        }
    }

    fn new(algorithm: HashingAlgorithm, salt: [u8; SALT_BYTES], bytes: &[u8]) -> PasswordHash {
        let mut digest = [0; DIGEST_MAX_BYTES];
        digest[..bytes.len()].copy_from_slice(bytes);
        PasswordHash { algorithm, salt, digest }
    }
}

fn digest<D: Digest>(salt: [u8; SALT_BYTES], password: &[u8]) -> Vec<u8> {
    D::new().chain_update(salt).chain_update(password).finalize().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_made_by_rabbitmq_matches_its_password() {
        // The worked example of RabbitMQ's documentation on passwords: salt 90 8D C6 0A, password test12.
        let hash = PasswordHash::decode("kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR").unwrap();
        assert!(hash.matches(b"test12"));
        assert!(!hash.matches(b"test13"));
        assert_eq!(hash.encoded(), "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR");
    }

    #[test]
    fn every_algorithm_has_its_length_and_name() {
        for algorithm in HashingAlgorithm::ALL {
            let hash = PasswordHash::salted(algorithm, [1, 2, 3, 4], b"secret");
            assert!(hash.matches(b"secret") && !hash.matches(b"Secret"));
            assert_eq!(hash.to_bytes().len(), algorithm.hash_bytes());
            assert_eq!(PasswordHash::decode_as(algorithm, &hash.encoded()), Some(hash));
            assert_eq!(HashingAlgorithm::named(algorithm.name()), Some(algorithm));
        }
        // The MD5 of "abcde".
        let hash = PasswordHash::salted(HashingAlgorithm::Md5, *b"abcd", b"e");
        assert_eq!(hash.to_bytes()[4..], *b"\xab\x56\xb4\xd9\x2b\x40\x71\x3a\xcc\x5a\xf8\x99\x85\xd4\xb7\x86");
    }

    #[test]
    fn hashes_of_one_password_differ_by_their_salt() {
        assert_ne!(PasswordHash::of(b"x").encoded(), PasswordHash::of(b"x").encoded());
    }

    #[test]
    fn text_that_is_no_hash_is_none() {
        for bad in ["", "AAAA", "not base64!", "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2PORAAAA"] {
            assert!(PasswordHash::decode(bad).is_none(), "{bad:?}");
        }
        let sha256 = PasswordHash::of(b"x").encoded();
        assert!(PasswordHash::decode_as(HashingAlgorithm::Md5, &sha256).is_none());
    }
}
