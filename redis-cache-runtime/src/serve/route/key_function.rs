//! Keys that a function of the application makes from the head of the request.

use axum::http::request::Parts;
use futures_util::future::BoxFuture;

/// The source of a handler's keys.
#[derive(Clone, Copy, Debug)]
pub(super) enum KeyKind {
    /// The values that its arguments read from the URL.
    Default,
    /// The values of a template.
    Template,
    /// The result of a key function.
    Function(KeyFunction),
}

/// A function that makes the key of a request.
pub(crate) type KeyFunction = for<'a> fn(&'a Parts) -> KeyFuture<'a>;

pub(super) type KeyFuture<'a> = BoxFuture<'a, String>;

/// A result of a key function: a `String`, or a future of one.
#[diagnostic::on_unimplemented(
    message = "a key function returns a `String` or a future of one, not `{Self}`",
    label = "expected `fn(&Parts) -> String` or `async fn(&Parts) -> String`"
)]
pub trait KeyResult<'a, When> {
    /// Returns a future of the key.
    fn into_future(self) -> KeyFuture<'a>;
}

/// The result of a function that is not async.
#[derive(Debug)]
pub struct Now;

/// The result of an async function.
#[derive(Debug)]
pub struct Later;

impl<'a> KeyResult<'a, Now> for String {
    fn into_future(self) -> KeyFuture<'a> {
        Box::pin(std::future::ready(self))
    }
}

impl<'a, F: Future<Output = String> + Send + 'a> KeyResult<'a, Later> for F {
    fn into_future(self) -> KeyFuture<'a> {
        Box::pin(self)
    }
}
