use super::*;

fn matches(pattern: &str, name: &str) -> bool {
    Pattern::new(pattern).unwrap().matches(name)
}

#[test]
fn patterns_match_as_regular_expressions_do() {
    let names =
        ["", "a", "ab", "abc", "xabc", "a.b", "a.b.c", "orders.eu", "orders.us.dead", "Orders", "\u{e9}t\u{e9}"];
    let patterns = [
        "",
        "^",
        "$",
        "^$",
        ".*",
        "^.*",
        ".*$",
        "^.*$",
        "a",
        "^a",
        "a$",
        "^a$",
        "^a.*",
        ".*a",
        "^.*a",
        "a.*$",
        ".+",
        "^ab.*c$",
        "^a\\.b",
        "a.b",
        "^(a|x)",
        "^(ab|xa)c?$",
        "(?i)^orders",
        "^orders\\.(eu|us)",
        "dead$",
        "^(orders)",
        "[ab]",
        "^[ab]$",
        "a+",
        "(abc)+",
        "^(?:a(?:b))",
        "\u{e9}",
        "a|b",
        "^a|c$",
        "(?s).*b",
        "^(?!orders)",
        "(a)\\.?",
        "b{2}",
        "^(ab)?c?",
        "\\.eu$",
        "(?m)^a",
        "^^a",
        "a$$",
        "[^x]*abc",
    ];
    for pattern in patterns {
        let regex = compile(pattern).unwrap();
        for name in names {
            assert_eq!(matches(pattern, name), regex.is_match(name).unwrap(), "{pattern:?} on {name:?}");
        }
    }
}

#[test]
fn look_around_and_references_back_are_understood() {
    assert!(matches("^(?!amq\\.)", "orders"));
    assert!(!matches("^(?!amq\\.).*", "amq.gen-1"));
    assert!(matches("(..)\\1", "abab"));
}

#[test]
fn every_name_that_matches_meets_the_requirements() {
    let texts = |pattern: &str| -> Vec<(Vec<String>, bool)> {
        let text = |text: &[u8]| String::from_utf8_lossy(text).into_owned();
        let pattern = Pattern::new(pattern).unwrap();
        pattern.requirements().iter().map(|r| (r.texts.iter().map(|t| text(t)).collect(), r.at_start)).collect()
    };
    let one = |text: &str, at_start| vec![(vec![text.to_owned()], at_start)];
    assert_eq!(texts("^orders\\."), one("orders.", true));
    assert_eq!(texts("orders"), one("orders", false));
    assert_eq!(texts("^.*orders"), one("orders", false));
    assert_eq!(texts("^(orders)+x?"), one("orders", true));
    assert_eq!(texts("^[ab]orders"), one("orders", false));
    assert_eq!(texts("^a-.*-17$"), [(vec!["a-".to_owned()], true), (vec!["-17".to_owned()], false)]);
    assert_eq!(texts("^(ab|cd)"), [(vec!["ab".to_owned(), "cd".to_owned()], true)]);
    assert_eq!(texts("^(ab|.d)$"), [(vec!["ab".to_owned(), "d".to_owned()], false)]);
    for unknown in ["", ".*", "^(?i)x", "^(?!a)", "ab|", "^x?$"] {
        assert_eq!(texts(unknown), [], "{unknown:?}");
    }
}

#[test]
fn a_pattern_that_is_none_is_refused_with_what_is_wrong() {
    assert!(Pattern::new("(").unwrap_err().contains("paren"), "{}", Pattern::new("(").unwrap_err());
    assert!(Pattern::new("[").is_err());
    assert!(Pattern::new("*").is_err());
    assert!(Pattern::new(&"x".repeat(PATTERN_MAX_BYTES + 1)).is_err());
}

#[test]
fn a_pattern_that_would_take_for_ever_does_not_match() {
    assert!(!matches("^(?=(a+)+$)(a+)+\\2b", &"a".repeat(200)));
}
