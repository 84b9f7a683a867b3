//! The kinds of key parts: numbers for types.
//!
//! The companion of a handler has a function `key`, whose parameters have the types of the values in
//! the template. A macro sees only the names that the patterns of the arguments bind, not their types.
//! So generated code lets the compiler find the type, as a number, because a constant can be an argument
//! of a type:
//!
//! ```text
//! // Input
//! #[cached(ttl = 60, key = "product:{id}")]
//! async fn get(Path(id): Path<u64>) -> Json<Product> { .. }
//!
//! // Output
//! const KIND_0: u8 = kind_of(&|Path(id): &Path<u64>| -> &_ { id }); // `kind::U64`
//! fn key(id: impl Part<<Kind<{ get::KIND_0 }> as KindType>::Type>) -> CacheKey { .. } // `Part<u64>`
//! ```
//!
//! A type without a number, such as one of the user, has the kind 0. Then the parameter takes every
//! [`KeyPart`].

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::num::NonZero;
use std::time::Duration;

use super::{Any, KeyPart, Part};

/// The type of a placeholder's value, by its number.
#[derive(Debug)]
pub struct Kind<const KIND: u8>;

/// The type that a [`Kind`] stands for.
pub trait KindType {
    /// [`Any`] for a type that has no number.
    type Type: ?Sized;
}

impl KindType for Kind<0> {
    type Type = Any;
}

/// Returns the kind of the value that a closure takes out of an argument.
pub const fn kind_of<T, R: KeyPart>(_: &impl Fn(&T) -> &R) -> u8 {
    R::KIND
}

/// The difference between the number of a type and that of its `Option`.
const OPTION: u8 = 64;

/// Returns the number of the `Option` of a type; 0 if it has none.
pub(super) const fn of_option(kind: u8) -> u8 {
    match kind {
        0 | OPTION.. => 0,
        _ => OPTION | kind,
    }
}

/// Returns whether a type of that kind always reads one parameter of a path: an integer, `bool`, `char`
/// or `String`.
pub(crate) const fn is_of_one_parameter(kind: u8) -> bool {
    matches!(kind, STRING | CHAR | BOOL | U8..=USIZE | I8..=ISIZE)
}

/// Declares the number of each type, maps the numbers to the types, and lets values of each type stand
/// for itself.
macro_rules! kinds {
    ($($(#[$cfg:meta])? $name:ident = $kind:literal: $ty:ty;)*) => { $(
        $(#[$cfg])?
        pub(super) const $name: u8 = $kind;

        $(#[$cfg])?
        impl KindType for Kind<$kind> {
            type Type = $ty;
        }

        $(#[$cfg])?
        impl KindType for Kind<{ OPTION | $kind }> {
            type Type = Option<$ty>;
        }

        $(#[$cfg])?
        impl Part<$ty> for $ty {}
    )* };
}

kinds! {
    STRING = 1: String;
    CHAR = 2: char;
    BOOL = 3: bool;
    IP_ADDR = 4: IpAddr;
    IPV4_ADDR = 5: Ipv4Addr;
    IPV6_ADDR = 6: Ipv6Addr;
    SOCKET_ADDR = 7: SocketAddr;
    SOCKET_ADDR_V4 = 8: SocketAddrV4;
    SOCKET_ADDR_V6 = 9: SocketAddrV6;
    U8 = 10: u8;
    U16 = 11: u16;
    U32 = 12: u32;
    U64 = 13: u64;
    U128 = 14: u128;
    USIZE = 15: usize;
    DURATION = 16: Duration;
    I8 = 20: i8;
    I16 = 21: i16;
    I32 = 22: i32;
    I64 = 23: i64;
    I128 = 24: i128;
    ISIZE = 25: isize;
    NON_ZERO_U8 = 40: NonZero<u8>;
    NON_ZERO_U16 = 41: NonZero<u16>;
    NON_ZERO_U32 = 42: NonZero<u32>;
    NON_ZERO_U64 = 43: NonZero<u64>;
    NON_ZERO_U128 = 44: NonZero<u128>;
    NON_ZERO_USIZE = 45: NonZero<usize>;
    NON_ZERO_I8 = 50: NonZero<i8>;
    NON_ZERO_I16 = 51: NonZero<i16>;
    NON_ZERO_I32 = 52: NonZero<i32>;
    NON_ZERO_I64 = 53: NonZero<i64>;
    NON_ZERO_I128 = 54: NonZero<i128>;
    NON_ZERO_ISIZE = 55: NonZero<isize>;
    #[cfg(feature = "uuid")]
    UUID = 30: uuid::Uuid;
    #[cfg(feature = "chrono")]
    CHRONO_DATE = 31: chrono::NaiveDate;
    #[cfg(feature = "chrono")]
    CHRONO_TIME = 32: chrono::NaiveTime;
    #[cfg(feature = "chrono")]
    CHRONO_DATE_TIME = 33: chrono::NaiveDateTime;
    #[cfg(feature = "chrono")]
    CHRONO_UTC = 34: chrono::DateTime<chrono::Utc>;
    #[cfg(feature = "chrono")]
    CHRONO_FIXED_OFFSET = 35: chrono::DateTime<chrono::FixedOffset>;
    #[cfg(feature = "time")]
    TIME_DATE = 36: time::Date;
    #[cfg(feature = "time")]
    TIME_TIME = 37: time::Time;
    #[cfg(feature = "time")]
    TIME_DATE_TIME = 38: time::PrimitiveDateTime;
    #[cfg(feature = "time")]
    TIME_OFFSET = 39: time::OffsetDateTime;
    #[cfg(feature = "rust_decimal")]
    DECIMAL = 46: rust_decimal::Decimal;
}
