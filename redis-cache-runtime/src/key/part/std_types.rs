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

use super::{KeyPart, KeyWriter, kind};

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

    const KIND: u8 = kind::STRING;
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

    const KIND: u8 = kind::CHAR;
}

impl KeyPart for bool {
    fn write(&self, key: &mut KeyWriter<'_>) {
        key.text(if *self { "true" } else { "false" });
    }

    const KIND: u8 = kind::BOOL;
}

macro_rules! integers {
    ($($ty:ty: $kind:ident $non_zero:ident;)*) => { $(
        impl KeyPart for $ty {
            fn write(&self, key: &mut KeyWriter<'_>) {
                key.text(itoa::Buffer::new().format(*self));
            }

            const KIND: u8 = kind::$kind;
        }

        impl KeyPart for NonZero<$ty> {
            fn write(&self, key: &mut KeyWriter<'_>) {
                self.get().write(key);
            }

            const KIND: u8 = kind::$non_zero;
        }
    )* };
}

integers! {
    u8: U8 NON_ZERO_U8;
    u16: U16 NON_ZERO_U16;
    u32: U32 NON_ZERO_U32;
    u64: U64 NON_ZERO_U64;
    u128: U128 NON_ZERO_U128;
    usize: USIZE NON_ZERO_USIZE;
    i8: I8 NON_ZERO_I8;
    i16: I16 NON_ZERO_I16;
    i32: I32 NON_ZERO_I32;
    i64: I64 NON_ZERO_I64;
    i128: I128 NON_ZERO_I128;
    isize: ISIZE NON_ZERO_ISIZE;
}

impl KeyPart for IpAddr {
    fn write(&self, key: &mut KeyWriter<'_>) {
        match self {
            Self::V4(address) => address.write(key),
            Self::V6(address) => address.write(key),
        }
    }

    const KIND: u8 = kind::IP_ADDR;
}

impl KeyPart for Ipv4Addr {
    fn write(&self, key: &mut KeyWriter<'_>) {
        key.display(self);
    }

    const KIND: u8 = kind::IPV4_ADDR;
}

impl KeyPart for Ipv6Addr {
    fn write(&self, key: &mut KeyWriter<'_>) {
        key.display(self);
    }

    const KIND: u8 = kind::IPV6_ADDR;
}

impl KeyPart for SocketAddr {
    fn write(&self, key: &mut KeyWriter<'_>) {
        match self {
            Self::V4(address) => address.write(key),
            Self::V6(address) => address.write(key),
        }
    }

    const KIND: u8 = kind::SOCKET_ADDR;
}

impl KeyPart for SocketAddrV4 {
    fn write(&self, key: &mut KeyWriter<'_>) {
        (self.ip(), self.port()).write(key);
    }

    const KIND: u8 = kind::SOCKET_ADDR_V4;
}

impl KeyPart for SocketAddrV6 {
    fn write(&self, key: &mut KeyWriter<'_>) {
        (self.ip(), self.port(), self.flowinfo(), self.scope_id()).write(key);
    }

    const KIND: u8 = kind::SOCKET_ADDR_V6;
}

impl KeyPart for Duration {
    fn write(&self, key: &mut KeyWriter<'_>) {
        match (self.as_secs(), self.subsec_nanos()) {
            (seconds, 0) => seconds.write(key),
            (seconds, nanoseconds) => key.display(format_args!("{seconds}.{nanoseconds:09}")),
        }
    }

    const KIND: u8 = kind::DURATION;
}

impl<T: KeyPart> KeyPart for Option<T> {
    fn write(&self, key: &mut KeyWriter<'_>) {
        key.option(self.as_ref());
    }

    const KIND: u8 = kind::of_option(T::KIND);
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
