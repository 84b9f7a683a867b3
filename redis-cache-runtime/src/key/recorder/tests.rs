use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::de::IgnoredAny;

use super::*;
use crate::key::path::PathParams;

/// Records what a type reads of the parameters of a path.
fn recorded<T: DeserializeOwned + 'static>(params: &[(&str, &str)]) -> Option<String> {
    let mut out = String::new();
    let result = record::<T, _>(&mut PathParams::new(params), &mut out);
    result.ok().map(|()| out)
}

#[derive(Deserialize)]
#[allow(dead_code, reason = "what is read of it matters")]
struct Pair {
    c: String,
    #[serde(rename = "a b", alias = "ab")]
    spaced: String,
}

/// Says that it is a struct of one field, and reads whatever there is.
struct Everything;

impl<'de> Deserialize<'de> for Everything {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reads;

        impl<'de> Visitor<'de> for Reads {
            type Value = Everything;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("anything")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Everything, A::Error> {
                while map.next_entry::<String, String>()?.is_some() {}
                Ok(Everything)
            }
        }

        deserializer.deserialize_struct("Everything", &["a"], Reads)
    }
}

#[test]
fn the_elements_of_a_sequence_are_told_apart() {
    type Texts = Vec<String>;
    let of = |texts: &[&str]| {
        let params: Vec<_> = texts.iter().map(|text| ("p", *text)).collect();
        recorded::<Texts>(&params).unwrap()
    };
    assert_eq!(of(&["a", "bc"]), "a,bc");
    assert_eq!(of(&["a,b", "(c)"]), "a%2Cb,%28c%29");
    let of_empty_texts = [of(&[]), of(&[""]), of(&["", ""])];
    assert_eq!(of_empty_texts, ["", "*", "*,"]);
    let pairs = recorded::<Vec<(String, u8)>>(&[("a", "01"), ("b", "2")]);
    assert_eq!(pairs.unwrap(), "(a,1),(b,2)");
}

#[test]
fn the_entries_of_a_map_keep_their_order_and_the_fields_of_a_struct_are_sorted() {
    let params = [("c", "1"), ("a b", "2")];
    let map = recorded::<BTreeMap<String, u8>>(&params).unwrap();
    assert_eq!(map, "c=1&a%20b=2");
    for params in [
        params,
        [("a b", "2"), ("c", "1")],
        [("c", "1"), ("ab", "2")],
    ] {
        assert_eq!(recorded::<Pair>(&params).unwrap(), "a%20b=2&c=1");
    }
}

#[test]
fn a_type_that_reads_what_it_does_not_declare_may_see_the_order() {
    let of = |params| recorded::<Everything>(params).unwrap();
    assert_eq!(of(&[("b", "1"), ("a", "2")]), "b=1&a=2");
}

#[test]
fn a_value_that_is_ignored_is_recorded_unless_a_struct_does_not_declare_it() {
    let ignored = recorded::<(IgnoredAny, u8)>(&[("a", "x"), ("b", "1")]);
    assert_eq!(ignored.unwrap(), "x,1");
    let undeclared = recorded::<Pair>(&[("c", "1"), ("d", "x"), ("a b", "2")]);
    assert_eq!(undeclared.unwrap(), "a%20b=2&c=1");
    assert_eq!(
        recorded::<IgnoredAny>(&[("a", "x")]),
        None,
        "axum refuses it"
    );
}

#[test]
fn a_type_with_a_text_for_people_is_read_from_it() {
    let address = recorded::<Ipv4Addr>(&[("ip", "127.0.0.1")]);
    assert_eq!(address.unwrap(), "127.0.0.1");
}
