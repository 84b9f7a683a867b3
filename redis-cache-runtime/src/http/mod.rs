//! HTTP semantics as pure functions of fields and time (RFC 9110, RFC 9111).

pub(crate) mod cache_control;
pub(crate) mod cache_status;
pub(crate) mod conditional;
pub(crate) mod directives;
pub(crate) mod fields;
pub(crate) mod freshness;
pub(crate) mod storable;
pub(crate) mod structured;
pub(crate) mod targeted;
