use amq_protocol::types::ShortString;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::*;
use crate::broker::binding::Destination;
use crate::broker::exchange::{Exchange, ExchangeDefinition, ExchangeKind};

fn table(fields: &[(&str, AMQPValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in fields {
        table.insert(ShortString::from(*name), value.clone());
    }
    table
}

fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

fn matches(arguments: &FieldTable, headers: &FieldTable) -> bool {
    XMatch::of(arguments).unwrap().matches(arguments, headers)
}

fn matches_form(form: &str, fields: &[(&str, AMQPValue)], headers: &[(&str, AMQPValue)]) -> bool {
    let mut fields = fields.to_vec();
    fields.push(("x-match", text(form)));
    matches(&table(&fields), &table(headers))
}

#[test]
fn forms_differ_in_how_many_must_match_and_in_x_arguments() {
    let arguments = [("a", text("1")), ("x-b", text("2"))];
    let (a, x_b, both) = ([("a", text("1"))], [("x-b", text("2"))], arguments.clone());
    let result = |form: &str| [&a[..], &x_b, &both, &[]].map(|headers| matches_form(form, &arguments, headers));
    assert_eq!(result("all"), [true, false, true, false]);
    assert_eq!(result("any"), [true, false, true, false]);
    assert_eq!(result("all-with-x"), [false, false, true, false]);
    assert_eq!(result("any-with-x"), [true, true, true, false]);
}

#[test]
fn without_arguments_all_matches_everything_and_any_nothing() {
    for headers in [&[][..], &[("a", text("1"))]] {
        assert!(matches(&table(&[]), &table(headers)));
        assert!(matches_form("all", &[], headers));
        assert!(!matches_form("any", &[], headers));
        assert!(matches_form("all", &[("x-a", text("1"))], headers));
        assert!(!matches_form("any", &[("x-a", text("1"))], headers));
    }
    assert!(!matches_form("any-with-x", &[], &[("x-match", text("any-with-x"))]));
}

#[test]
fn void_asks_for_presence_and_other_values_for_equality() {
    let wanted = [("a", AMQPValue::Void)];
    assert!(matches_form("all", &wanted, &[("a", text("anything"))]));
    assert!(matches_form("all", &wanted, &[("a", AMQPValue::Void)]));
    assert!(!matches_form("all", &wanted, &[("b", text("anything"))]));
    assert!(!matches_form("all", &[("a", text("1"))], &[("a", AMQPValue::Void)]));
    assert!(matches_form("all", &[("a", AMQPValue::LongInt(7))], &[("a", AMQPValue::LongLongInt(7))]));
    assert!(!matches_form("all", &[("a", AMQPValue::LongInt(1))], &[("a", AMQPValue::Double(1.0))]));
}

#[test]
fn refuses_other_forms() {
    let refused = |value| validate(&table(&[("x-match", value)])).unwrap_err().reply_text();
    assert_eq!(
        refused(text("foo")),
        "PRECONDITION_FAILED - Invalid x-match field value <<\"foo\">>; \
         expected all, any, all-with-x, or any-with-x"
    );
    assert_eq!(
        refused(AMQPValue::LongInt(5)),
        "PRECONDITION_FAILED - Invalid x-match field type signedint (value 5); expected longstr"
    );
    assert_eq!(
        refused(AMQPValue::Void),
        "PRECONDITION_FAILED - Invalid x-match field type void (value undefined); expected longstr"
    );
}

/// Removal must keep bindings and forms side by side; the answer is counted, not searched.
#[test]
fn agrees_with_counting() {
    let mut rng = StdRng::seed_from_u64(0x5eed);
    let to = Destination::Exchange(Exchange::new(ExchangeDefinition::durable("x", ExchangeKind::Fanout)));
    let values = [text("v"), text("w"), AMQPValue::LongInt(1), AMQPValue::ShortInt(1), AMQPValue::Void];
    let names = ["a", "b", "c", "x-a", "x-b", "x-match"];
    let fields = |rng: &mut StdRng, names: &[&str]| {
        let mut table = FieldTable::default();
        for _ in 0..rng.random_range(0..5) {
            table.insert((*names.choose(rng).unwrap()).into(), values.choose(rng).unwrap().clone());
        }
        table
    };
    for _ in 0..300 {
        let mut all = Vec::new();
        for n in 0..rng.random_range(0..12u8) {
            let mut arguments = fields(&mut rng, &names[..5]);
            if rng.random_bool(0.8) {
                let form = ["all", "any", "all-with-x", "any-with-x"].choose(&mut rng).unwrap();
                arguments.insert("x-match".into(), text(form));
            }
            all.push(Arc::new(Binding::new("s".into(), to.clone(), &[n], arguments)));
        }
        let mut index = Headers::default();
        all.iter().for_each(|binding| index.insert(binding.clone()));
        let (gone, kept) = all.split_at(rng.random_range(0..=all.len()));
        gone.iter().for_each(|binding| index.remove(binding));
        for _ in 0..10 {
            let headers = fields(&mut rng, &names);
            let mut found: Vec<_> = index.matches(&headers).map(|binding| binding.routing_key.clone()).collect();
            found.sort();
            let expected: Vec<_> = kept
                .iter()
                .filter(|binding| counted(&binding.arguments, &headers))
                .map(|binding| binding.routing_key.clone())
                .collect();
            assert_eq!(found, expected);
        }
    }
}

fn counted(arguments: &FieldTable, headers: &FieldTable) -> bool {
    let form = match arguments.inner().get("x-match") {
        Some(AMQPValue::LongString(form)) => form.to_string(),
        _ => "all".to_owned(),
    };
    let (mut wanted, mut met) = (0, 0);
    for (name, value) in arguments {
        let is_x = name.as_str().starts_with("x-");
        if name.as_str() == "x-match" || (is_x && !form.ends_with("-with-x")) {
            continue;
        }
        wanted += 1;
        let header = headers.inner().get(name);
        met += match (value, header) {
            (_, None) => 0,
            (AMQPValue::Void, Some(_)) => 1,
            (AMQPValue::LongInt(_) | AMQPValue::ShortInt(_), Some(AMQPValue::LongInt(_) | AMQPValue::ShortInt(_))) => 1,
            (value, Some(header)) => usize::from(value == header),
        };
    }
    if form.starts_with("all") { met == wanted } else { met > 0 }
}
