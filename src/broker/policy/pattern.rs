//! The pattern of a policy: a regular expression as PCRE has them, which matches anywhere in a name.
//!
//! Most patterns are but a name, or how names begin. They are compared as text; and of every pattern some text is known
//! that each name that it matches must have, so that of thousands of patterns only a few are tried on a name.

#[cfg(test)]
mod tests;

use fancy_regex::Regex;
use regex_syntax::hir::{Class, Hir, HirKind, Look, Repetition};

use crate::broker::pattern::compile;
use crate::limits::PATTERN_MAX_BYTES;

/// Alternatives of a pattern of which each is remembered by its text; with more, none is.
const ALTERNATIVES_MAX: usize = 16;

#[derive(Debug)]
pub struct Pattern {
    matcher: Matcher,
    requirements: Vec<Requirement>,
}

#[derive(Debug)]
enum Matcher {
    /// The text, at the start and at the end of the name or anywhere.
    Text {
        text: Box<str>,
        at_start: bool,
        at_end: bool,
    },
    Regex(Box<Regex>),
}

/// Text of which each name that matches has at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    pub texts: Vec<Box<[u8]>>,
    pub at_start: bool,
}

impl Pattern {
    /// # Errors
    /// What is wrong with it.
    pub fn new(pattern: &str) -> Result<Pattern, String> {
        if pattern.len() > PATTERN_MAX_BYTES {
            return Err(format!("it is longer than {PATTERN_MAX_BYTES} bytes"));
        }
        // What has look-around or references back is not understood here, and tried on every name.
        let parsed = regex_syntax::parse(pattern).ok();
        let elements = parsed.as_ref().map(elements).unwrap_or_default();
        let requirements = requirements(&elements);
        let matcher = match parsed.as_ref().and_then(|_| plain_text(&elements)) {
            Some(text) => text,
            None => Matcher::Regex(Box::new(compile(pattern)?)),
        };
        Ok(Pattern { matcher, requirements })
    }

    /// Whether the name matches. A pattern that takes more steps than it may does not.
    pub fn matches(&self, name: &str) -> bool {
        match &self.matcher {
            Matcher::Text { text, at_start: true, at_end: true } => name == &**text,
            Matcher::Text { text, at_start: true, at_end: false } => name.starts_with(&**text),
            Matcher::Text { text, at_start: false, at_end: true } => name.ends_with(&**text),
            Matcher::Text { text, at_start: false, at_end: false } => name.contains(&**text),
            Matcher::Regex(regex) => regex.is_match(name).unwrap_or(false),
        }
    }

    /// What is known of the names that match; every one of these holds. Nothing if nothing is known.
    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }
}

/// What follows one another in a pattern.
fn elements(hir: &Hir) -> Vec<&Hir> {
    match hir.kind() {
        HirKind::Concat(elements) => elements.iter().flat_map(self::elements).collect(),
        HirKind::Capture(group) => elements(&group.sub),
        HirKind::Empty => Vec::new(),
        _ => vec![hir],
    }
}

/// `^text$`, `^text`, `text.*` and the like need no machine.
fn plain_text(mut elements: &[&Hir]) -> Option<Matcher> {
    let (mut at_start, mut at_end) = (false, false);
    if let [first, rest @ ..] = elements
        && matches!(first.kind(), HirKind::Look(Look::Start))
    {
        (at_start, elements) = (true, rest);
    }
    if let [rest @ .., last] = elements
        && matches!(last.kind(), HirKind::Look(Look::End))
    {
        (at_end, elements) = (true, rest);
    }
    while let [first, rest @ ..] = elements
        && is_anything(first)
    {
        (at_start, elements) = (false, rest);
    }
    while let [rest @ .., last] = elements
        && is_anything(last)
    {
        (at_end, elements) = (false, rest);
    }
    let text = match elements {
        [] => "",
        [only] => match only.kind() {
            HirKind::Literal(literal) => std::str::from_utf8(&literal.0).ok()?,
            _ => return None,
        },
        _ => return None,
    };
    Some(Matcher::Text { text: text.into(), at_start, at_end })
}

/// `.*`: names have no line ends.
fn is_anything(hir: &Hir) -> bool {
    let HirKind::Repetition(Repetition { min: 0, max: None, sub, .. }) = hir.kind() else { return false };
    let HirKind::Class(Class::Unicode(class)) = sub.kind() else { return false };
    let excluded = |c: char| !class.iter().any(|range| range.start() <= c && c <= range.end());
    let mut negated = class.clone();
    negated.negate();
    let left_out: u32 = negated.iter().map(|range| range.end() as u32 - range.start() as u32 + 1).sum();
    left_out == u32::from(excluded('\n')) + u32::from(excluded('\r'))
}

fn requirements(elements: &[&Hir]) -> Vec<Requirement> {
    let is_anchor = |hir: &&Hir| matches!(hir.kind(), HirKind::Look(Look::Start));
    let is_anchored = elements.first().is_some_and(is_anchor);
    let found = elements.iter().enumerate().filter_map(|(i, element)| {
        let (texts, is_whole) = required(element)?;
        Some(Requirement { texts, at_start: is_anchored && i == 1 && is_whole })
    });
    found.collect()
}

/// Texts of which each match of this part has one, and whether it begins with it.
fn required(hir: &Hir) -> Option<(Vec<Box<[u8]>>, bool)> {
    match hir.kind() {
        HirKind::Literal(literal) => Some((vec![literal.0.clone()], true)),
        HirKind::Capture(group) => required(&group.sub),
        HirKind::Repetition(Repetition { min: 1.., sub, .. }) => required(sub),
        HirKind::Concat(elements) => {
            let found = elements.iter().enumerate().filter_map(|(i, element)| Some((i, required(element)?)));
            let (i, (texts, begins)) = found.max_by_key(|(_, (texts, _))| texts.iter().map(|t| t.len()).min())?;
            Some((texts, begins && i == 0))
        }
        HirKind::Alternation(branches) => {
            let branches = branches.iter().map(required).collect::<Option<Vec<_>>>()?;
            let begins = branches.iter().all(|(_, begins)| *begins);
            let texts: Vec<_> = branches.into_iter().flat_map(|(texts, _)| texts).collect();
            (texts.len() <= ALTERNATIVES_MAX).then_some((texts, begins))
        }
        _ => None,
    }
}
