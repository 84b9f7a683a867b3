//! The types of the values that `handler::key(..)` takes, checked against the extractors of the
//! handler.

use crate::key::part::{KeyPart, Part};

/// An extractor of the URL, whose values `get_product::key(..)` takes.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is called like an extractor of axum 0.8, and is none",
    note = "if it is axum's own, it is one of another version: axum-redis-cache needs axum 0.8, so \
            write `axum = \"0.8\"` in Cargo.toml; if it is your own, give it another name"
)]
pub trait UrlPart {
    /// Set if the value is in the path, and not in the query.
    const IS_OF_PATH: bool;
    /// The type of the value.
    type Of;
}

/// A value that an extractor of the URL can have.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a value that `{A}` has",
    label = "expected the value that the handler reads"
)]
pub trait ValueOf<A>: KeyPart {}

impl<A: UrlPart, V: Part<A::Of>> ValueOf<A> for V {}

/// A value at a position of the tuple that an extractor has.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the value that `{A}` has at this place",
    label = "expected the value that the handler reads there"
)]
pub trait ElementOf<A, const AT: usize>: KeyPart {}

impl<A: UrlPart, V, const AT: usize> ElementOf<A, AT> for V
where
    A::Of: Tuple<AT>,
    V: Part<<A::Of as Tuple<AT>>::Element>,
{
}

/// A tuple with an element at a position.
pub trait Tuple<const AT: usize> {
    /// The type of the element.
    type Element;
}

macro_rules! elements {
    ($(($($ty:ident)*) $at:literal $element:ident;)*) => { $(
        impl<$($ty),*> Tuple<$at> for ($($ty,)*) {
            type Element = $element;
        }
    )* };
}

elements! {
    (A B) 0 A;
    (A B) 1 B;
    (A B C) 0 A;
    (A B C) 1 B;
    (A B C) 2 C;
    (A B C D) 0 A;
    (A B C D) 1 B;
    (A B C D) 2 C;
    (A B C D) 3 D;
    (A B C D E) 0 A;
    (A B C D E) 1 B;
    (A B C D E) 2 C;
    (A B C D E) 3 D;
    (A B C D E) 4 E;
    (A B C D E F) 0 A;
    (A B C D E F) 1 B;
    (A B C D E F) 2 C;
    (A B C D E F) 3 D;
    (A B C D E F) 4 E;
    (A B C D E F) 5 F;
    (A B C D E F G) 0 A;
    (A B C D E F G) 1 B;
    (A B C D E F G) 2 C;
    (A B C D E F G) 3 D;
    (A B C D E F G) 4 E;
    (A B C D E F G) 5 F;
    (A B C D E F G) 6 G;
    (A B C D E F G H) 0 A;
    (A B C D E F G H) 1 B;
    (A B C D E F G H) 2 C;
    (A B C D E F G H) 3 D;
    (A B C D E F G H) 4 E;
    (A B C D E F G H) 5 F;
    (A B C D E F G H) 6 G;
    (A B C D E F G H) 7 H;
}
