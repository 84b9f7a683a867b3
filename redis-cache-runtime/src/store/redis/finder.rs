//! Where the primary is.

use super::link::Shared;
#[cfg(feature = "sentinel")]
use super::sentinel::Sentinels;
use super::server::Server;
use crate::observe::fault::Fault;

pub(super) enum Finder {
    /// Always in the same place.
    Fixed(Server),
    #[cfg(feature = "sentinel")]
    Sentinels(Sentinels),
}

#[cfg_attr(
    not(feature = "sentinel"),
    allow(unused_variables, reason = "nothing is to be found")
)]
impl Finder {
    /// The primary, and how many were found until it was.
    pub(super) async fn find(&self, shared: &Shared) -> Result<(Server, u64), Fault> {
        match self {
            Self::Fixed(server) => Ok((server.clone(), 0)),
            #[cfg(feature = "sentinel")]
            Self::Sentinels(sentinels) => sentinels.find(shared).await,
        }
    }

    /// Whether no other primary took the place of the one of that number.
    pub(super) async fn is_current(&self, found: u64, shared: &Shared) -> bool {
        match self {
            Self::Fixed(_) => true,
            #[cfg(feature = "sentinel")]
            Self::Sentinels(sentinels) => sentinels.is_current(found, shared).await,
        }
    }
}
