//! Finds the primary.

use super::context::ClientContext;
#[cfg(feature = "sentinel")]
use super::sentinel::Sentinels;
use super::server::Server;
use crate::observe::fault::Fault;

pub(super) enum Finder {
    /// The endpoint of the settings.
    Fixed(Server),
    #[cfg(feature = "sentinel")]
    Sentinels(Sentinels),
}

#[cfg_attr(
    not(feature = "sentinel"),
    allow(unused_variables, reason = "nothing is to be found")
)]
impl Finder {
    /// Returns the primary and its generation number.
    pub(super) async fn find(&self, context: &ClientContext) -> Result<(Server, u64), Fault> {
        match self {
            Self::Fixed(server) => Ok((server.clone(), 0)),
            #[cfg(feature = "sentinel")]
            Self::Sentinels(sentinels) => sentinels.find(context).await,
        }
    }

    /// Returns whether the primary of a generation is still the primary.
    pub(super) async fn is_current(&self, found: u64, context: &ClientContext) -> bool {
        match self {
            Self::Fixed(_) => true,
            #[cfg(feature = "sentinel")]
            Self::Sentinels(sentinels) => sentinels.is_current(found, context).await,
        }
    }
}
