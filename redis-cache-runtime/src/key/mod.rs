//! Cache keys, and the addresses of entries.

mod address;
mod cache_key;
mod eviction;
mod groups;
mod names;
pub(crate) mod normal;
pub(crate) mod part;
mod path;
pub(crate) mod reader;
pub(crate) mod recorder;
pub(crate) mod registry;
pub(crate) mod request_url;
mod scope;
mod slots;
mod spelling;
mod text;
mod type_fields;
mod variant;

pub(crate) use address::Address;
pub use cache_key::CacheKey;
pub(crate) use eviction::{Eviction, Owed, concerns};
pub use groups::sorted_groups;
pub(crate) use groups::{DeclaredGroups, ResponseGroups};
pub(crate) use names::Names;
pub(crate) use registry::Nonce;
pub(crate) use scope::Scope;
pub(crate) use slots::Slots;
#[cfg(test)]
pub(crate) use slots::slot_of_key;
#[cfg(feature = "cluster")]
pub(crate) use slots::{SLOTS, slot, tag};
#[cfg(any(feature = "redis", test))]
pub(crate) use spelling::hex;
pub(crate) use spelling::{Group, Name, group, is_group, is_hashed, unscoped};
pub(crate) use variant::{Selecting, Variant};

#[cfg(test)]
mod tests;
