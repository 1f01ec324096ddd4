//! Arguments of the queues that a load declares, as flags give them.

use std::str::FromStr;

use amq_protocol::types::{AMQPValue, FieldTable};

/// `KEY=VALUE`: a number, `true` or `false` as such, and anything else as a string.
#[derive(Clone, Debug, PartialEq)]
pub struct Argument {
    key: String,
    value: AMQPValue,
}

impl Argument {
    pub fn number(key: &str, value: i64) -> Argument {
        Argument { key: key.to_owned(), value: AMQPValue::LongLongInt(value) }
    }

    pub fn text(key: &str, value: &str) -> Argument {
        Argument { key: key.to_owned(), value: AMQPValue::LongString(value.into()) }
    }
}

impl FromStr for Argument {
    type Err = String;

    fn from_str(text: &str) -> Result<Argument, String> {
        let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
        if key.is_empty() || key.len() > usize::from(u8::MAX) {
            return Err("expected a key of 1 to 255 bytes".to_owned());
        }
        Ok(match (value.parse(), value.parse()) {
            (Ok(number), _) => Argument::number(key, number),
            (_, Ok(flag)) => Argument { key: key.to_owned(), value: AMQPValue::Boolean(flag) },
            _ => Argument::text(key, value),
        })
    }
}

pub fn table(arguments: &[Argument]) -> FieldTable {
    let mut table = FieldTable::default();
    for Argument { key, value } in arguments {
        table.insert(key.as_str().into(), value.clone());
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_numbers_flags_or_strings() {
        let value = |text: &str| text.parse::<Argument>().map(|argument| argument.value);
        assert_eq!(value("x-message-ttl=60000"), Ok(AMQPValue::LongLongInt(60_000)));
        assert_eq!(value("x-single-active-consumer=true"), Ok(AMQPValue::Boolean(true)));
        assert_eq!(value("x-overflow=reject-publish"), Ok(AMQPValue::LongString("reject-publish".into())));
        assert_eq!(value("x-dead-letter-exchange="), Ok(AMQPValue::LongString("".into())));
        assert!(value("x-overflow").is_err() && value("=1").is_err());
    }
}
