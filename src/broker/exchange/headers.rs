//! Headers exchanges: a binding's arguments are compared with the headers of the message.
//!
//! `x-match` says how: `all` (also if absent) wants every argument to match, `any` at least one; both leave out
//! arguments whose names begin with `x-`, which `all-with-x` and `any-with-x` include. An argument matches if the
//! header has the same value, whatever the types' widths, or, if it is void, if the header is there at all.
//! (AMQP 0-9-1 specification 3.1.3.4; the last two forms are RabbitMQ's.)

#[cfg(test)]
mod tests;

use std::sync::Arc;

use amq_protocol::types::{AMQPValue, FieldTable, ShortString};

use crate::broker::arguments::{Term, same_value, type_name};
use crate::broker::binding::{Binding, FromSource};
use crate::error::Fault;

#[derive(Default)]
pub struct Headers {
    bindings: FromSource,
    /// How each of `bindings` matches, at the same place.
    forms: Vec<XMatch>,
}

#[derive(Clone, Copy)]
struct XMatch {
    any: bool,
    with_x: bool,
}

impl Headers {
    pub fn insert(&mut self, binding: Arc<Binding>) {
        self.forms.push(XMatch::of(&binding.arguments).expect("arguments are validated before they are bound"));
        self.bindings.push(binding);
    }

    pub fn remove(&mut self, binding: &Binding) {
        let place = self.bindings.remove(binding);
        self.forms.swap_remove(place);
    }

    pub fn is_empty(&self) -> bool {
        self.forms.is_empty()
    }

    pub fn matches<'a>(&'a self, headers: &'a FieldTable) -> impl Iterator<Item = &'a Arc<Binding>> {
        let bindings = self.bindings.as_slice().iter().zip(&self.forms);
        bindings.filter(|(binding, form)| form.matches(&binding.arguments, headers)).map(|(binding, _)| binding)
    }
}

/// Refuses arguments that a headers exchange cannot match by.
///
/// # Errors
/// 406 if `x-match` is not a long string or none of the four forms.
pub fn validate(arguments: &FieldTable) -> Result<(), Fault> {
    XMatch::of(arguments).map(|_| ())
}

impl XMatch {
    fn of(arguments: &FieldTable) -> Result<XMatch, Fault> {
        let form = match arguments.inner().get("x-match") {
            None => b"all".as_slice(),
            Some(AMQPValue::LongString(form)) => form.as_bytes(),
            Some(value) => return Err(invalid_type(value)),
        };
        match form {
            b"all" => Ok(XMatch { any: false, with_x: false }),
            b"any" => Ok(XMatch { any: true, with_x: false }),
            b"all-with-x" => Ok(XMatch { any: false, with_x: true }),
            b"any-with-x" => Ok(XMatch { any: true, with_x: true }),
            _ => Err(invalid_value(form)),
        }
    }

    fn matches(self, arguments: &FieldTable, headers: &FieldTable) -> bool {
        let counts = |name: &str| name != "x-match" && (self.with_x || !name.starts_with("x-"));
        let mut arguments = arguments.into_iter().filter(|(name, _)| counts(name.as_str()));
        let has = |(name, wanted)| holds(headers, name, wanted);
        if self.any { arguments.any(has) } else { arguments.all(has) }
    }
}

fn holds(headers: &FieldTable, name: &ShortString, wanted: &AMQPValue) -> bool {
    match headers.inner().get(name) {
        None => false,
        Some(_) if matches!(wanted, AMQPValue::Void) => true,
        Some(value) => same_value(wanted, value),
    }
}

fn invalid_type(value: &AMQPValue) -> Fault {
    let (name, value) = (type_name(value), Term(value));
    Fault::precondition_failed(format!("Invalid x-match field type {name} (value {value}); expected longstr"))
}

fn invalid_value(form: &[u8]) -> Fault {
    let form = AMQPValue::LongString(form.into());
    Fault::precondition_failed(format!(
        "Invalid x-match field value {}; expected all, any, all-with-x, or any-with-x",
        Term(&form)
    ))
}
