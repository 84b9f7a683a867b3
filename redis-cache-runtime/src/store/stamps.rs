//! The stamps of an entry.

use smallvec::SmallVec;

use crate::key::Nonce;

/// The nonces that were current when a fill began, in the order of
/// [`Names::nonces`](crate::key::Names::nonces).
pub(crate) type Stamps = SmallVec<[Nonce; 4]>;
