//! Probes of types: generated code asks which traits the type of an argument implements, without
//! requiring any of them.

use std::marker::PhantomData;

use super::reads_request::ReadsRequest;
use super::{Determined, Source, UrlValue};
use crate::attribute::identifies::IdentifiesCaller;

/// A type that is well-formed only if values of `T` are determined by the URL or by the
/// application.
#[derive(Debug)]
pub struct IsDetermined<T: Determined>(PhantomData<T>);

/// A probe of a type. Its constants need [`NotDetermined`], [`NotIdentifying`], [`MayReadEarly`]
/// and [`NotAValue`] in scope, and its methods need the traits of [`read`]: an inherent constant is
/// preferred to that of a trait.
#[derive(Debug)]
pub struct Probe<T>(PhantomData<T>);

impl<T: Determined> Probe<T> {
    /// The source of a value of the type.
    pub const BY: Option<Source> = Some(T::BY);
    /// Set if the query or the application alone determines the value.
    pub const IS_TOLD_BY_QUERY: bool = T::IS_TOLD_BY_QUERY;
}

/// The answer of [`Probe`] for every other type.
pub trait NotDetermined {
    /// No known source.
    const BY: Option<Source> = None;
    /// Set, because the attribute itself names such an argument.
    const IS_TOLD_BY_QUERY: bool = true;
}

impl<T> NotDetermined for Probe<T> {}

impl<T: IdentifiesCaller> Probe<T> {
    /// The type identifies the caller.
    pub const IDENTIFIES: bool = true;
}

/// The answer of [`Probe`] for every other type.
pub trait NotIdentifying {
    /// The type does not identify the caller.
    const IDENTIFIES: bool = false;
}

impl<T> NotIdentifying for Probe<T> {}

impl<T: ReadsRequest> Probe<T> {
    /// No eviction concerns the data that the type reads.
    pub const MAY_READ_EARLY: bool = false;
}

/// The answer of [`Probe`] for every other type.
pub trait MayReadEarly {
    /// An eviction may concern the data that the type reads.
    const MAY_READ_EARLY: bool = true;
}

impl<T> MayReadEarly for Probe<T> {}

impl<T: UrlValue> Probe<T> {
    /// The value of the extractor can be a placeholder of a template as a whole.
    pub const IS_VALUE: bool = true;
}

/// The answer of [`Probe`] for every other type.
pub trait NotAValue {
    /// The type is not known to have a value.
    const IS_VALUE: bool = false;
}

impl<T> NotAValue for Probe<T> {}

impl<T> Probe<T> {
    /// Creates a probe of the type.
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<T> Default for Probe<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// Reads an argument into a key, by the traits of its type. Method lookup tries `&&Probe<T>` first,
/// so a value is preferred, then the text that the type reads. An argument that is not determined
/// by the URL reads nothing.
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

    /// Reads an argument as its type declares.
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
