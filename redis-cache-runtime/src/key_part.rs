//! What may be a part of a key: the values of templates and of `vary_by`.

use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;

use axum::Extension;
use axum::extract::Path;

use crate::key::normal::push_byte;
use crate::key::{self, Group};

/// A value that a placeholder of a key template, or `vary_by`, may name.
///
/// It is implemented for integers, `bool`, `char`, strings, with the feature `uuid` for `Uuid`, and
/// for `Option` and references of them. Never for floats: equal ones can be written in several
/// ways, and different ones alike. Different values of a type write different keys, whatever
/// characters they hold.
///
/// Implement it for a type of your own by its parts, all of them:
///
/// ```
/// use axum_redis_cache::{KeyPart, KeyWriter};
///
/// struct Repository {
///     organisation: u64,
///     name: String,
/// }
///
/// impl KeyPart for Repository {
///     fn write(&self, key: &mut KeyWriter<'_>) {
///         self.organisation.write(key);
///         self.name.write(key);
///     }
/// }
/// ```
///
/// When how many parts there are depends on the value, write their number first.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a part of a cache key",
    label = "not a `KeyPart`",
    note = "integers, `bool`, `char`, strings, `Uuid` (feature `uuid`) and `Option`s of them can; \
            floats cannot, because they have no one spelling",
    note = "implement `KeyPart` for a type of your own by the parts it is made of"
)]
pub trait KeyPart {
    /// Writes the value.
    fn write(&self, key: &mut KeyWriter<'_>);

    /// Tells [`Kind`] which type this is; 0: none that it knows.
    #[doc(hidden)]
    const KIND: u8 = 0;
}

/// Where a [`KeyPart`] is written to.
///
/// Letters, digits, `.`, `_` and `-` are written as they are, other bytes percent-encoded, parts
/// of one value separated by `,`. `None` is `~`. The macro separates values from each other.
#[derive(Debug)]
pub struct KeyWriter<'a> {
    out: &'a mut String,
    /// There is a part of this value before the next one.
    continued: bool,
}

impl<'a> KeyWriter<'a> {
    /// A writer of one value, at the end of a text.
    pub(crate) fn new(out: &'a mut String) -> Self {
        Self {
            out,
            continued: false,
        }
    }
}

impl KeyWriter<'_> {
    /// Writes a part of bytes.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.separate();
        for byte in bytes {
            let plain = byte.is_ascii_alphanumeric() || b"._-".contains(byte);
            push_byte(self.out, *byte, plain);
        }
    }

    /// Returns whether a text is written like that.
    pub(crate) fn is_text(text: &str, written: &str) -> bool {
        let mut out = String::new();
        KeyWriter::new(&mut out).text(text);
        out == written
    }

    /// Writes a part as text, whatever characters it holds.
    pub fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    fn separate(&mut self) {
        if self.continued {
            self.out.push(',');
        }
        self.continued = true;
    }

    fn option<T: KeyPart>(&mut self, value: Option<&T>) {
        self.separate();
        let Some(value) = value else {
            return self.out.push('~');
        };
        let start = self.out.len();
        self.continued = false;
        value.write(self);
        self.continued = true;
        if self.out[start..].starts_with('~') {
            self.out.insert(start, '~');
        }
    }
}

/// The text of a key or group while its template is filled in.
#[derive(Debug, Default)]
pub struct Text(Cow<'static, str>);

impl Text {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends what the template says itself.
    #[must_use]
    pub fn literal(mut self, text: &'static str) -> Self {
        self.0 += text;
        self
    }

    /// Appends the value of a placeholder.
    #[must_use]
    pub fn value(mut self, value: &impl KeyPart) -> Self {
        value.write(&mut KeyWriter {
            out: self.0.to_mut(),
            continued: false,
        });
        self
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn into_group(self) -> Group {
        key::group(self.0)
    }

    pub(crate) fn into_string(self) -> String {
        self.0.into_owned()
    }
}

/// The type of a placeholder's value, as its number: signatures cannot name what a pattern binds.
#[derive(Debug)]
pub struct Kind<const KIND: u8>;

/// The type that a [`Kind`] stands for.
pub trait KindType {
    /// [`Any`] for a type that has no number.
    type Type: ?Sized;
}

/// Stands for every type.
#[derive(Debug)]
pub struct Any;

impl KindType for Kind<0> {
    type Type = Any;
}

/// The kind of what a closure takes out of an argument.
pub const fn kind_of<T, R: KeyPart>(_: &impl Fn(&T) -> &R) -> u8 {
    R::KIND
}

/// A value for a placeholder whose values are of type `T`: one of that type, or a reference to one.
#[diagnostic::on_unimplemented(
    message = "the key takes a `{T}` here, not a `{Self}`",
    label = "expected a `{T}`"
)]
pub trait Part<T: ?Sized>: KeyPart {}

impl<P: KeyPart> Part<Any> for P {}

const OPTION: u8 = 64;

impl<T: KeyPart> KeyPart for Option<T> {
    fn write(&self, key: &mut KeyWriter<'_>) {
        key.option(self.as_ref());
    }

    const KIND: u8 = match T::KIND {
        0 => 0,
        kind if kind & OPTION != 0 => 0,
        kind => OPTION | kind,
    };
}

macro_rules! pointers {
    ($([$($param:tt)*] $ty:ty = $kind:expr;)*) => { $(
        impl<$($param)*> KeyPart for $ty {
            fn write(&self, key: &mut KeyWriter<'_>) {
                (**self).write(key);
            }

            const KIND: u8 = $kind;
        }
    )* };
}

pointers! {
    [T: KeyPart + ?Sized] &T = T::KIND;
    [T: KeyPart + ?Sized] Box<T> = 0;
    [T: KeyPart + ?Sized] Rc<T> = 0;
    [T: KeyPart + ?Sized] Arc<T> = 0;
    [T: KeyPart + ToOwned + ?Sized] Cow<'_, T> = 0;
    // So that a template may name an argument as it is: `id: Path<u64>`.
    [T: KeyPart] Path<T> = T::KIND;
    [T: KeyPart] Extension<T> = T::KIND;
}

impl KeyPart for str {
    fn write(&self, key: &mut KeyWriter<'_>) {
        key.text(self);
    }

    const KIND: u8 = 1;
}

impl KeyPart for String {
    fn write(&self, key: &mut KeyWriter<'_>) {
        key.text(self);
    }

    const KIND: u8 = str::KIND;
}

impl KeyPart for char {
    fn write(&self, key: &mut KeyWriter<'_>) {
        key.text(self.encode_utf8(&mut [0; 4]));
    }

    const KIND: u8 = 2;
}

impl KeyPart for bool {
    fn write(&self, key: &mut KeyWriter<'_>) {
        key.text(if *self { "true" } else { "false" });
    }

    const KIND: u8 = 3;
}

macro_rules! integers {
    ($($kind:literal $ty:ty;)*) => { $(
        impl KeyPart for $ty {
            fn write(&self, key: &mut KeyWriter<'_>) {
                key.text(itoa::Buffer::new().format(*self));
            }

            const KIND: u8 = $kind;
        }
    )* };
}

integers! {
    10 u8;
    11 u16;
    12 u32;
    13 u64;
    14 u128;
    15 usize;
    20 i8;
    21 i16;
    22 i32;
    23 i64;
    24 i128;
    25 isize;
}

#[cfg(feature = "uuid")]
impl KeyPart for uuid::Uuid {
    fn write(&self, key: &mut KeyWriter<'_>) {
        key.text(
            self.hyphenated()
                .encode_lower(&mut uuid::Uuid::encode_buffer()),
        );
    }

    const KIND: u8 = 30;
}

/// Lets values of these types, and `Option`s of them where the key takes one, stand for a kind.
macro_rules! kinds {
    ($($kind:literal $ty:ty $(: $($other:ty),*)?;)*) => { $(
        impl KindType for Kind<$kind> {
            type Type = $ty;
        }

        impl KindType for Kind<{ OPTION | $kind }> {
            type Type = Option<$ty>;
        }

        impl Part<$ty> for $ty {}
        impl<T: Part<$ty> + ?Sized> Part<$ty> for &T {}
        impl<T: Part<$ty>> Part<Option<$ty>> for Option<T> {}
        impl<T: Part<Option<$ty>>> Part<Option<$ty>> for &T {}
        impl<T: Part<$ty>> Part<$ty> for Path<T> {}
        impl<T: Part<$ty>> Part<$ty> for Extension<T> {}
        impl<T: Part<Option<$ty>>> Part<Option<$ty>> for Path<T> {}
        impl<T: Part<Option<$ty>>> Part<Option<$ty>> for Extension<T> {}
        $($(impl Part<$ty> for $other {})*)?
    )* };
}

kinds! {
    1 String: str, Box<str>, Arc<str>, Cow<'_, str>;
    2 char;
    3 bool;
    10 u8;
    11 u16;
    12 u32;
    13 u64;
    14 u128;
    15 usize;
    20 i8;
    21 i16;
    22 i32;
    23 i64;
    24 i128;
    25 isize;
}

#[cfg(feature = "uuid")]
kinds! {
    30 uuid::Uuid;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(value: &impl KeyPart) -> String {
        Text::new().value(value).into_string()
    }

    #[test]
    fn values_are_readable_where_they_can_be() {
        assert_eq!(written(&42_u64), "42");
        assert_eq!(written(&-1_i8), "-1");
        assert_eq!(written(&"tokio-rs_1.0"), "tokio-rs_1.0");
        assert_eq!(written(&"a/b:c d%~,;"), "a%2Fb%3Ac%20d%25%7E%2C%3B");
        assert_eq!(written(&'\u{e4}'), "%C3%A4");
        assert_eq!(written(&Some("x")), "x");
        assert_eq!(written(&None::<bool>), "~");
        assert_eq!(written(&Some(None::<bool>)), "~~");
    }

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

    type Values = (
        String,
        Option<Pair>,
        Option<Option<String>>,
        char,
        (i16, bool),
    );

    fn hostile() -> impl Strategy<Value = String> {
        prop_oneof![
            "[~,;%:/a]{0,4}",
            "(%2F|%7E|~|,|;|None|a|\u{e4}){0,3}",
            any::<String>()
        ]
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
        )
    }

    /// As the macro writes a template: values that could run into what follows end with `;`.
    fn template((text, pair, nested, character, (number, flag)): &Values) -> String {
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
            .literal("%~")
            .into_string()
    }

    /// The same by the rules of the encoding, read backwards. What can be read back is injective.
    fn read(key: &str) -> Option<[String; 6]> {
        let is_value = |c: char| c.is_ascii_alphanumeric() || "%~,.-_".contains(c);
        let mut rest = key.strip_prefix("k:")?;
        let mut out = [const { String::new() }; 6];
        for (value, end) in out.iter_mut().zip([";", "/", ";a", ":", ";", "%~"]) {
            let len = rest
                .find(|c| !is_value(c))
                .unwrap_or_else(|| rest.len() - end.len());
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
                written(&a.4.1),
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
}
