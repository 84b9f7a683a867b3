//! The parts of the library that the code which the attributes generate calls, beside those of `serve`.

pub(crate) mod companion;
pub(crate) mod determined;
pub(crate) mod head;
pub(crate) mod identifies;
