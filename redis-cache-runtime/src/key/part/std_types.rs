//! [`KeyPart`] for types of the standard library, and for extractors that hold one value.
//!
//! The parts of a value are never the beginning of the parts of another value of the type. So parts can
//! follow one another, in a tuple or a struct, and stay unambiguous.

use std::borrow::Cow;
use std::marker::PhantomData;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::num::NonZero;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::Path;

use super::typed::OPTION;
use super::{KeyPart, KeyWriter};

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
    ($($kind:literal $non_zero:literal $ty:ty;)*) => { $(
        impl KeyPart for $ty {
            fn write(&self, key: &mut KeyWriter<'_>) {
                key.text(itoa::Buffer::new().format(*self));
            }

            const KIND: u8 = $kind;
        }

        impl KeyPart for NonZero<$ty> {
            fn write(&self, key: &mut KeyWriter<'_>) {
                self.get().write(key);
            }

            const KIND: u8 = $non_zero;
        }
    )* };
}

integers! {
    10 40 u8;
    11 41 u16;
    12 42 u32;
    13 43 u64;
    14 44 u128;
    15 45 usize;
    20 50 i8;
    21 51 i16;
    22 52 i32;
    23 53 i64;
    24 54 i128;
    25 55 isize;
}

impl KeyPart for IpAddr {
    fn write(&self, key: &mut KeyWriter<'_>) {
        match self {
            Self::V4(address) => address.write(key),
            Self::V6(address) => address.write(key),
        }
    }

    const KIND: u8 = 4;
}

impl KeyPart for Ipv4Addr {
    fn write(&self, key: &mut KeyWriter<'_>) {
        key.display(self);
    }

    const KIND: u8 = 5;
}

impl KeyPart for Ipv6Addr {
    fn write(&self, key: &mut KeyWriter<'_>) {
        key.display(self);
    }

    const KIND: u8 = 6;
}

impl KeyPart for SocketAddr {
    fn write(&self, key: &mut KeyWriter<'_>) {
        match self {
            Self::V4(address) => address.write(key),
            Self::V6(address) => address.write(key),
        }
    }

    const KIND: u8 = 7;
}

impl KeyPart for SocketAddrV4 {
    fn write(&self, key: &mut KeyWriter<'_>) {
        (self.ip(), self.port()).write(key);
    }

    const KIND: u8 = 8;
}

impl KeyPart for SocketAddrV6 {
    fn write(&self, key: &mut KeyWriter<'_>) {
        (self.ip(), self.port(), self.flowinfo(), self.scope_id()).write(key);
    }

    const KIND: u8 = 9;
}

impl KeyPart for Duration {
    fn write(&self, key: &mut KeyWriter<'_>) {
        match (self.as_secs(), self.subsec_nanos()) {
            (seconds, 0) => seconds.write(key),
            (seconds, nanoseconds) => key.display(format_args!("{seconds}.{nanoseconds:09}")),
        }
    }

    const KIND: u8 = 16;
}

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

/// Writes the number of elements, then each element.
impl<T: KeyPart> KeyPart for [T] {
    fn write(&self, key: &mut KeyWriter<'_>) {
        self.len().write(key);
        for item in self {
            item.write(key);
        }
    }
}

impl<T: KeyPart> KeyPart for Vec<T> {
    fn write(&self, key: &mut KeyWriter<'_>) {
        self.as_slice().write(key);
    }
}

/// Writes the same as a slice, so that an array can stand for a `Vec`.
impl<T: KeyPart, const N: usize> KeyPart for [T; N] {
    fn write(&self, key: &mut KeyWriter<'_>) {
        self.as_slice().write(key);
    }
}

impl KeyPart for () {
    fn write(&self, _: &mut KeyWriter<'_>) {}
}

impl<T: ?Sized> KeyPart for PhantomData<T> {
    fn write(&self, _: &mut KeyWriter<'_>) {}
}

/// Implements [`KeyPart`] for tuples of one element up to the number of names.
macro_rules! tuples {
    ([$($_:ident)*]) => {};
    ([$($name:ident)*] $next:ident $($rest:ident)*) => {
        impl<$($name: KeyPart,)* $next: KeyPart> KeyPart for ($($name,)* $next,) {
            fn write(&self, key: &mut KeyWriter<'_>) {
                #[allow(non_snake_case, reason = "the names of the types are those of the values")]
                let ($($name,)* $next,) = self;
                $($name.write(key);)*
                $next.write(key);
            }
        }

        tuples!([$($name)* $next] $($rest)*);
    };
}

tuples!([] A B C D E F G H I J K L M N O P);
