//! Users: who may log in, and how much of the broker each may use.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};

pub use super::password::PasswordHash;
pub use super::quota::UserLimits;
use super::quota::{ConnectionSlot, Quota};

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

/// A user as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserDefinition {
    pub name: Arc<str>,
    /// Without one, nobody logs in with a password.
    pub password: Option<PasswordHash>,
    pub tags: Vec<Arc<str>>,
    pub limits: UserLimits,
}

impl UserDefinition {
    pub fn new(name: impl Into<Arc<str>>, password: PasswordHash, tags: Vec<Arc<str>>) -> UserDefinition {
        UserDefinition { name: name.into(), password: Some(password), tags, limits: UserLimits::default() }
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
    password: Option<PasswordHash>,
    limits: UserLimits,
    quota: Arc<Quota>,
}

impl Account {
    fn definition(&self) -> UserDefinition {
        UserDefinition {
            name: self.user.name.clone(),
            password: self.password,
            tags: self.user.tags.clone(),
            limits: self.limits,
        }
    }
}

impl UserStore {
    /// A store without users. Those named here, once added, are refused unless they come over loopback.
    pub fn new(loopback_only: impl IntoIterator<Item = String>) -> UserStore {
        UserStore { accounts: RwLock::default(), loopback_only: loopback_only.into_iter().collect() }
    }

    /// Adds a user, or replaces the one of that name. Connections that are open keep the tags they have; limits are
    /// in force at once for what they open.
    pub fn put(&self, definition: UserDefinition) {
        let UserDefinition { name, password, tags, limits } = definition;
        let mut accounts = self.accounts.write().unwrap_or_else(PoisonError::into_inner);
        let quota = accounts.get(&name).map(|known| known.quota.clone()).unwrap_or_default();
        quota.set_limits(limits);
        let user = Arc::new(User { name: name.clone(), tags });
        accounts.insert(name, Account { user, password, limits, quota });
    }

    /// Returns whether there was such a user.
    pub fn remove(&self, name: &str) -> bool {
        self.accounts.write().unwrap_or_else(PoisonError::into_inner).remove(name).is_some()
    }

    /// The user of that name, without any check.
    pub fn get(&self, name: &str) -> Option<Arc<User>> {
        self.account(name).map(|account| account.user)
    }

    /// The user of that name as it is kept.
    pub fn definition(&self, name: &str) -> Option<UserDefinition> {
        self.account(name).map(|account| account.definition())
    }

    /// All users, by name.
    pub fn definitions(&self) -> Vec<UserDefinition> {
        let accounts = self.accounts.read().unwrap_or_else(PoisonError::into_inner);
        let mut users: Vec<UserDefinition> = accounts.values().map(Account::definition).collect();
        users.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        users
    }

    /// Checks name and password, as [`authenticate`](UserStore::authenticate) does, wherever the user is.
    pub fn check_password(&self, name: &str, password: &[u8]) -> Result<Arc<User>, AuthFailure> {
        if password.is_empty() {
            return Err(AuthFailure::BlankPassword(name.to_owned()));
        }
        let account = self.account(name);
        let expected = account.as_ref().and_then(|account| account.password).unwrap_or(PasswordHash::NOBODY);
        // Who does not exist, or has no password, is found out in the same time.
        let matches = expected.matches(password) && expected != PasswordHash::NOBODY;
        match account {
            Some(account) if matches => Ok(account.user),
            _ => Err(AuthFailure::InvalidCredentials(name.to_owned())),
        }
    }

    /// Checks name and password, then whether the user may connect from `peer`, in RabbitMQ's order: the refusal
    /// because of the address shows only to those who know the password. An IPv4 address mapped into IPv6 counts
    /// as the IPv4 address that it is.
    pub fn authenticate(&self, name: &str, password: &[u8], peer: IpAddr) -> Result<Arc<User>, AuthFailure> {
        let user = self.check_password(name, password)?;
        if self.loopback_only.contains(name) && !peer.to_canonical().is_loopback() {
            return Err(AuthFailure::LoopbackOnly(name.to_owned()));
        }
        Ok(user)
    }

    /// Takes one of the connections that the user may have; `None` if the user has been deleted.
    ///
    /// # Errors
    /// If the user has as many as it may, which is the number.
    pub fn connect(&self, name: &str) -> Option<Result<ConnectionSlot, i64>> {
        self.account(name).map(|account| account.quota.connect())
    }

    /// Whether this is a connection of the user of that name: not of one who had the name before.
    pub fn knows(&self, name: &str, slot: &ConnectionSlot) -> bool {
        self.account(name).is_some_and(|account| slot.is_of(&account.quota))
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
        store.put(UserDefinition::new("guest", PasswordHash::of(b"guest"), vec!["administrator".into()]));
        store.put(UserDefinition::new("alice", PasswordHash::of(b"s3cret"), vec![]));
        store
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
        store.put(UserDefinition::new("blank", PasswordHash::of(b""), vec![]));
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
        store.put(UserDefinition::new("guest", PasswordHash::of(b"new"), vec![]));
        assert!(store.authenticate("guest", b"guest", HERE).is_err());
        assert!(store.authenticate("guest", b"new", HERE).unwrap().tags.is_empty());
    }

    #[test]
    fn without_a_password_nobody_logs_in() {
        let store = store();
        let definition = UserDefinition { password: None, ..store.definition("alice").unwrap() };
        store.put(definition);
        for password in ["s3cret", "\0"] {
            let failure = store.check_password("alice", password.as_bytes()).unwrap_err();
            assert_eq!(failure, AuthFailure::InvalidCredentials("alice".into()));
        }
    }

    #[test]
    fn a_deleted_user_is_unknown_and_one_of_its_name_another() {
        let store = store();
        let slot = store.connect("alice").unwrap().unwrap();
        assert!(store.knows("alice", &slot));
        assert!(store.remove("alice") && !store.remove("alice"));
        assert!(store.connect("alice").is_none() && !store.knows("alice", &slot));
        store.put(UserDefinition::new("alice", PasswordHash::of(b"x"), vec![]));
        assert!(!store.knows("alice", &slot));
    }
}
