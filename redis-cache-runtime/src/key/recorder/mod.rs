//! Records the values that a type reads from a deserializer, as the text of a key.
//!
//! Numbers are written in one canonical form. Strings are decoded, and then percent-encoded as in a
//! template. The fields of a struct are sorted by name, unless it also reads a value that it does not
//! declare; a parameter is left out if and only if the struct does not declare it and ignores its value.
//! Maps and sequences keep their order, because the type can see their order.

use std::fmt::{self, Write as _};

use serde::Deserialize;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess,
    Visitor,
};
use smallvec::SmallVec;

use super::type_fields::field_of;
use crate::key::part::KeyWriter;

/// Deserializes a type, and appends the values that it read to `out`.
pub(crate) fn record<'de, T, D>(inner: D, out: &mut String) -> Result<(), D::Error>
where
    T: DeserializeOwned + 'static,
    D: Deserializer<'de>,
{
    let recorder = Recorder {
        inner,
        out,
        is_nested: false,
        ignored: None,
        field_of: field_of::<T>,
    };
    T::deserialize(recorder).map(drop)
}

/// The recorded text of a deserialized `T`, without the value.
pub(crate) struct Recorded<T> {
    pub(crate) text: String,
    of: std::marker::PhantomData<fn() -> T>,
}

impl<'de, T: DeserializeOwned + 'static> Deserialize<'de> for Recorded<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut text = String::new();
        record::<T, D>(deserializer, &mut text)?;
        Ok(Self {
            text,
            of: std::marker::PhantomData,
        })
    }
}

/// A function that maps a declared name to the name of its field: a struct declares its aliases in the
/// same way as its fields. The arguments are the declared name, its recorded value and all declared
/// names.
type FieldOf = fn(&'static str, &str, &[&'static str]) -> &'static str;

/// A recording wrapper around `X`: a deserializer, a visitor, a seed or the access to an enum.
struct Recorder<'a, X> {
    inner: X,
    out: &'a mut String,
    is_nested: bool,
    /// Set to `true` when an undeclared value is ignored.
    ignored: Option<&'a mut bool>,
    field_of: FieldOf,
}

impl<'a, X> Recorder<'a, X> {
    /// Returns a recorder for a value inside another value.
    fn nested(inner: X, out: &'a mut String, field_of: FieldOf) -> Self {
        Self {
            inner,
            out,
            is_nested: true,
            ignored: None,
            field_of,
        }
    }

    /// Returns the wrapped object, and a recorder with the same settings around another one.
    fn replace<Y>(self, inner: Y) -> (X, Recorder<'a, Y>) {
        let recorder = Recorder {
            inner,
            out: self.out,
            is_nested: self.is_nested,
            ignored: self.ignored,
            field_of: self.field_of,
        };
        (self.inner, recorder)
    }

    /// Returns the wrapped object, and a recorder around the visitor of a value that is recorded.
    fn split<V>(self, visitor: V) -> (X, Recorder<'a, Recording<V>>) {
        let (inner, mut recorder) = self.replace(Recording {
            visitor,
            fields: None,
        });
        recorder.ignored = None;
        (inner, recorder)
    }
}

/// Appends a parenthesis at the start or the end of a nested value.
fn enclose(out: &mut String, is_nested: bool, parenthesis: char) {
    if is_nested {
        out.push(parenthesis);
    }
}

/// The visitor of a value, with the declared fields if the value is a struct.
struct Recording<V> {
    visitor: V,
    fields: Option<&'static [&'static str]>,
}

macro_rules! forward {
    ($($method:ident)*) => { $(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
            let (inner, visitor) = self.split(visitor);
            inner.$method(visitor)
        }
    )* };
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Recorder<'_, D> {
    type Error = D::Error;

    forward! {
        deserialize_any deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32
        deserialize_i64 deserialize_i128 deserialize_u8 deserialize_u16 deserialize_u32
        deserialize_u64 deserialize_u128 deserialize_f32 deserialize_f64 deserialize_char
        deserialize_str deserialize_string deserialize_bytes deserialize_byte_buf
        deserialize_option deserialize_unit deserialize_seq deserialize_map
        deserialize_identifier
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let (inner, visitor) = self.split(visitor);
        inner.deserialize_unit_struct(name, visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let (inner, visitor) = self.split(visitor);
        inner.deserialize_newtype_struct(name, visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let (inner, visitor) = self.split(visitor);
        inner.deserialize_tuple(len, visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let (inner, visitor) = self.split(visitor);
        inner.deserialize_tuple_struct(name, len, visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let (inner, mut visitor) = self.split(visitor);
        visitor.inner.fields = Some(fields);
        inner.deserialize_struct(name, fields, visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let (inner, visitor) = self.split(visitor);
        inner.deserialize_enum(name, variants, visitor)
    }

    /// Records ignored values too, except those that a struct does not declare, and except the
    /// outermost value: a type that ignores its whole input reads nothing.
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        if let Some(ignored) = self.ignored {
            *ignored = true;
            return self.inner.deserialize_ignored_any(visitor);
        }
        if !self.is_nested {
            return self.inner.deserialize_ignored_any(visitor);
        }
        let (inner, text) = self.split(serde::de::IgnoredAny);
        inner.deserialize_any(text)?;
        visitor.visit_unit()
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

macro_rules! displayed {
    ($($method:ident($ty:ty))*) => { $(
        fn $method<E: Error>(self, value: $ty) -> Result<V::Value, E> {
            // Writing to a string does not fail.
            let _ = write!(self.out, "{value}");
            self.inner.visitor.$method(value)
        }
    )* };
}

macro_rules! texts {
    ($($method:ident($ty:ty))*) => { $(
        fn $method<E: Error>(self, value: $ty) -> Result<V::Value, E> {
            KeyWriter::new(self.out).text(&value);
            self.inner.visitor.$method(value)
        }
    )* };
}

macro_rules! bytes {
    ($($method:ident($ty:ty))*) => { $(
        fn $method<E: Error>(self, value: $ty) -> Result<V::Value, E> {
            KeyWriter::new(self.out).bytes(&value);
            self.inner.visitor.$method(value)
        }
    )* };
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Recorder<'_, Recording<V>> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.visitor.expecting(f)
    }

    displayed! {
        visit_bool(bool)
        visit_i8(i8) visit_i16(i16) visit_i32(i32) visit_i64(i64) visit_i128(i128)
        visit_u8(u8) visit_u16(u16) visit_u32(u32) visit_u64(u64) visit_u128(u128)
        // The fewest digits that read as the same number.
        visit_f32(f32) visit_f64(f64)
    }

    texts! {
        visit_str(&str) visit_borrowed_str(&'de str) visit_string(String)
    }

    bytes! {
        visit_bytes(&[u8]) visit_borrowed_bytes(&'de [u8]) visit_byte_buf(Vec<u8>)
    }

    fn visit_char<E: Error>(self, value: char) -> Result<V::Value, E> {
        KeyWriter::new(self.out).text(value.encode_utf8(&mut [0; 4]));
        self.inner.visitor.visit_char(value)
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.out.push('~');
        self.inner.visitor.visit_none()
    }

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.out.push('~');
        self.inner.visitor.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        let (recording, recorder) = self.replace(inner);
        recording.visitor.visit_some(recorder)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        let (recording, recorder) = self.replace(inner);
        recording.visitor.visit_newtype_struct(recorder)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        enclose(self.out, self.is_nested, '(');
        let (visitor, is_nested) = (self.inner.visitor, self.is_nested);
        let mut elements = Elements {
            inner,
            out: self.out,
            is_first: true,
            field_of: self.field_of,
        };
        let value = visitor.visit_seq(&mut elements)?;
        enclose(elements.out, is_nested, ')');
        Ok(value)
    }

    fn visit_map<A: MapAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        enclose(self.out, self.is_nested, '(');
        let Recording { visitor, fields } = self.inner;
        let mut entries = Entries {
            inner,
            fields,
            seen: SmallVec::new(),
            reads_undeclared: false,
            field_of: self.field_of,
        };
        let value = visitor.visit_map(&mut entries)?;
        entries.write(self.out);
        enclose(self.out, self.is_nested, ')');
        Ok(value)
    }

    fn visit_enum<A: EnumAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        let recorder = Recorder::nested(inner, self.out, self.field_of);
        self.inner.visitor.visit_enum(recorder)
    }
}

/// The elements of a sequence.
struct Elements<'a, A> {
    inner: A,
    out: &'a mut String,
    is_first: bool,
    field_of: FieldOf,
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for &mut Elements<'_, A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        let before = self.out.len();
        if !self.is_first {
            self.out.push(',');
        }
        let recorder = Recorder::nested(seed, &mut *self.out, self.field_of);
        let element = self.inner.next_element_seed(recorder)?;
        match element {
            Some(_) if self.is_first => {
                // Marks an empty first element, so that a sequence of one empty text differs from an
                // empty sequence.
                self.is_first = false;
                if self.out.len() == before {
                    self.out.push('*');
                }
            }
            Some(_) => {}
            None => self.out.truncate(before),
        }
        Ok(element)
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

/// The entries of a map, or of a struct with its declared fields.
struct Entries<A> {
    inner: A,
    fields: Option<&'static [&'static str]>,
    /// The name and the value of each entry. The value is empty until it is read.
    seen: SmallVec<[(String, String); 4]>,
    /// The type has read the value of a name that is not one of its declared fields, so its list of
    /// fields is incomplete.
    reads_undeclared: bool,
    field_of: FieldOf,
}

impl<A> Entries<A> {
    /// Returns the declared name that is spelled `written` in a key.
    fn declared(&self, written: &str) -> Option<&'static str> {
        let mut fields = self.fields?.iter();
        let is_written = |field: &str| field == written || KeyWriter::is_text(field, written);
        fields.find(|field| is_written(field)).copied()
    }

    fn write(mut self, out: &mut String) {
        if self.fields.is_some() && !self.reads_undeclared {
            // Entries of the same name keep their order.
            self.seen.sort_by(|(one, _), (other, _)| one.cmp(other));
        }
        for (number, (name, value)) in self.seen.iter().enumerate() {
            if number > 0 {
                out.push('&');
            }
            out.push_str(name);
            out.push('=');
            out.push_str(value);
        }
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for &mut Entries<A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        let mut name = String::new();
        let recorder = Recorder::nested(seed, &mut name, self.field_of);
        let key = self.inner.next_key_seed(recorder)?;
        if key.is_some() {
            self.seen.push((name, String::new()));
        }
        Ok(key)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        let (mut text, mut ignored) = (String::new(), false);
        let name = self.seen.last().map_or("", |(name, _)| name);
        let declared = self.declared(name);
        let is_undeclared = self.fields.is_some() && declared.is_none();
        let mut recorder = Recorder::nested(seed, &mut text, self.field_of);
        recorder.ignored = is_undeclared.then_some(&mut ignored);
        let value = self.inner.next_value_seed(recorder)?;
        if ignored {
            self.seen.pop();
            return Ok(value);
        }
        self.reads_undeclared |= is_undeclared;
        let fields = self.fields.unwrap_or_default();
        let field = declared.map(|name| (self.field_of)(name, &text, fields));
        if let Some(entry) = self.seen.last_mut() {
            if let Some(field) = field {
                entry.0.clear();
                KeyWriter::new(&mut entry.0).text(field);
            }
            entry.1 = text;
        }
        Ok(value)
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Recorder<'_, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<S::Value, D::Error> {
        let (seed, recorder) = self.replace(inner);
        seed.deserialize(recorder)
    }
}

impl<'de, A: EnumAccess<'de>> EnumAccess<'de> for Recorder<'_, A> {
    type Error = A::Error;
    type Variant = A::Variant;

    /// Records the name of the variant only: no part of a URL can hold a variant with values.
    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, A::Variant), A::Error> {
        let recorder = Recorder::nested(seed, self.out, self.field_of);
        self.inner.variant_seed(recorder)
    }
}

#[cfg(test)]
mod tests;
