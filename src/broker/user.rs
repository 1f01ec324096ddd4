//! Users and their passwords.
//!
//! A password is kept only as its hash, in RabbitMQ's format: base64 of a salt of four bytes and the SHA-256 of salt
//! and password, so that hashes can be copied from a RabbitMQ definitions file.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::hint::black_box;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha2::{Digest, Sha256};

/// A user who may log in. Shared by the connections that did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub name: Arc<str>,
    /// Such as `administrator`; AMQP itself asks only for `impersonator` (who may set any `user-id`).
    pub tags: Vec<Arc<str>>,
}

impl User {
    pub fn has_tag(&self, tag: &str) -> bool {
        self.tags.iter().any(|own| &**own == tag)
    }
}

const SALT_BYTES: usize = 4;
const DIGEST_BYTES: usize = 32;

/// Salt and digest.
pub const PASSWORD_HASH_BYTES: usize = SALT_BYTES + DIGEST_BYTES;

/// A salted SHA-256 of a password (RabbitMQ's `rabbit_password_hashing_sha256`).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PasswordHash {
    salt: [u8; SALT_BYTES],
    digest: [u8; DIGEST_BYTES],
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

    /// Hashes a password with a fresh random salt.
    pub fn of(password: &[u8]) -> PasswordHash {
        PasswordHash::salted(rand::random(), password)
    }

    /// Reads the text that [`PasswordHash::encoded`] writes; `None` if it is not a hash of this format.
    pub fn decode(text: &str) -> Option<PasswordHash> {
        let bytes = BASE64.decode(text).ok()?;
        Some(PasswordHash::from_bytes(bytes.try_into().ok()?))
    }

    /// The hash as text, as RabbitMQ writes it in definitions: `password_hash`.
    pub fn encoded(&self) -> String {
        BASE64.encode(self.to_bytes())
    }

    /// The salt, then the digest.
    pub fn to_bytes(&self) -> [u8; PASSWORD_HASH_BYTES] {
        let mut bytes = [0; PASSWORD_HASH_BYTES];
        bytes[..SALT_BYTES].copy_from_slice(&self.salt);
        bytes[SALT_BYTES..].copy_from_slice(&self.digest);
        bytes
    }

    /// What [`PasswordHash::to_bytes`] gives.
    pub fn from_bytes(bytes: [u8; PASSWORD_HASH_BYTES]) -> PasswordHash {
        let (mut salt, mut digest) = ([0; SALT_BYTES], [0; DIGEST_BYTES]);
        salt.copy_from_slice(&bytes[..SALT_BYTES]);
        digest.copy_from_slice(&bytes[SALT_BYTES..]);
        PasswordHash { salt, digest }
    }

    /// Whether it is the hash of this password. Takes the same time for each password of one length.
    pub fn matches(&self, password: &[u8]) -> bool {
        let other = PasswordHash::salted(self.salt, password);
        let differing = self.digest.iter().zip(&other.digest).fold(0, |bits, (a, b)| black_box(bits | (a ^ b)));
        differing == 0
    }

    fn salted(salt: [u8; SALT_BYTES], password: &[u8]) -> PasswordHash {
        let digest = Sha256::new().chain_update(salt).chain_update(password).finalize();
        PasswordHash { salt, digest: digest.into() }
    }
}

/// Why a login was refused. The text is for the broker's log: a client is never told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthFailure {
    /// No such user, or not that password: the two are not told apart.
    #[error("user '{0}' - invalid credentials")]
    InvalidCredentials(String),
    #[error("user '{0}' attempted to log in with a blank password, which is prohibited")]
    BlankPassword(String),
    #[error("user '{0}' can only connect via localhost")]
    LoopbackOnly(String),
}

/// All users, and who of them may connect only from this machine.
#[derive(Default)]
pub struct UserStore {
    accounts: RwLock<HashMap<Arc<str>, Account>>,
    loopback_only: HashSet<String>,
}

#[derive(Clone)]
struct Account {
    user: Arc<User>,
    password: PasswordHash,
}

/// Stands in for the hash of a user who does not exist, so that finding this out takes as long as a wrong password.
const NOBODY: PasswordHash = PasswordHash { salt: [0; SALT_BYTES], digest: [0; DIGEST_BYTES] };

impl UserStore {
    /// A store without users. Those named here, once added, are refused unless they come over loopback.
    pub fn new(loopback_only: impl IntoIterator<Item = String>) -> UserStore {
        UserStore { accounts: RwLock::default(), loopback_only: loopback_only.into_iter().collect() }
    }

    /// Adds a user, or replaces the one of that name. Connections that are open keep the user they have.
    pub fn put(&self, name: impl Into<Arc<str>>, password: PasswordHash, tags: Vec<Arc<str>>) {
        let name = name.into();
        let user = Arc::new(User { name: name.clone(), tags });
        self.accounts.write().unwrap_or_else(PoisonError::into_inner).insert(name, Account { user, password });
    }

    /// The user of that name, without any check.
    pub fn get(&self, name: &str) -> Option<Arc<User>> {
        self.account(name).map(|account| account.user)
    }

    /// The hash of that user's password.
    pub fn password_of(&self, name: &str) -> Option<PasswordHash> {
        self.account(name).map(|account| account.password)
    }

    /// Checks name and password, then whether the user may connect from `peer`, in RabbitMQ's order: the refusal
    /// because of the address shows only to those who know the password. An IPv4 address mapped into IPv6 counts
    /// as the IPv4 address that it is.
    pub fn authenticate(&self, name: &str, password: &[u8], peer: IpAddr) -> Result<Arc<User>, AuthFailure> {
        if password.is_empty() {
            return Err(AuthFailure::BlankPassword(name.to_owned()));
        }
        let account = self.account(name);
        let expected = account.as_ref().map_or(NOBODY, |account| account.password);
        let matches = expected.matches(password);
        let Some(account) = account.filter(|_| matches) else {
            return Err(AuthFailure::InvalidCredentials(name.to_owned()));
        };
        if self.loopback_only.contains(name) && !peer.to_canonical().is_loopback() {
            return Err(AuthFailure::LoopbackOnly(name.to_owned()));
        }
        Ok(account.user)
    }

    fn account(&self, name: &str) -> Option<Account> {
        self.accounts.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn store() -> UserStore {
        let store = UserStore::new(["guest".to_owned()]);
        store.put("guest", PasswordHash::of(b"guest"), vec!["administrator".into()]);
        store.put("alice", PasswordHash::of(b"s3cret"), vec![]);
        store
    }

    #[test]
    fn a_hash_made_by_rabbitmq_matches_its_password() {
        // The worked example of RabbitMQ's documentation on passwords: salt 90 8D C6 0A, password test12.
        let hash = PasswordHash::decode("kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR").unwrap();
        assert!(hash.matches(b"test12"));
        assert!(!hash.matches(b"test13"));
        assert_eq!(hash.encoded(), "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR");
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
    }

    #[test]
    fn the_right_password_gives_the_user_with_its_tags() {
        let user = store().authenticate("guest", b"guest", HERE).unwrap();
        assert_eq!(&*user.name, "guest");
        assert!(user.has_tag("administrator") && !user.has_tag("impersonator"));
    }

    #[test]
    fn wrong_password_and_unknown_user_are_refused_alike() {
        for name in ["alice", "mallory"] {
            let failure = store().authenticate(name, b"wrong", HERE).unwrap_err();
            assert_eq!(failure.to_string(), format!("user '{name}' - invalid credentials"));
        }
    }

    #[test]
    fn a_blank_password_is_refused_even_where_it_is_the_password() {
        let store = store();
        store.put("blank", PasswordHash::of(b""), vec![]);
        for name in ["blank", "mallory"] {
            assert_eq!(store.authenticate(name, b"", HERE), Err(AuthFailure::BlankPassword(name.into())));
        }
    }

    #[test]
    fn loopback_users_are_refused_from_elsewhere_once_their_password_is_right() {
        let store = store();
        let elsewhere = "192.0.2.1".parse().unwrap();
        let failure = store.authenticate("guest", b"guest", elsewhere).unwrap_err();
        assert_eq!(failure.to_string(), "user 'guest' can only connect via localhost");
        let failure = store.authenticate("guest", b"wrong", elsewhere).unwrap_err();
        assert_eq!(failure, AuthFailure::InvalidCredentials("guest".into()));
        assert!(store.authenticate("alice", b"s3cret", elsewhere).is_ok());
    }

    #[test]
    fn every_form_of_loopback_counts() {
        for (peer, allowed) in
            [("127.8.9.1", true), ("::1", true), ("::ffff:127.0.0.1", true), ("::ffff:192.0.2.1", false)]
        {
            assert_eq!(store().authenticate("guest", b"guest", peer.parse().unwrap()).is_ok(), allowed, "{peer}");
        }
    }

    #[test]
    fn putting_a_user_again_replaces_password_and_tags() {
        let store = store();
        store.put("guest", PasswordHash::of(b"new"), vec![]);
        assert!(store.authenticate("guest", b"guest", HERE).is_err());
        assert!(store.authenticate("guest", b"new", HERE).unwrap().tags.is_empty());
    }
}
