//! `x-modulus-hash`: the routing key's hash modulo the number of bindings.

use super::{Bound, assert_shares, keys};

const KIND: &str = "x-modulus-hash";

#[test]
fn a_key_goes_to_one_queue_and_always_to_the_same() {
    let mut bound = Bound::new(KIND, [], &["", "a", "a", "b.c", "#"]);
    let keys = keys(50);
    let places = bound.places(&keys);
    assert_eq!(bound.places(&keys), places);
    assert!((0..5).all(|queue| places.contains(&queue)), "every queue has some keys: {places:?}");
}

#[test]
fn bindings_have_even_shares() {
    let mut bound = Bound::new(KIND, [], &[""; 3]);
    let keys = keys(15_000);
    bound.publish_all(keys.iter().map(String::as_str));
    assert_shares(&bound.take_counts(), &[1.0; 3]);
}
