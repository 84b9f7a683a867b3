//! Finds out which names are aliases of one field.
//!
//! A derived `Deserialize` declares fields and aliases alike. But it refuses a field that is there
//! twice, and names the field then: so a parameter is given twice, with a value that it has accepted.

use std::any::TypeId;
use std::cell::RefCell;
use std::collections::HashMap;

use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;

use super::path::{Refused, Word};

thread_local! {
    /// The field of each name of a type; there are as many as the code has.
    static FIELDS: RefCell<HashMap<(TypeId, &'static str), &'static str>> = RefCell::default();
}

/// The field of `T` that a declared name stands for: itself, if `T` does not say.
pub(super) fn field_of<T: DeserializeOwned + 'static>(
    name: &'static str,
    written: &str,
) -> &'static str {
    let id = (TypeId::of::<T>(), name);
    if let Some(field) = FIELDS.with_borrow(|fields| fields.get(&id).copied()) {
        return field;
    }
    let text = form_urlencoded::parse(format!("={written}").as_bytes())
        .next()
        .map_or_else(String::new, |(_, text)| text.into_owned());
    let twice = Twice {
        name,
        text: &text,
        left: 2,
    };
    let field = T::deserialize(twice).err();
    let field = field.and_then(|refused| refused.duplicate).unwrap_or(name);
    FIELDS.with_borrow_mut(|fields| fields.insert(id, field));
    field
}

/// A map that has the same entry twice.
struct Twice<'de> {
    name: &'de str,
    text: &'de str,
    left: u8,
}

impl<'de> Deserializer<'de> for Twice<'de> {
    type Error = Refused;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        visitor.visit_map(self)
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

impl<'de> MapAccess<'de> for Twice<'de> {
    type Error = Refused;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Refused> {
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                seed.deserialize(Word(self.name)).map(Some)
            }
            None => Ok(None),
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Refused> {
        seed.deserialize(ParamText(self.text))
    }
}

/// The text of a parameter, which may be read as whatever it can be parsed as.
struct ParamText<'de>(&'de str);

macro_rules! parse {
    ($($method:ident $visit:ident)*) => { $(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
            visitor.$visit(self.0.parse().map_err(|_| Refused::default())?)
        }
    )* };
}

impl<'de> Deserializer<'de> for ParamText<'de> {
    type Error = Refused;

    parse! {
        deserialize_bool visit_bool
        deserialize_i8 visit_i8
        deserialize_i16 visit_i16
        deserialize_i32 visit_i32
        deserialize_i64 visit_i64
        deserialize_i128 visit_i128
        deserialize_u8 visit_u8
        deserialize_u16 visit_u16
        deserialize_u32 visit_u32
        deserialize_u64 visit_u64
        deserialize_u128 visit_u128
        deserialize_f32 visit_f32
        deserialize_f64 visit_f64
        deserialize_char visit_char
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        visitor.visit_borrowed_str(self.0)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Refused> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        visitor.visit_enum(Word(self.0))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        visitor.visit_seq(Once(Some(self.0)))
    }

    forward_to_deserialize_any! {
        str string bytes byte_buf unit unit_struct tuple tuple_struct map struct identifier
        ignored_any
    }
}

/// A sequence of one text.
struct Once<'de>(Option<&'de str>);

impl<'de> SeqAccess<'de> for Once<'de> {
    type Error = Refused;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Refused> {
        let text = self.0.take().map(ParamText);
        text.map(|text| seed.deserialize(text)).transpose()
    }
}
