//! The companion type of a handler, through which other attributes read its declarations.

use crate::serve::route::Route;

/// The companion type of a `#[cached]` handler.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a `#[cached]` handler",
    label = "expected the name of a function with `#[cached]`"
)]
pub trait Handler {
    /// The source of the key: [`OfRequest`], [`OfValues`] or [`OfTypes`].
    type Key;
    /// The number of values that `vary_by` names.
    const VARY_BY: usize = 0;
    /// Set if the groups hold only values of the key, so that a write has the same groups as the
    /// read.
    const GROUPS_BY_KEY: bool = true;
    /// Returns the declarations of the handler.
    fn route() -> &'static Route;
}

/// The key is made from the request.
#[derive(Debug)]
pub struct OfRequest;

/// The key is made from values, by a template.
#[derive(Debug)]
pub struct OfValues;

/// The handler is generic, so its name alone does not identify an instance.
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

/// A text from which a handler's key is made.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a text, and this handler has no values to name",
    label = "expected a text: the path and query of a request, or what `key = function` returns"
)]
pub trait KeyText {
    /// Returns the text.
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
