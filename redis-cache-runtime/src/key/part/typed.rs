//! Values for placeholders, checked by type where a handler names another handler.

use std::borrow::Cow;
use std::marker::PhantomData;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::rc::Rc;
use std::sync::Arc;

use axum::Extension;
use axum::extract::Path;

use super::KeyPart;

/// Stands for every type. `Any` does not implement [`KeyPart`], so that its implementation of [`Part`]
/// does not conflict with those for types that do.
#[derive(Debug)]
pub struct Any;

/// A value for a placeholder of type `T`. It writes the same text as a `T`.
#[diagnostic::on_unimplemented(
    message = "the key takes a `{T}` here, not a `{Self}`",
    label = "expected a `{T}`"
)]
pub trait Part<T: ?Sized>: KeyPart {}

impl<P: KeyPart> Part<Any> for P {}

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
