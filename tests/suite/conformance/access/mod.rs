//! Section 4: users, virtual hosts and permissions, with RabbitMQ's refusals.

mod limits;
mod methods;
mod topics;
mod users;
mod vhosts;

/// `ACCESS_REFUSED`.
const REFUSED: u16 = 403;
const FORCED: u16 = 320;
const NOT_ALLOWED: u16 = 530;

/// The text for a user called `u` in `/`.
fn refused(what: &str) -> String {
    format!("ACCESS_REFUSED - access to {what} in vhost '/' refused for user 'u'")
}
