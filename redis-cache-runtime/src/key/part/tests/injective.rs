//! No two values of a type write the same.

use proptest::prelude::*;

use super::written;
use crate::key::part::{KeyPart, KeyWriter, Text};

/// Two parts, the first of which may be any number of parts deep.
#[derive(Clone, Debug, PartialEq)]
#[allow(clippy::option_option, reason = "it must not be ambiguous")]
struct Pair(Option<Option<String>>, Option<i16>);

impl KeyPart for Pair {
    fn write(&self, key: &mut KeyWriter<'_>) {
        self.0.write(key);
        self.1.write(key);
    }
}

/// Every form of a type, in one another.
#[derive(Clone, Debug, PartialEq, axum_redis_cache::KeyPart)]
#[key_part(crate = crate)]
enum Shape {
    Unit,
    None,
    Text(String),
    Several(Option<String>, Vec<String>),
    Named { texts: Vec<Vec<String>>, unit: () },
    Inner(Wrapped),
}

#[derive(Clone, Debug, PartialEq, axum_redis_cache::KeyPart)]
#[key_part(crate = crate)]
struct Wrapped(Option<Box<Shape>>);

type Values = (
    String,
    Option<Pair>,
    Option<Option<String>>,
    char,
    (i16, bool),
    Option<Shape>,
);

fn hostile() -> impl Strategy<Value = String> {
    prop_oneof![
        "[~,;%:/a]{0,4}",
        "(%2F|%7E|~|,|;|None|a|\u{e4}){0,3}",
        any::<String>()
    ]
}

/// Few enough values that two of them are often equal, or nearly.
fn shapes() -> impl Strategy<Value = Shape> {
    let text = || prop_oneof!["[,~0-2]{0,2}", Just("Text".to_owned()), hostile()];
    let texts = move || prop::collection::vec(text(), 0..3);
    let leaf = prop_oneof![
        Just(Shape::Unit),
        Just(Shape::None),
        text().prop_map(Shape::Text),
        (prop::option::of(text()), texts()).prop_map(|(a, b)| Shape::Several(a, b)),
        prop::collection::vec(texts(), 0..3).prop_map(|texts| Shape::Named { texts, unit: () }),
    ];
    leaf.prop_recursive(3, 4, 1, |inner| {
        let inner = prop::option::of(inner.prop_map(Box::new));
        inner.prop_map(|inner| Shape::Inner(Wrapped(inner)))
    })
}

fn values() -> impl Strategy<Value = Values> {
    let nested = || prop::option::of(prop::option::of(hostile()));
    let pair = (nested(), prop::option::of(-2..2_i16)).prop_map(|(a, b)| Pair(a, b));
    let character = prop_oneof![prop::char::range('%', '~'), any::<char>()];
    (
        hostile(),
        prop::option::of(pair),
        nested(),
        character,
        (-2..2_i16, any::<bool>()),
        prop::option::of(shapes()),
    )
}

/// As the macro writes a template: values that could run into what follows end with `;`.
fn template((text, pair, nested, character, (number, flag), shape): &Values) -> String {
    let key = Text::new()
        .literal("k:")
        .value(text)
        .literal(";")
        .value(pair);
    let key = key
        .literal("/")
        .value(nested)
        .literal(";a")
        .value(character);
    key.literal(":")
        .value(number)
        .literal(";")
        .value(flag)
        .literal("#")
        .value(shape)
        .literal(";%~")
        .into_string()
}

/// The same by the rules of the encoding, read backwards. What can be read back is injective.
fn read(key: &str) -> Option<[String; 7]> {
    let is_value = |c: char| c.is_ascii_alphanumeric() || "%~,.-_".contains(c);
    let mut rest = key.strip_prefix("k:")?;
    let mut out = [const { String::new() }; 7];
    for (value, end) in out.iter_mut().zip([";", "/", ";a", ":", ";", "#", ";%~"]) {
        let len = rest.find(|c| !is_value(c))?;
        *value = rest[..len].to_owned();
        rest = rest[len..].strip_prefix(end)?;
    }
    rest.is_empty().then_some(out)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100_000))]

    #[test]
    fn different_values_never_write_the_same_key(a in values(), b in values()) {
        let key = template(&a);
        prop_assert_eq!(key == template(&b), a == b);
        let parts = [
            written(&a.0), written(&a.1), written(&a.2), written(&a.3), written(&a.4.0),
            written(&a.4.1), written(&a.5),
        ];
        prop_assert_eq!(read(&key), Some(parts), "every value can be found in it again");
    }
}

proptest! {
    #[test]
    fn different_options_never_write_the_same_part(
        a in prop::option::of(prop::option::of(prop::option::of("[~,a]{0,2}"))),
        b in prop::option::of(prop::option::of(prop::option::of("[~,a]{0,2}"))),
    ) {
        prop_assert_eq!(written(&a) == written(&b), a == b);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100_000))]

    #[test]
    fn different_types_of_the_users_never_write_the_same_parts(
        a in (shapes(), shapes()),
        b in (shapes(), shapes()),
    ) {
        prop_assert_eq!(written(&a) == written(&b), a == b);
        prop_assert_eq!(written(&[&a.0, &a.1]) == written(&vec![&b.0, &b.1]), a == b);
        prop_assert_eq!(written(&a.0) == written(&b.0), a.0 == b.0);
    }
}
