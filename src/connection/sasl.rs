//! SASL: who is at the other end of a connection. PLAIN, AMQPLAIN, and ANONYMOUS where it is configured.
//!
//! All three are done in one step: the response in `connection.start-ok` decides, no `connection.secure` follows.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::broker::user::{AuthFailure, User, UserStore};
use crate::error::{Fault, ReplyCode};

/// An authentication mechanism that the broker knows. Names are compared exactly, as RabbitMQ does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Mechanism {
    /// RFC 4616: `NUL user NUL password`, without an authorization identity.
    Plain,
    /// A field table without its length, with `LOGIN` and `PASSWORD`.
    Amqplain,
    /// RFC 4505: whatever the client sends, it is logged in as one configured user.
    Anonymous,
}

impl Mechanism {
    pub const ALL: [Mechanism; 3] = [Mechanism::Plain, Mechanism::Amqplain, Mechanism::Anonymous];

    pub fn name(self) -> &'static str {
        match self {
            Mechanism::Plain => "PLAIN",
            Mechanism::Amqplain => "AMQPLAIN",
            Mechanism::Anonymous => "ANONYMOUS",
        }
    }
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Mechanism {
    type Err = ();

    fn from_str(name: &str) -> Result<Mechanism, ()> {
        Mechanism::ALL.into_iter().find(|mechanism| mechanism.name() == name).ok_or(())
    }
}

/// The name and password that an anonymous client is logged in with.
#[derive(Clone)]
pub struct AnonymousLogin {
    pub user: String,
    pub password: String,
}

/// Why nobody was logged in. None of these is told to the client in its words: see the variants.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SaslError {
    /// 503; logged, never sent as a frame.
    #[error("unknown authentication mechanism '{0}'")]
    UnknownMechanism(String),
    /// Known, but not offered on this broker: 503; logged, never sent as a frame.
    #[error("invalid authentication mechanism '{0}'")]
    NotOffered(Mechanism),
    /// 502; logged, never sent as a frame. The response itself may hold a password and is not repeated.
    #[error("{0} response invalid: {1}")]
    Malformed(Mechanism, &'static str),
    /// 403; the reason is for the log, a client that announced `authentication_failure_close` gets a general text.
    #[error("{mechanism} login refused: {reason}")]
    Refused { mechanism: Mechanism, reason: AuthFailure },
}

impl SaslError {
    /// The error for `connection.close`, with the text that a client may see.
    pub fn fault(&self) -> Fault {
        match self {
            SaslError::UnknownMechanism(_) | SaslError::NotOffered(_) => {
                Fault::connection(ReplyCode::CommandInvalid, self.to_string())
            }
            SaslError::Malformed(..) => Fault::connection(ReplyCode::SyntaxError, self.to_string()),
            SaslError::Refused { mechanism, .. } => Fault::connection(
                ReplyCode::AccessRefused,
                format!(
                    "Login was refused using authentication mechanism {mechanism}. For details see the broker logfile."
                ),
            ),
        }
    }
}

/// The mechanisms that the broker offers.
#[derive(Clone)]
pub struct Sasl {
    offered: Vec<Mechanism>,
    anonymous: Option<AnonymousLogin>,
}

impl Sasl {
    /// Offers these mechanisms in this order; ANONYMOUS only with a login for it.
    pub fn new(mechanisms: &[Mechanism], anonymous: Option<AnonymousLogin>) -> Sasl {
        let usable = |mechanism: &Mechanism| *mechanism != Mechanism::Anonymous || anonymous.is_some();
        Sasl { offered: mechanisms.iter().copied().filter(usable).collect(), anonymous }
    }

    /// The `mechanisms` of `connection.start`: names separated by spaces.
    pub fn advertised(&self) -> String {
        self.offered.iter().map(|mechanism| mechanism.name()).collect::<Vec<_>>().join(" ")
    }

    /// Answers a `connection.start-ok`: the user who has logged in, or why not.
    pub fn respond(
        &self,
        mechanism: &str,
        response: &[u8],
        users: &UserStore,
        peer: IpAddr,
    ) -> Result<Arc<User>, SaslError> {
        let Ok(known) = mechanism.parse::<Mechanism>() else {
            return Err(SaslError::UnknownMechanism(mechanism.to_owned()));
        };
        if !self.offered.contains(&known) {
            return Err(SaslError::NotOffered(known));
        }
        let (name, password) = match (known, &self.anonymous) {
            (Mechanism::Plain, _) => plain_credentials(response)?,
            (Mechanism::Amqplain, _) => amqplain_credentials(response)?,
            (Mechanism::Anonymous, Some(login)) => (login.user.as_bytes(), login.password.as_bytes()),
            (Mechanism::Anonymous, None) => return Err(SaslError::NotOffered(known)),
        };
        let answer = match str::from_utf8(name) {
            Ok(name) => users.authenticate(name, password, peer),
            Err(_) => Err(AuthFailure::InvalidCredentials(String::from_utf8_lossy(name).into_owned())),
        };
        answer.map_err(|reason| SaslError::Refused { mechanism: known, reason })
    }
}

/// Name and password, as they came.
type Credentials<'a> = (&'a [u8], &'a [u8]);

/// Exactly two elements, each after a NUL. An authorization identity before the first one is refused, as RabbitMQ
/// does: it would ask to act as somebody else.
fn plain_credentials(response: &[u8]) -> Result<Credentials<'_>, SaslError> {
    let mut elements = response.split(|byte| *byte == 0);
    match (elements.next(), elements.next(), elements.next(), elements.next()) {
        (Some([]), Some(name), Some(password), None) => Ok((name, password)),
        _ => Err(SaslError::Malformed(Mechanism::Plain, "expected NUL, user, NUL, password")),
    }
}

fn amqplain_credentials(response: &[u8]) -> Result<Credentials<'_>, SaslError> {
    let malformed = |why| SaslError::Malformed(Mechanism::Amqplain, why);
    let (mut login, mut password) = (None, None);
    let mut rest = response;
    while !rest.is_empty() {
        let entry = take_entry(&mut rest).ok_or_else(|| malformed("not a field table"))?;
        match entry.name {
            b"LOGIN" if login.is_none() => login = Some(entry),
            b"PASSWORD" if password.is_none() => password = Some(entry),
            _ => {}
        }
    }
    let (Some(login), Some(password)) = (login, password) else {
        return Err(malformed("LOGIN or PASSWORD field is missing"));
    };
    if !login.is_text() || !password.is_text() {
        return Err(malformed("unsupported type for LOGIN or PASSWORD field"));
    }
    Ok((login.value, password.value))
}

/// One entry of a field table, its value not looked into: nesting costs nothing here.
struct Entry<'a> {
    name: &'a [u8],
    tag: u8,
    value: &'a [u8],
}

impl Entry<'_> {
    /// Whether the value is a long string or a byte array.
    fn is_text(&self) -> bool {
        matches!(self.tag, b'S' | b'x')
    }
}

/// Takes the next entry off a field table's bytes; `None` if they are no such thing.
fn take_entry<'a>(rest: &mut &'a [u8]) -> Option<Entry<'a>> {
    let name_bytes = usize::from(*rest.split_off_first()?);
    let name = rest.split_off(..name_bytes)?;
    let tag = *rest.split_off_first()?;
    let value_bytes = match tag {
        b'V' => 0,
        b't' | b'b' | b'B' => 1,
        b's' | b'u' => 2,
        b'I' | b'i' | b'f' => 4,
        b'D' => 5,
        b'l' | b'L' | b'd' | b'T' => 8,
        b'S' | b'x' | b'F' | b'A' => {
            let length = rest.split_off(..4)?;
            usize::try_from(u32::from_be_bytes(length.try_into().ok()?)).ok()?
        }
        _ => return None,
    };
    Some(Entry { name, tag, value: rest.split_off(..value_bytes)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::user::{PasswordHash, UserDefinition};

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const PLAIN_ANSWER: &[u8] = b"\0guest\0guest";

    fn users() -> UserStore {
        let users = UserStore::new(["guest".to_owned()]);
        users.put(UserDefinition::new("guest", PasswordHash::of(b"guest"), Vec::new()));
        users
    }

    fn sasl(mechanisms: &[Mechanism]) -> Sasl {
        let login = AnonymousLogin { user: "guest".into(), password: "guest".into() };
        Sasl::new(mechanisms, Some(login))
    }

    fn respond(mechanism: &str, response: &[u8]) -> Result<Arc<User>, SaslError> {
        sasl(&[Mechanism::Plain, Mechanism::Amqplain]).respond(mechanism, response, &users(), HERE)
    }

    /// A table entry of a type with a length.
    fn entry(name: &str, tag: u8, value: &[u8]) -> Vec<u8> {
        let mut bytes = vec![name.len() as u8];
        bytes.extend_from_slice(name.as_bytes());
        bytes.push(tag);
        bytes.extend_from_slice(&(value.len() as u32).to_be_bytes());
        bytes.extend_from_slice(value);
        bytes
    }

    #[test]
    fn advertises_what_is_configured_in_that_order() {
        assert_eq!(sasl(&[Mechanism::Plain, Mechanism::Amqplain]).advertised(), "PLAIN AMQPLAIN");
        assert_eq!(sasl(&[Mechanism::Anonymous, Mechanism::Plain]).advertised(), "ANONYMOUS PLAIN");
        assert_eq!(Sasl::new(&[Mechanism::Plain, Mechanism::Anonymous], None).advertised(), "PLAIN");
    }

    #[test]
    fn plain_logs_in() {
        assert_eq!(&*respond("PLAIN", PLAIN_ANSWER).unwrap().name, "guest");
    }

    #[test]
    fn plain_is_two_elements_each_after_a_nul() {
        for bad in
            [&b""[..], b"guest", b"\0guest", b"guest\0guest", b"x\0guest\0guest", b"\0guest\0guest\0", b"\0a\0b\0c"]
        {
            let error = respond("PLAIN", bad).unwrap_err();
            assert_eq!(error.fault().code, ReplyCode::SyntaxError, "{bad:?}");
        }
    }

    #[test]
    fn a_blank_password_is_refused_not_malformed() {
        let error = respond("PLAIN", b"\0guest\0").unwrap_err();
        assert!(matches!(error, SaslError::Refused { reason: AuthFailure::BlankPassword(_), .. }));
    }

    #[test]
    fn amqplain_takes_long_strings_and_byte_arrays_among_other_fields() {
        for (login_tag, password_tag) in [(b'S', b'S'), (b'x', b'S'), (b'x', b'x')] {
            let table = [
                vec![4, b'f', b'l', b'a', b'g', b't', 1],
                entry("nested", b'F', &entry("deeper", b'A', b"whatever")),
                entry("LOGIN", login_tag, b"guest"),
                entry("PASSWORD", password_tag, b"guest"),
            ];
            assert_eq!(&*respond("AMQPLAIN", &table.concat()).unwrap().name, "guest");
        }
    }

    #[test]
    fn amqplain_without_both_fields_or_with_a_broken_table_is_malformed() {
        let login = entry("LOGIN", b'S', b"guest");
        let number = [8, b'P', b'A', b'S', b'S', b'W', b'O', b'R', b'D', b'I', 0, 0, 0, 1];
        let lying = [
            entry("LOGIN", b'S', b"guest"),
            vec![8, b'P', b'A', b'S', b'S', b'W', b'O', b'R', b'D', b'S', 255, 255, 255, 255],
        ];
        let unknown_tag = entry("LOGIN", b'?', b"guest");
        let cases = [
            (Vec::new(), "AMQPLAIN response invalid: LOGIN or PASSWORD field is missing"),
            (login.clone(), "AMQPLAIN response invalid: LOGIN or PASSWORD field is missing"),
            ([&login[..], &number].concat(), "AMQPLAIN response invalid: unsupported type for LOGIN or PASSWORD field"),
            (lying.concat(), "AMQPLAIN response invalid: not a field table"),
            (unknown_tag, "AMQPLAIN response invalid: not a field table"),
            (login[..7].to_vec(), "AMQPLAIN response invalid: not a field table"),
        ];
        for (response, text) in cases {
            let error = respond("AMQPLAIN", &response).unwrap_err();
            assert_eq!(error.fault().reply_text(), format!("SYNTAX_ERROR - {text}"));
        }
    }

    #[test]
    fn no_prefix_of_a_good_answer_panics() {
        let table = [entry("LOGIN", b'S', b"guest"), entry("PASSWORD", b'S', b"guest")].concat();
        for end in 0..table.len() {
            assert!(respond("AMQPLAIN", &table[..end]).is_err(), "{end}");
        }
    }

    #[test]
    fn refusals_tell_the_log_why_and_the_client_nothing() {
        let error = respond("PLAIN", b"\0guest\0wrong").unwrap_err();
        assert_eq!(error.to_string(), "PLAIN login refused: user 'guest' - invalid credentials");
        assert_eq!(
            error.fault().reply_text(),
            "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker logfile."
        );
    }

    #[test]
    fn a_name_that_is_not_utf8_is_nobody() {
        assert!(matches!(respond("PLAIN", b"\0\xff\0guest"), Err(SaslError::Refused { .. })));
    }

    #[test]
    fn unknown_and_unoffered_mechanisms_are_503() {
        for (mechanism, text) in [
            ("EXTERNAL", "COMMAND_INVALID - unknown authentication mechanism 'EXTERNAL'"),
            ("plain", "COMMAND_INVALID - unknown authentication mechanism 'plain'"),
            ("ANONYMOUS", "COMMAND_INVALID - invalid authentication mechanism 'ANONYMOUS'"),
        ] {
            assert_eq!(respond(mechanism, PLAIN_ANSWER).unwrap_err().fault().reply_text(), text);
        }
    }

    #[test]
    fn anonymous_logs_in_as_its_user_with_all_its_checks() {
        let sasl = sasl(&[Mechanism::Anonymous]);
        assert_eq!(&*sasl.respond("ANONYMOUS", b"trace@example.org", &users(), HERE).unwrap().name, "guest");
        let refused = sasl.respond("ANONYMOUS", b"", &users(), "192.0.2.1".parse().unwrap()).unwrap_err();
        assert_eq!(refused.to_string(), "ANONYMOUS login refused: user 'guest' can only connect via localhost");
    }
}
