//! Typed paths of axum-extra, whose routers read the path from the first argument of a handler.

use std::fmt::{self, Display};

use axum_extra::routing::TypedPath;

use super::Head;

impl<T: TypedPath, K, const KEEP: u8> TypedPath for Head<T, K, KEEP> {
    const PATH: &'static str = T::PATH;
}

impl<T: TypedPath, K, const KEEP: u8> Display for Head<T, K, KEEP> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.extracted.fmt(f)
    }
}
