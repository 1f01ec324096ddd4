//! Reading the fields of JSON objects, with the place in every error.

use serde_json::{Map, Value};

use crate::limits::SHORT_STRING_MAX_BYTES;

/// Why a document was not imported. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {text}")]
pub struct DefinitionsError {
    /// `queues[3].arguments.x-foo`, after the name of the file if it is one.
    pub place: String,
    pub text: String,
}

impl DefinitionsError {
    pub(super) fn at(place: &str, text: impl Into<String>) -> DefinitionsError {
        DefinitionsError { place: place.to_owned(), text: text.into() }
    }

    fn expected(place: &str, what: &str, found: Option<&Value>) -> DefinitionsError {
        let found = match found {
            None => "there is none".to_owned(),
            Some(value) => format!("found {}", shortened(value)),
        };
        DefinitionsError::at(place, format!("expected {what}, {found}"))
    }
}

fn shortened(value: &Value) -> String {
    const SHOWN_BYTES: usize = 80;
    let mut text = value.to_string();
    if text.len() > SHOWN_BYTES {
        text.truncate(text.floor_char_boundary(SHOWN_BYTES));
        text.push_str("...");
    }
    text
}

/// One object, and where it is. A field that is `null` or, as RabbitMQ writes it, `"undefined"` where that is no text,
/// counts as missing.
pub(super) struct Fields<'a> {
    pub place: String,
    object: &'a Map<String, Value>,
}

type Read<T> = Result<T, DefinitionsError>;

impl<'a> Fields<'a> {
    pub fn of(place: impl Into<String>, value: &'a Value) -> Read<Fields<'a>> {
        let place = place.into();
        match value {
            Value::Object(object) => Ok(Fields { place, object }),
            other => Err(DefinitionsError::expected(&place, "an object", Some(other))),
        }
    }

    /// The objects in a list; none if there is no list.
    pub fn list(&self, name: &str) -> Read<Vec<Fields<'a>>> {
        let place = self.place_of(name);
        match self.get(name) {
            None => Ok(Vec::new()),
            Some(Value::Array(items)) => {
                items.iter().enumerate().map(|(i, item)| Fields::of(format!("{place}[{i}]"), item)).collect()
            }
            other => Err(DefinitionsError::expected(&place, "a list", other)),
        }
    }

    pub fn names(&self) -> impl Iterator<Item = &'a String> {
        self.object.keys()
    }

    pub fn get(&self, name: &str) -> Option<&'a Value> {
        self.object.get(name).filter(|value| !value.is_null())
    }

    pub fn text(&self, name: &str) -> Read<&'a str> {
        self.text_or_none(name)?.ok_or_else(|| self.expected(name, "a text"))
    }

    pub fn text_or_none(&self, name: &str) -> Read<Option<&'a str>> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.expected(name, "a text")),
        }
    }

    /// A name of something: a text of at most 255 bytes.
    pub fn name(&self, name: &str) -> Read<&'a str> {
        let text = self.text(name)?;
        if text.len() > SHORT_STRING_MAX_BYTES {
            return Err(self.expected(name, &format!("a name of at most {SHORT_STRING_MAX_BYTES} bytes")));
        }
        Ok(text)
    }

    pub fn flag(&self, name: &str) -> Read<bool> {
        self.flag_or_none(name)?.ok_or_else(|| self.expected(name, "true or false"))
    }

    pub fn flag_or_none(&self, name: &str) -> Read<Option<bool>> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(Value::String(text)) if text == "undefined" => Ok(None),
            Some(_) => Err(self.expected(name, "true or false")),
        }
    }

    /// An object; the empty one if it is missing, or the empty list that stands for it.
    pub fn object(&self, name: &str) -> Read<Map<String, Value>> {
        match self.get(name) {
            None => Ok(Map::new()),
            Some(Value::Object(object)) => Ok(object.clone()),
            Some(Value::Array(items)) if items.is_empty() => Ok(Map::new()),
            Some(_) => Err(self.expected(name, "an object")),
        }
    }

    /// Tags: a list of texts, or one text with commas, as older brokers wrote it.
    pub fn tags(&self, name: &str) -> Read<Vec<String>> {
        let expected = || self.expected(name, "a list of texts, or a text with commas");
        match self.get(name) {
            None => Ok(Vec::new()),
            Some(Value::String(text)) => {
                Ok(text.split(',').map(str::trim).filter(|tag| !tag.is_empty()).map(str::to_owned).collect())
            }
            Some(Value::Array(items)) => {
                items.iter().map(|tag| tag.as_str().map(str::to_owned).ok_or_else(expected)).collect()
            }
            Some(_) => Err(expected()),
        }
    }

    pub fn place_of(&self, name: &str) -> String {
        if self.place.is_empty() { name.to_owned() } else { format!("{}.{name}", self.place) }
    }

    pub fn expected(&self, name: &str, what: &str) -> DefinitionsError {
        DefinitionsError::expected(&self.place_of(name), what, self.object.get(name))
    }
}
