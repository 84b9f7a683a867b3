//! Values for placeholders, checked by type where a handler names another handler.

use std::borrow::Cow;
use std::marker::PhantomData;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::num::NonZero;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::Path;

use super::KeyPart;

/// The number of the type of a placeholder's value. Signatures cannot name the types that a pattern
/// binds.
#[derive(Debug)]
pub struct Kind<const KIND: u8>;

/// The type that a [`Kind`] stands for.
pub trait KindType {
    /// [`Any`] for a type that has no number.
    type Type: ?Sized;
}

/// Stands for every type. `Any` does not implement [`KeyPart`], so that its implementation of [`Part`]
/// does not conflict with those for types that do.
#[derive(Debug)]
pub struct Any;

impl KindType for Kind<0> {
    type Type = Any;
}

/// Returns the kind of the value that a closure takes out of an argument.
pub const fn kind_of<T, R: KeyPart>(_: &impl Fn(&T) -> &R) -> u8 {
    R::KIND
}

/// A value for a placeholder of type `T`. It writes the same text as a `T`.
#[diagnostic::on_unimplemented(
    message = "the key takes a `{T}` here, not a `{Self}`",
    label = "expected a `{T}`"
)]
pub trait Part<T: ?Sized>: KeyPart {}

impl<P: KeyPart> Part<Any> for P {}

/// The difference between the number of a type and that of its `Option`.
pub(super) const OPTION: u8 = 64;

/// Returns whether a type of that kind always reads one parameter of a path: an integer, `bool`, `char`
/// or `String`.
pub(crate) const fn is_of_one_parameter(kind: u8) -> bool {
    matches!(kind, 1..=3 | 10..=15 | 20..=25)
}

/// Maps numbers to types, and lets values of each type stand for itself.
macro_rules! kinds {
    ($($ty:ty)*) => { $(
        impl KindType for Kind<{ <$ty as KeyPart>::KIND }> {
            type Type = $ty;
        }

        impl KindType for Kind<{ OPTION | <$ty as KeyPart>::KIND }> {
            type Type = Option<$ty>;
        }

        impl Part<$ty> for $ty {}
    )* };
}

kinds! {
    String char bool
    u8 u16 u32 u64 u128 usize
    i8 i16 i32 i64 i128 isize
    NonZero<u8> NonZero<u16> NonZero<u32> NonZero<u64> NonZero<u128> NonZero<usize>
    NonZero<i8> NonZero<i16> NonZero<i32> NonZero<i64> NonZero<i128> NonZero<isize>
    IpAddr Ipv4Addr Ipv6Addr SocketAddr SocketAddrV4 SocketAddrV6
    Duration
}

#[cfg(feature = "uuid")]
kinds!(uuid::Uuid);

#[cfg(feature = "chrono")]
kinds! {
    chrono::NaiveDate chrono::NaiveTime chrono::NaiveDateTime
    chrono::DateTime<chrono::Utc> chrono::DateTime<chrono::FixedOffset>
}

#[cfg(feature = "time")]
kinds!(time::Date time::Time time::PrimitiveDateTime time::OffsetDateTime);

#[cfg(feature = "rust_decimal")]
kinds!(rust_decimal::Decimal);

/// Lets values of some types stand for those of another: `[parameters] type: other, other;`.
macro_rules! stand_for {
    ($($params:tt $ty:ty: $($value:ty),+;)*) => { $($(
        stand_for!($params $value = $ty);
    )+)* };
    ([$($param:tt)*] $value:ty = $ty:ty) => {
        impl<$($param)*> Part<$ty> for $value {}
    };
}

stand_for! {
    [] String: str, Box<str>, Rc<str>, Arc<str>, Cow<'_, str>;
    [] str: str, String, Box<str>, Rc<str>, Arc<str>, Cow<'_, str>;
    [] Box<str>: str, String;
    [] Rc<str>: str, String;
    [] Arc<str>: str, String;
    [] Cow<'_, str>: str, String;

    [] IpAddr: Ipv4Addr, Ipv6Addr;
    [] SocketAddr: SocketAddrV4, SocketAddrV6;

    [] (): ();
    [T: ?Sized] PhantomData<T>: PhantomData<T>;
}

// `Any` does not implement `KeyPart`.
stand_for! {
    [T: Part<U> + ?Sized, U: KeyPart + ?Sized] U: &T;
    [T: Part<U>, U: KeyPart + ?Sized] U: Path<T>, Extension<T>;
}

stand_for! {
    [T: Part<U>, U: KeyPart] Option<U>: Option<T>;

    [T: Part<U> + ?Sized, U: KeyPart + ?Sized] Box<U>: Box<T>;
    [T: Part<U> + ?Sized, U: KeyPart + ?Sized] Rc<U>: Rc<T>;
    [T: Part<U> + ?Sized, U: KeyPart + ?Sized] Arc<U>: Arc<T>;
    [T: Part<U> + ToOwned + ?Sized, U: KeyPart + ToOwned + ?Sized] Cow<'_, U>: Cow<'_, T>;

    [T: Part<U>, U: KeyPart] Vec<U>: Vec<T>, [T], Box<[T]>, Rc<[T]>, Arc<[T]>;
    [T: Part<U>, U: KeyPart] [U]: Vec<T>, [T], Box<[T]>, Rc<[T]>, Arc<[T]>;
    [T: Part<U>, U: KeyPart] Box<[U]>: Vec<T>, [T];
    [T: Part<U>, U: KeyPart] Rc<[U]>: Vec<T>, [T];
    [T: Part<U>, U: KeyPart] Arc<[U]>: Vec<T>, [T];
    [T: Part<U>, U: KeyPart, const N: usize] Vec<U>: [T; N];
    [T: Part<U>, U: KeyPart, const N: usize] [U]: [T; N];
    [T: Part<U>, U: KeyPart, const N: usize] Box<[U]>: [T; N];
    [T: Part<U>, U: KeyPart, const N: usize] Rc<[U]>: [T; N];
    [T: Part<U>, U: KeyPart, const N: usize] Arc<[U]>: [T; N];
    [T: Part<U>, U: KeyPart, const N: usize] [U; N]: [T; N];
}

/// Lets tuples stand for others by their elements: of one, two, and so on, as many as there are pairs
/// of names.
macro_rules! tuples {
    ([$($_:ident $_of:ident,)*]) => {};
    ([$($name:ident $of:ident,)*] $next:ident $of_next:ident, $($rest:ident $of_rest:ident,)*) => {
        impl<$($name: Part<$of>, $of: KeyPart,)* $next: Part<$of_next>, $of_next: KeyPart>
            Part<($($of,)* $of_next,)> for ($($name,)* $next,) {}

        tuples!([$($name $of,)* $next $of_next,] $($rest $of_rest,)*);
    };
}

tuples!(
    [] A T1, B T2, C T3, D T4, E T5, F T6, G T7, H T8, I T9, J T10, K T11, L T12, M T13, N T14,
    O T15, P T16,
);
