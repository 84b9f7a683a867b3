//! Deserializes the parameters of a path exactly as axum's `Path` does, and records which of them a
//! type has read. (The deserializer of axum is private.)

use std::cell::Cell;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::text::{Refused, Text, Word};

/// The parameters of a path, decoded, in the order of the route.
pub(crate) struct PathParams<'de> {
    params: &'de [(&'de str, &'de str)],
    read: Cell<u64>,
    needs_names: Cell<bool>,
}

impl<'de> PathParams<'de> {
    pub(crate) fn new(params: &'de [(&'de str, &'de str)]) -> Self {
        Self {
            params,
            read: Cell::new(0),
            needs_names: Cell::new(false),
        }
    }

    /// Returns a bit for each parameter that was read.
    pub(crate) fn read(&self) -> u64 {
        self.read.get()
    }

    /// Returns whether the type reads the parameters by name, or as a sequence of any length. Then the
    /// values alone do not identify the parameters.
    pub(crate) fn needs_names(&self) -> bool {
        self.needs_names.get()
    }

    fn value(&self, at: usize, name: Option<&'de str>, text: &'de str) -> ParamValue<'_, 'de> {
        ParamValue {
            at,
            name,
            text,
            read: &self.read,
        }
    }

    /// Returns the value of the only parameter. More or fewer parameters are an error.
    fn only(&self) -> Result<ParamValue<'_, 'de>, Refused> {
        match self.params {
            [(_, text)] => Ok(self.value(0, None, text)),
            _ => Err(Refused::default()),
        }
    }

    fn of_length<V: Visitor<'de>>(&self, len: usize, visitor: V) -> Result<V::Value, Refused> {
        if self.params.len() == len {
            visitor.visit_seq(Values {
                params: self,
                at: 0,
            })
        } else {
            Err(Refused::default())
        }
    }
}

/// Methods that read the only parameter.
macro_rules! only {
    ($($method:ident)*) => { $(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
            self.only()?.$method(visitor)
        }
    )* };
}

/// Methods that axum's deserializer rejects.
macro_rules! refuse {
    ($($method:ident)*) => { $(
        fn $method<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Refused> {
            Err(Refused::default())
        }
    )* };
}

/// Methods for units, which read no parameter, and for newtypes, which read what their inner type
/// reads.
macro_rules! units {
    () => {
        fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
            visitor.visit_unit()
        }

        fn deserialize_unit_struct<V: Visitor<'de>>(
            self,
            _: &'static str,
            visitor: V,
        ) -> Result<V::Value, Refused> {
            visitor.visit_unit()
        }

        fn deserialize_newtype_struct<V: Visitor<'de>>(
            self,
            _: &'static str,
            visitor: V,
        ) -> Result<V::Value, Refused> {
            visitor.visit_newtype_struct(self)
        }
    };
}

impl<'de> Deserializer<'de> for &mut PathParams<'de> {
    type Error = Refused;

    only! {
        deserialize_any deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32
        deserialize_i64 deserialize_i128 deserialize_u8 deserialize_u16 deserialize_u32
        deserialize_u64 deserialize_u128 deserialize_f32 deserialize_f64 deserialize_char
        deserialize_str deserialize_string deserialize_byte_buf
    }

    refuse! {
        deserialize_bytes deserialize_option deserialize_identifier deserialize_ignored_any
    }

    units!();

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        self.needs_names.set(true);
        visitor.visit_seq(Values {
            params: self,
            at: 0,
        })
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Refused> {
        self.of_length(len, visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Refused> {
        self.of_length(len, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        self.needs_names.set(true);
        visitor.visit_map(Values {
            params: self,
            at: 0,
        })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        self.only()?.deserialize_enum(name, variants, visitor)
    }
}

/// The parameters from an index on.
struct Values<'a, 'de> {
    params: &'a PathParams<'de>,
    at: usize,
}

impl<'de> SeqAccess<'de> for Values<'_, 'de> {
    type Error = Refused;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Refused> {
        let Some((name, text)) = self.params.params.get(self.at) else {
            return Ok(None);
        };
        let value = self.params.value(self.at, Some(name), text);
        self.at += 1;
        seed.deserialize(value).map(Some)
    }
}

impl<'de> MapAccess<'de> for Values<'_, 'de> {
    type Error = Refused;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Refused> {
        match self.params.params.get(self.at) {
            Some((name, _)) => seed.deserialize(Word(name)).map(Some),
            None => Ok(None),
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Refused> {
        let (_, text) = self.params.params.get(self.at).ok_or(Refused::default())?;
        let value = self.params.value(self.at, None, text);
        self.at += 1;
        seed.deserialize(value)
    }
}

/// The value of a parameter.
struct ParamValue<'a, 'de> {
    at: usize,
    /// The name of the parameter, if the value is an element of a sequence: a type may read the element
    /// as a pair of name and value.
    name: Option<&'de str>,
    text: &'de str,
    read: &'a Cell<u64>,
}

impl ParamValue<'_, '_> {
    fn mark_read(&self) {
        if self.at < 64 {
            self.read.set(self.read.get() | 1 << self.at);
        }
    }
}

/// Methods that read the text.
macro_rules! read {
    ($($method:ident)*) => { $(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
            self.mark_read();
            Text(self.text).$method(visitor)
        }
    )* };
}

impl<'de> Deserializer<'de> for ParamValue<'_, 'de> {
    type Error = Refused;

    read! {
        deserialize_any deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32
        deserialize_i64 deserialize_i128 deserialize_u8 deserialize_u16 deserialize_u32
        deserialize_u64 deserialize_u128 deserialize_f32 deserialize_f64 deserialize_char
        deserialize_str deserialize_string deserialize_bytes deserialize_byte_buf
    }

    refuse! { deserialize_map deserialize_identifier deserialize_seq }

    units!();

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        visitor.visit_some(self)
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Refused> {
        match self.name {
            Some(name) if len == 2 => {
                self.mark_read();
                visitor.visit_seq(Pair {
                    name: Some(name),
                    value: Some(ParamValue { name: None, ..self }),
                })
            }
            _ => Err(Refused::default()),
        }
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        _: V,
    ) -> Result<V::Value, Refused> {
        Err(Refused::default())
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Refused> {
        Err(Refused::default())
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        self.mark_read();
        Text(self.text).deserialize_enum(name, variants, visitor)
    }

    /// Ignores the value, which does not count as read.
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        visitor.visit_unit()
    }
}

/// The name and the value of a parameter, as a pair.
struct Pair<'a, 'de> {
    name: Option<&'de str>,
    value: Option<ParamValue<'a, 'de>>,
}

impl<'de> SeqAccess<'de> for Pair<'_, 'de> {
    type Error = Refused;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Refused> {
        if let Some(name) = self.name.take() {
            return seed.deserialize(Word(name)).map(Some);
        }
        let value = self.value.take();
        value.map(|value| seed.deserialize(value)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    /// Returns the value that a type reads from parameters, and the parameters that it read.
    fn read<'de, T: Deserialize<'de>>(params: &'de [(&'de str, &'de str)]) -> Option<(T, u64)> {
        let mut params = PathParams::new(params);
        let value = T::deserialize(&mut params).ok()?;
        Some((value, params.read()))
    }

    #[test]
    fn a_parameter_can_be_read_with_its_name() {
        let params = [("a", "1"), ("b", "2")];
        let (pairs, read) = self::read::<Vec<(String, u8)>>(&params).unwrap();
        assert_eq!(
            (pairs, read),
            (vec![("a".into(), 1), ("b".into(), 2)], 0b11)
        );
        assert!(self::read::<Vec<(String, u8, u8)>>(&params).is_none());
        assert!(self::read::<Vec<(String,)>>(&params).is_none());
        assert!(self::read::<Vec<(String, (String, u8))>>(&params).is_none());
    }

    #[test]
    fn there_may_be_more_parameters_than_bits() {
        let params = [("a", "1"); 65];
        let (values, read) = self::read::<Vec<u8>>(&params).unwrap();
        assert_eq!((values.len(), read), (65, u64::MAX));
    }
}
