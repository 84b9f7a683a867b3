//! What the companion of a handler tells other attributes about it.

use crate::route::Route;

/// A `#[cached]` handler, as its companion type.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a `#[cached]` handler",
    label = "expected the name of a function with `#[cached]`"
)]
pub trait Handler {
    /// [`OfRequest`] or [`OfValues`].
    type Key;
    /// How many values `vary_by` names.
    const VARY_BY: usize = 0;
    /// The groups of a write are those of the read: they hold no value that the key does not.
    const GROUPS_BY_KEY: bool = true;
    /// What was declared.
    fn route() -> &'static Route;
}

/// The key is made of the request.
#[derive(Debug)]
pub struct OfRequest;

/// The key is made of values, by a template.
#[derive(Debug)]
pub struct OfValues;

/// Whether a handler can be named alone.
#[diagnostic::on_unimplemented(
    message = "the key of this handler is made of values, which are missing here",
    label = "name the values of its `key = \"..\"`: write `handler(value)`"
)]
pub trait NamedAlone {}

impl NamedAlone for OfRequest {}

/// The route of a handler that is named without values.
pub fn named_alone<Key: NamedAlone>(route: &'static Route) -> &'static Route {
    route
}

/// A text that names what a handler's key is of, when that is no template.
#[diagnostic::on_unimplemented(
    message = "the key of this handler is not made of values, and `{Self}` is not a text",
    label = "expected a text: the path and query of the request, or what `key = function` returns",
    note = "write the handler alone for the request at hand, or give it a template: \
            `key = \"product:{{id}}\"`"
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
