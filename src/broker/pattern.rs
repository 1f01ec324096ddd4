//! Regular expressions that users write: PCRE, found anywhere in a name unless anchored.

use std::fmt;
use std::sync::Arc;

use fancy_regex::{Regex, RegexBuilder};

use crate::limits::{PATTERN_BACKTRACKS_MAX, PATTERN_MAX_BYTES};

/// A regular expression of a permission. The empty one stands for `^$`, which no name matches, as in RabbitMQ.
#[derive(Clone)]
pub struct Pattern {
    text: Arc<str>,
    matcher: Matcher,
}

#[derive(Clone)]
enum Matcher {
    /// `.*`, which nearly everyone uses.
    Anything,
    /// `^$`.
    Empty,
    Regex(Regex),
}

/// A regular expression that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid regular expression '{pattern}': {reason}")]
pub struct InvalidPattern {
    pub pattern: String,
    pub reason: String,
}

impl Pattern {
    pub fn new(text: &str) -> Result<Pattern, InvalidPattern> {
        Pattern::compile(text, text)
    }

    /// A pattern in which names in braces stand for other texts, each of which is matched as it is, whatever characters it
    /// has.
    pub fn with_variables(text: &str, variables: &[(&str, &str)]) -> Result<Pattern, InvalidPattern> {
        let mut expanded = text.to_owned();
        for (name, value) in variables {
            expanded = expanded.replace(name, &fancy_regex::escape(value));
        }
        Pattern::compile(text, &expanded)
    }

    fn compile(text: &str, expanded: &str) -> Result<Pattern, InvalidPattern> {
        let matcher = match expanded {
            ".*" => Matcher::Anything,
            "" | "^$" => Matcher::Empty,
            _ => Matcher::Regex(compile(expanded).map_err(|reason| invalid(text, reason))?),
        };
        Ok(Pattern { text: text.into(), matcher })
    }

    /// As it was written.
    pub fn text(&self) -> &Arc<str> {
        &self.text
    }

    pub fn matches(&self, name: &str) -> bool {
        match &self.matcher {
            Matcher::Anything => true,
            Matcher::Empty => name.is_empty(),
            // What takes too long does not match, as in RabbitMQ.
            Matcher::Regex(regex) => regex.is_match(name).unwrap_or(false),
        }
    }

    /// Whether it matches whatever there is, and no name need be looked at.
    pub fn is_anything(&self) -> bool {
        matches!(self.matcher, Matcher::Anything)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.text == other.text
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

/// A regular expression, bounded in its length and in what a match may cost.
///
/// # Errors
/// What is wrong with it.
pub(in crate::broker) fn compile(pattern: &str) -> Result<Regex, String> {
    if pattern.len() > PATTERN_MAX_BYTES {
        return Err(format!("it is longer than {PATTERN_MAX_BYTES} bytes"));
    }
    RegexBuilder::new(pattern).backtrack_limit(PATTERN_BACKTRACKS_MAX).build().map_err(|error| error.to_string())
}

fn invalid(pattern: &str, reason: String) -> InvalidPattern {
    InvalidPattern { pattern: pattern.to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        Pattern::new(pattern).unwrap().matches(name)
    }

    #[test]
    fn patterns_are_found_anywhere_unless_anchored() {
        assert!(matches("a|b", "xax") && !matches("^(a|b)", "xax"));
        assert!(matches(".*", "") && matches(".*", "x") && matches("^.*$", "x"));
        assert!(!matches("a", "A") && matches("(?i)a", "A"));
    }

    #[test]
    fn what_pcre_allows_is_understood() {
        for (pattern, name) in [
            (r"^{x}$", "{x}"),
            (r"a{", "a{"),
            (r"^\_\/\-\:\@$", "_/-:@"),
            (r"^[[:alpha:]]+$", "abc"),
            (r"^[\w.-]+$", "a.b-c"),
            (r"^[^]a]$", "b"),
            (r"^(?>a+)b", "aab"),
            (r"\Aa\z", "a"),
            (r"^(a|b)(?(1)c)", "ac"),
            (r"^(?<n>a)\k<n>$", "aa"),
            (r"^x(?#comment)y$", "xy"),
            (r"^\x41\x{42}$", "AB"),
            (r"^\p{L}$", "é"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        assert!(!matches("^a++a", "aaa"));
    }

    #[test]
    fn the_empty_pattern_matches_no_name() {
        for pattern in ["", "^$"] {
            assert!(!matches(pattern, "x") && matches(pattern, ""));
        }
    }

    #[test]
    fn patterns_may_look_around() {
        assert!(matches(r"^(?!amq\.)", "mine") && !matches(r"^(?!amq\.)", "amq.topic"));
        assert!(matches(r"^(\w)x\1$", "axa") && !matches(r"^(\w)x\1$", "axb"));
    }

    #[test]
    fn what_would_take_for_ever_does_not_match() {
        let name = "a".repeat(200);
        assert!(!matches(r"^(?:(a+)+)(?=b)\1$", &name));
    }

    #[test]
    fn variables_stand_for_their_values_literally() {
        let variables = [("{username}", "a.b"), ("{vhost}", "/")];
        let pattern = Pattern::with_variables("^{username}-{vhost}$", &variables).unwrap();
        assert!(pattern.matches("a.b-/") && !pattern.matches("axb-/"));
        assert_eq!(&**pattern.text(), "^{username}-{vhost}$");
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        let error = Pattern::new("(").unwrap_err().to_string();
        assert!(error.starts_with("invalid regular expression '(': "), "{error}");
        let long = "a".repeat(PATTERN_MAX_BYTES + 1);
        assert!(Pattern::new(&long).unwrap_err().to_string().ends_with("it is longer than 4096 bytes"));
    }
}
