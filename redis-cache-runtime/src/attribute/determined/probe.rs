//! Questions to types of which nothing is known: generated code asks them of every argument.

use std::marker::PhantomData;

use super::reads_request::ReadsRequest;
use super::{Determined, Source, UrlValue};
use crate::attribute::identifies::IdentifiesCaller;

/// Is well-formed if values of the type are determined by the URL or by the application.
#[derive(Debug)]
pub struct IsDetermined<T: Determined>(PhantomData<T>);

/// Asks a type of which nothing is known what can be asked of it: constants with
/// [`NotDetermined`], [`NotIdentifying`], [`MayReadEarly`] and [`NotAValue`] in scope, and methods by [`read`].
#[derive(Debug)]
pub struct Probe<T>(PhantomData<T>);

impl<T: Determined> Probe<T> {
    /// The source of a value of the type.
    pub const BY: Option<Source> = Some(T::BY);
    /// The query alone tells the value, or the application.
    pub const IS_TOLD_BY_QUERY: bool = T::IS_TOLD_BY_QUERY;
}

/// The answer of [`Probe`] for every other type.
pub trait NotDetermined {
    /// Nothing that is known.
    const BY: Option<Source> = None;
    /// Something else accounts for it.
    const IS_TOLD_BY_QUERY: bool = true;
}

impl<T> NotDetermined for Probe<T> {}

impl<T: IdentifiesCaller> Probe<T> {
    /// The type tells who asks.
    pub const IDENTIFIES: bool = true;
}

/// The answer of [`Probe`] for every other type.
pub trait NotIdentifying {
    /// The type does not tell who asks.
    const IDENTIFIES: bool = false;
}

impl<T> NotIdentifying for Probe<T> {}

impl<T: ReadsRequest> Probe<T> {
    /// No eviction concerns what the type reads.
    pub const MAY_READ_EARLY: bool = false;
}

/// The answer of [`Probe`] for every other type.
pub trait MayReadEarly {
    /// An eviction may concern what the type reads.
    const MAY_READ_EARLY: bool = true;
}

impl<T> MayReadEarly for Probe<T> {}

impl<T: UrlValue> Probe<T> {
    /// Tells that what the extractor reads has a place in a template as a whole.
    pub const IS_VALUE: bool = true;
}

/// The answer of [`Probe`] for every other type.
pub trait NotAValue {
    /// The type is not known to have a value.
    const IS_VALUE: bool = false;
}

impl<T> NotAValue for Probe<T> {}

impl<T> Probe<T> {
    /// A probe of the type.
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<T> Default for Probe<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// Reads an argument into a key, by what is known of its type. Method lookup tries `&&Probe<T>` first:
/// the value is best, then what the type reads, and an argument that is not determined by the URL
/// has nothing to read.
pub mod read {
    use super::super::UrlValue;
    use super::{Determined, Probe};
    use crate::key::reader::UrlReader;

    /// Reads an argument by its value.
    pub trait ByValue {
        /// Reads the argument.
        fn read(&self, url: &mut UrlReader<'_>);
    }

    impl<T: UrlValue> ByValue for &&Probe<T> {
        fn read(&self, url: &mut UrlReader<'_>) {
            <T as UrlValue>::read(url);
        }
    }

    /// Reads an argument as its type says.
    pub trait ByType {
        /// Reads the argument.
        fn read(&self, url: &mut UrlReader<'_>);
    }

    impl<T: Determined> ByType for &Probe<T> {
        fn read(&self, url: &mut UrlReader<'_>) {
            <T as Determined>::read(url);
        }
    }

    /// Reads nothing.
    pub trait Nothing {
        /// Reads nothing.
        fn read(&self, _: &mut UrlReader<'_>) {}
    }

    impl<T> Nothing for Probe<T> {}
}
