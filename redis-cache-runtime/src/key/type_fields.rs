//! Discovers the fields of a type by deserializing the type from test parameters.

use std::any::TypeId;
use std::cell::RefCell;
use std::collections::HashMap;

use serde::de::value::MapDeserializer;
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde::forward_to_deserialize_any;

use super::text::{Refused, Text, Word};

thread_local! {
    /// The field of each name of a type. The code bounds the number of names.
    static FIELDS: RefCell<HashMap<(TypeId, &'static str), &'static str>> = RefCell::default();
}

/// Returns the field of `T` that a declared name stands for; the name itself if `T` does not reveal it.
///
/// A derived `Deserialize` declares fields and aliases alike. But its error for a field that occurs
/// twice names the field. So the parameter is given twice, with a value that the field accepts.
pub(super) fn field_of<T: DeserializeOwned + 'static>(
    name: &'static str,
    written: &str,
    declared: &[&'static str],
) -> &'static str {
    let id = (TypeId::of::<T>(), name);
    if let Some(field) = FIELDS.with_borrow(|fields| fields.get(&id).copied()) {
        return field;
    }
    // The same values for every request, so that all threads and processes find the same.
    let usual = ["1", "a", "true", "0.5", ""].map(str::to_owned);
    let values = usual.into_iter().chain([decoded(written)]);
    let mut found = values.filter_map(|value| duplicate::<T>([(name, &value), (name, &value)]));
    // An implementation by hand may name anything.
    let field = found.next().filter(|field| declared.contains(field));
    let field = field.unwrap_or(name);
    FIELDS.with_borrow_mut(|fields| fields.insert(id, field));
    field
}

/// Returns whether equal values of `T` always come from the same parameters. They do not if a missing
/// field has a default, because a query can also contain the default.
pub(super) fn has_one_spelling<T: DeserializeOwned>(query: &str) -> bool {
    let fields = match shape_of::<T>() {
        Shape::Sequence => return true,
        Shape::Struct(fields) => fields,
        Shape::Unknown => return false,
    };
    let pairs: Vec<_> = form_urlencoded::parse(query.as_bytes()).collect();
    let pairs: Vec<(&str, &str)> = pairs
        .iter()
        .map(|(name, value)| (&**name, &**value))
        .collect();
    fields
        .iter()
        .all(|field| is_optional::<T>(field) || is_needed::<T>(field, &pairs))
}

/// Returns whether `T` requires a field, under this name or an alias.
fn is_needed<T: DeserializeOwned>(field: &str, pairs: &[(&str, &str)]) -> bool {
    let is_same = |(name, value): (&str, &str)| {
        name == field || duplicate::<T>([(name, value), (field, value)]).is_some()
    };
    let others: Vec<_> = pairs
        .iter()
        .copied()
        .filter(|pair| !is_same(*pair))
        .collect();
    others.len() < pairs.len() && T::deserialize(Pairs(&others)).is_err()
}

/// Returns the field that occurs twice.
fn duplicate<T: DeserializeOwned>(pairs: [(&str, &str); 2]) -> Option<&'static str> {
    T::deserialize(Pairs(&pairs)).err()?.duplicate
}

/// Decodes a percent-encoded text.
fn decoded(written: &str) -> String {
    let written = format!("={written}");
    let mut parsed = form_urlencoded::parse(written.as_bytes());
    parsed
        .next()
        .map_or_else(String::new, |(_, text)| text.into_owned())
}

/// Parameters as a map.
#[derive(Clone, Copy)]
struct Pairs<'de>(&'de [(&'de str, &'de str)]);

impl<'de> Deserializer<'de> for Pairs<'de> {
    type Error = Refused;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        let pairs = self.0.iter().map(|(name, text)| (Word(name), Text(text)));
        visitor.visit_map(MapDeserializer::new(pairs))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Refused> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        visitor.visit_some(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// The first request of a type to a deserializer.
#[derive(Clone, Copy, Default)]
enum Shape {
    Struct(&'static [&'static str]),
    Sequence,
    #[default]
    Unknown,
}

fn shape_of<T: DeserializeOwned>() -> Shape {
    let mut shape = Shape::default();
    // Every request is refused.
    let _ = T::deserialize(Asking {
        shape: &mut shape,
        is_option: &mut false,
        field: None,
    });
    shape
}

/// Returns whether the value of a field may be left out as an `Option`.
fn is_optional<T: DeserializeOwned>(field: &'static str) -> bool {
    let mut is_option = false;
    let _ = T::deserialize(Asking {
        shape: &mut Shape::default(),
        is_option: &mut is_option,
        field: Some(field),
    });
    is_option
}

/// A deserializer that records the request of a type or of a field, and refuses it.
struct Asking<'a> {
    shape: &'a mut Shape,
    is_option: &'a mut bool,
    field: Option<&'static str>,
}

impl<'de> Deserializer<'de> for Asking<'_> {
    type Error = Refused;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Refused> {
        Err(Refused::default())
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Refused> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_option<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Refused> {
        *self.is_option = true;
        Err(Refused::default())
    }

    fn deserialize_seq<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Refused> {
        *self.shape = Shape::Sequence;
        Err(Refused::default())
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        *self.shape = Shape::Struct(fields);
        if self.field.is_some() {
            visitor.visit_map(self)
        } else {
            Err(Refused::default())
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct tuple tuple_struct map enum identifier ignored_any
    }
}

impl<'de> MapAccess<'de> for Asking<'_> {
    type Error = Refused;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Refused> {
        let name = self.field.take();
        name.map(|name| seed.deserialize(Word(name))).transpose()
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Refused> {
        seed.deserialize(Asking {
            shape: &mut *self.shape,
            is_option: &mut *self.is_option,
            field: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Deserialize)]
    #[allow(dead_code, reason = "what is read of it matters")]
    struct Page {
        #[serde(alias = "p")]
        page: u32,
        size: Option<u32>,
    }

    #[derive(Deserialize)]
    #[allow(dead_code, reason = "what is read of it matters")]
    struct Sorted {
        page: u32,
        #[serde(default)]
        sort: String,
    }

    #[derive(Deserialize)]
    enum Size {
        #[serde(rename = "very large")]
        VeryLarge,
    }

    #[derive(Deserialize)]
    #[allow(dead_code, reason = "what is read of it matters")]
    struct Sized {
        #[serde(alias = "s")]
        size: Size,
    }

    #[test]
    fn an_alias_stands_for_its_field_whose_values_are_like_no_usual_ones() {
        let declared = ["size", "s"];
        assert_eq!(field_of::<Sized>("s", "very%20large", &declared), "size");
    }

    #[test]
    fn an_alias_stands_for_its_field() {
        assert_eq!(field_of::<Page>("p", "1", &["page", "p", "size"]), "page");
        assert_eq!(
            field_of::<Page>("page", "~", &["page", "p", "size"]),
            "page"
        );
        assert_eq!(
            field_of::<Page>("size", "1", &["page", "p", "size"]),
            "size"
        );
        assert_eq!(
            field_of::<Sorted>("sort", "a%20b", &["page", "sort"]),
            "sort"
        );
    }

    #[test]
    fn a_default_can_be_spelled_in_two_ways() {
        for query in ["page=1", "p=1&size=2", "page=1&x=y"] {
            assert!(has_one_spelling::<Page>(query), "{query}");
        }
        for query in ["page=1", "page=1&sort=", "sort=x&page=2"] {
            assert!(!has_one_spelling::<Sorted>(query), "{query}");
        }
        assert!(!has_one_spelling::<Page>("x=y"), "nothing was read");
        assert!(has_one_spelling::<Vec<(String, String)>>("sort=x"));
        assert!(!has_one_spelling::<HashMap<String, String>>("sort=x"));
    }
}
