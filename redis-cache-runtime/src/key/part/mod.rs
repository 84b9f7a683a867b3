//! Parts of keys: the values of templates, of `vary_by` and of the URL.

mod foreign;
mod kind;
mod std_types;
#[cfg(test)]
mod tests;
mod typed;

use std::borrow::Cow;
use std::fmt::{self, Display, Write};

use crate::key::normal::push_byte;
use crate::key::spelling::{self, Group};

pub(crate) use kind::is_of_one_parameter;
pub use kind::{Kind, KindType, kind_of};
pub use typed::{Any, Part};

/// A value that a placeholder of a key template, or `vary_by`, may name.
///
/// Derive it for a type of your own:
///
/// ```
/// use axum_redis_cache::KeyPart;
///
/// #[derive(KeyPart)]
/// struct Repository {
///     organisation: u64,
///     name: String,
/// }
/// ```
///
/// It is implemented for integers, `bool`, `char`, strings, IP and socket addresses, `Duration`, and
/// with the features `uuid`, `chrono`, `time` and `rust_decimal` for types of these crates; for
/// `Option`, tuples, arrays, slices and `Vec` of such types, and for references to them. It is not
/// implemented for floats: equal floats can be written in several ways, and different floats alike.
/// Different values of a type write different keys, whatever characters they hold.
///
/// An implementation by hand must write everything that distinguishes two values:
///
/// ```
/// use axum_redis_cache::{KeyPart, KeyWriter};
///
/// /// Upper and lower case are the same.
/// struct Code(String);
///
/// impl KeyPart for Code {
///     fn write(&self, key: &mut KeyWriter<'_>) {
///         key.text(&self.0.to_lowercase());
///     }
/// }
/// ```
///
/// If the number of parts depends on the value, write the number first.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a part of a cache key",
    label = "not a `KeyPart`",
    note = "a type of your own can: write `#[derive(KeyPart)]` above it",
    note = "integers, `bool`, `char`, strings, addresses and `Duration` can, dates, decimals and \
            `Uuid` with the features `chrono`, `time`, `rust_decimal` and `uuid`, and `Option`s, \
            tuples and sequences of them",
    note = "floats cannot, because they have no one spelling"
)]
pub trait KeyPart {
    /// Writes the value.
    fn write(&self, key: &mut KeyWriter<'_>);

    /// The number of the type for [`Kind`]; 0: it has none.
    #[doc(hidden)]
    const KIND: u8 = 0;
}

/// The destination of a [`KeyPart`].
///
/// Letters, digits, `.`, `_` and `-` are written as they are, other bytes percent-encoded, parts
/// of one value separated by `,`. `None` is `~`, and what starts with `~` in a `Some` gets another
/// one. Sequences start with their length. The macro separates values from each other.
#[derive(Debug)]
pub struct KeyWriter<'a> {
    out: &'a mut String,
    /// The value already has a part, so the next part needs a separator.
    continued: bool,
}

impl<'a> KeyWriter<'a> {
    /// Returns a writer that appends one value to a text.
    pub(crate) fn new(out: &'a mut String) -> Self {
        Self {
            out,
            continued: false,
        }
    }
}

impl KeyWriter<'_> {
    /// Returns whether `written` is the encoding of a text.
    pub(crate) fn is_text(text: &str, written: &str) -> bool {
        let mut out = String::new();
        encode(&mut out, text.as_bytes());
        out == written
    }

    /// Writes a part of bytes.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.separate();
        encode(self.out, bytes);
    }

    /// Writes a part as text, whatever characters it holds.
    pub fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    /// Writes a part by its `Display`, which must not fail.
    fn display(&mut self, part: impl Display) {
        self.separate();
        // Writing to a string does not fail.
        let _ = write!(Encoded(self.out), "{part}");
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

/// Returns whether a byte can be in the text of a value. The macro ends a value with `;` where the text
/// after it begins with such a byte.
pub const fn is_in_values(byte: u8) -> bool {
    is_plain(byte) || matches!(byte, b'%' | b',' | b'~')
}

const fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

fn encode(out: &mut String, bytes: &[u8]) {
    for byte in bytes {
        push_byte(out, *byte, is_plain(*byte));
    }
}

/// Encodes the text that is written to it.
struct Encoded<'a>(&'a mut String);

impl Write for Encoded<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        encode(self.0, text.as_bytes());
        Ok(())
    }
}

/// The text of a key or group while its template is filled in.
#[derive(Debug, Default)]
pub struct Text(Cow<'static, str>);

impl Text {
    /// Returns an empty text.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends literal text of the template.
    #[must_use]
    pub fn literal(mut self, text: &'static str) -> Self {
        self.0 += text;
        self
    }

    /// Appends a text that an expression yields.
    #[must_use]
    pub fn text(mut self, text: impl Into<Cow<'static, str>>) -> Self {
        let text = text.into();
        if self.0.is_empty() {
            self.0 = text;
        } else {
            self.0 += text;
        }
        self
    }

    /// Appends the value of a placeholder.
    #[must_use]
    pub fn value(mut self, value: &impl KeyPart) -> Self {
        value.write(&mut KeyWriter::new(self.0.to_mut()));
        self
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn into_group(self) -> Group {
        spelling::group(self.0)
    }

    pub(crate) fn into_string(self) -> String {
        self.0.into_owned()
    }
}
