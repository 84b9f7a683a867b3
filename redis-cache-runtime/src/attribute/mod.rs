//! The types that the generated code of the attributes names, in addition to those of `serve`.

pub(crate) mod companion;
pub(crate) mod determined;
pub(crate) mod head;
pub(crate) mod identifies;
