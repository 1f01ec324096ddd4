//! Field values in error texts, as RabbitMQ prints them: in the notation of Erlang, in which it is written.

use std::fmt;

use amq_protocol::types::{AMQPValue, FieldTable};

/// RabbitMQ's name for the type of a field value.
pub fn type_name(value: &AMQPValue) -> &'static str {
    match value {
        AMQPValue::Boolean(_) => "bool",
        AMQPValue::ShortShortInt(_) => "byte",
        AMQPValue::ShortShortUInt(_) => "unsignedbyte",
        AMQPValue::ShortInt(_) => "short",
        AMQPValue::ShortUInt(_) => "unsignedshort",
        AMQPValue::LongInt(_) => "signedint",
        AMQPValue::LongUInt(_) => "unsignedint",
        AMQPValue::LongLongInt(_) => "long",
        AMQPValue::Float(_) => "float",
        AMQPValue::Double(_) => "double",
        AMQPValue::DecimalValue(_) => "decimal",
        AMQPValue::ShortString(_) | AMQPValue::LongString(_) => "longstr",
        AMQPValue::FieldArray(_) => "array",
        AMQPValue::Timestamp(_) => "timestamp",
        AMQPValue::FieldTable(_) => "table",
        AMQPValue::ByteArray(_) => "binary",
        AMQPValue::Void => "void",
    }
}

/// Prints a value as an Erlang term: `<<"text">>`, `[{<<"name">>,longstr,<<"value">>}]`, `1.0e22`.
pub struct Term<'a>(pub &'a AMQPValue);

impl fmt::Display for Term<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            AMQPValue::Boolean(v) => write!(f, "{v}"),
            AMQPValue::ShortShortInt(v) => write!(f, "{v}"),
            AMQPValue::ShortShortUInt(v) => write!(f, "{v}"),
            AMQPValue::ShortInt(v) => write!(f, "{v}"),
            AMQPValue::ShortUInt(v) => write!(f, "{v}"),
            AMQPValue::LongInt(v) => write!(f, "{v}"),
            AMQPValue::LongUInt(v) => write!(f, "{v}"),
            AMQPValue::LongLongInt(v) => write!(f, "{v}"),
            AMQPValue::Timestamp(v) => write!(f, "{v}"),
            AMQPValue::Float(v) => write_float(f, f64::from(*v)),
            AMQPValue::Double(v) => write_float(f, *v),
            AMQPValue::DecimalValue(v) => write!(f, "{{{},{}}}", v.scale, v.value),
            AMQPValue::ShortString(v) => write_binary(f, v.as_str().as_bytes()),
            AMQPValue::LongString(v) => write_binary(f, v.as_bytes()),
            AMQPValue::ByteArray(v) => write_binary(f, v.as_slice()),
            AMQPValue::FieldArray(v) => write_array(f, v.as_slice()),
            AMQPValue::FieldTable(v) => write_table(f, v),
            AMQPValue::Void => f.write_str("undefined"),
        }
    }
}

fn write_array(f: &mut fmt::Formatter<'_>, elements: &[AMQPValue]) -> fmt::Result {
    f.write_str("[")?;
    for (i, element) in elements.iter().enumerate() {
        let comma = if i == 0 { "" } else { "," };
        write!(f, "{comma}{{{},{}}}", type_name(element), Term(element))?;
    }
    f.write_str("]")
}

fn write_table(f: &mut fmt::Formatter<'_>, table: &FieldTable) -> fmt::Result {
    f.write_str("[")?;
    for (i, (name, value)) in table.into_iter().enumerate() {
        f.write_str(if i == 0 { "{" } else { ",{" })?;
        write_binary(f, name.as_str().as_bytes())?;
        write!(f, ",{},{}}}", type_name(value), Term(value))?;
    }
    f.write_str("]")
}

/// As text if it is printable text, else as numbers.
fn write_binary(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    match std::str::from_utf8(bytes) {
        Ok("") => f.write_str("<<>>"),
        Ok(text) if text.chars().all(is_printable) => {
            let utf8 = if text.is_ascii() { "" } else { "/utf8" };
            write!(f, "<<\"{}\"{utf8}>>", Escaped(text))
        }
        _ => {
            f.write_str("<<")?;
            for (i, byte) in bytes.iter().enumerate() {
                write!(f, "{}{byte}", if i == 0 { "" } else { "," })?;
            }
            f.write_str(">>")
        }
    }
}

fn is_printable(c: char) -> bool {
    escape(c).is_some() || !c.is_control()
}

struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match escape(c) {
            Some(escaped) => f.write_str(escaped),
            None => write!(f, "{c}"),
        })
    }
}

fn escape(c: char) -> Option<&'static str> {
    match c {
        '"' => Some("\\\""),
        '\\' => Some("\\\\"),
        '\n' => Some("\\n"),
        '\r' => Some("\\r"),
        '\t' => Some("\\t"),
        '\u{8}' => Some("\\b"),
        '\u{b}' => Some("\\v"),
        '\u{c}' => Some("\\f"),
        '\u{1b}' => Some("\\e"),
        _ => None,
    }
}

/// The shortest digits that mean the same number, with a power of ten only if that is shorter.
fn write_float(f: &mut fmt::Formatter<'_>, value: f64) -> fmt::Result {
    let point = |digits: String| if digits.contains('.') { digits } else { format!("{digits}.0") };
    let plain = point(format!("{value}"));
    match format!("{value:e}").split_once('e') {
        Some((mantissa, exponent)) if value.is_finite() => {
            let scientific = format!("{}e{exponent}", point(mantissa.to_owned()));
            f.write_str(if plain.len() <= scientific.len() { &plain } else { &scientific })
        }
        _ => write!(f, "{value}"), // infinite or not a number, which Erlang does not have
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_print_as_in_erlang() {
        let printed = |value| Term(&AMQPValue::Double(value)).to_string();
        for (value, expected) in [
            (0.0, "0.0"),
            (1.0, "1.0"),
            (100.0, "100.0"),
            (1000.0, "1.0e3"),
            (1230.0, "1230.0"),
            (12300.0, "1.23e4"),
            (0.0001, "0.0001"),
            (0.00001, "1.0e-5"),
            (0.00123, "0.00123"),
            (0.000123, "1.23e-4"),
            (-2.5, "-2.5"),
            (1.5e10, "1.5e10"),
            (1.2e-100, "1.2e-100"),
            (123456789.125, "123456789.125"),
        ] {
            assert_eq!(printed(value), expected);
        }
    }

    #[test]
    fn terms_print_as_in_erlang() {
        let text = |bytes: &[u8]| AMQPValue::LongString(bytes.into());
        let mut table = FieldTable::default();
        table.insert("a".into(), text(b"b"));
        table.insert("n".into(), AMQPValue::LongInt(1));
        let array = AMQPValue::FieldArray(vec![text(b"b"), AMQPValue::Void].into());
        for (value, expected) in [
            (text(b""), "<<>>"),
            (text(b"h\"i\\\n"), r#"<<"h\"i\\\n">>"#),
            (text("\u{e9}".as_bytes()), "<<\"\u{e9}\"/utf8>>"),
            (text(b"\x01\x7f"), "<<1,127>>"),
            (text(b"\xff"), "<<255>>"),
            (AMQPValue::FieldTable(table), r#"[{<<"a">>,longstr,<<"b">>},{<<"n">>,signedint,1}]"#),
            (array, r#"[{longstr,<<"b">>},{void,undefined}]"#),
        ] {
            assert_eq!(Term(&value).to_string(), expected);
        }
    }
}
