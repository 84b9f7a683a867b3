//! The companion type of a handler, by which other attributes learn about it.

use crate::serve::route::Route;

/// A `#[cached]` handler, as its companion type.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a `#[cached]` handler",
    label = "expected the name of a function with `#[cached]`"
)]
pub trait Handler {
    /// [`OfRequest`] or [`OfValues`].
    type Key;
    /// The number of values that `vary_by` names.
    const VARY_BY: usize = 0;
    /// Set if the groups of a write are those of the read: they hold no value that the key does not
    /// hold.
    const GROUPS_BY_KEY: bool = true;
    /// Returns the declarations.
    fn route() -> &'static Route;
}

/// The key is made of the request.
#[derive(Debug)]
pub struct OfRequest;

/// The key is made of values, by a template.
#[derive(Debug)]
pub struct OfValues;

/// The handler is generic: its name does not identify an instance.
#[derive(Debug)]
pub struct OfTypes;

/// The marker of handlers that can be named without values.
#[diagnostic::on_unimplemented(
    message = "this handler cannot be named alone",
    label = "name the values of its `key = \"..\"`: write `handler(value)`",
    note = "a generic handler cannot be named at all: give it a group, and evict that"
)]
pub trait NamedAlone {}

impl NamedAlone for OfRequest {}

/// Returns the route of a handler that is named without values.
pub fn named_alone<Key: NamedAlone>(route: &'static Route) -> &'static Route {
    route
}

/// A text that names a key: the path and query of a request, or the result of a key function.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a text, and this handler has no values to name",
    label = "expected a text: the path and query of a request, or what `key = function` returns"
)]
pub trait KeyText {
    /// The text.
    fn as_str(&self) -> &str;
}

impl KeyText for str {
    fn as_str(&self) -> &str {
        self
    }
}

impl KeyText for String {
    fn as_str(&self) -> &str {
        self
    }
}

impl<T: KeyText + ?Sized> KeyText for &T {
    fn as_str(&self) -> &str {
        (**self).as_str()
    }
}
