//! Finds the primary.

use std::sync::Arc;

use super::context::ClientContext;
#[cfg(feature = "sentinel")]
use super::sentinels::Sentinels;
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
    pub(super) async fn find(&self, context: &Arc<ClientContext>) -> Result<(Server, u64), Fault> {
        match self {
            Self::Fixed(server) => Ok((server.clone(), 0)),
            #[cfg(feature = "sentinel")]
            Self::Sentinels(sentinels) => sentinels.find(context).await,
        }
    }

    /// Returns whether the primary is always the same.
    pub(super) fn is_fixed(&self) -> bool {
        matches!(self, Self::Fixed(_))
    }

    /// Waits until the primary of a generation is replaced. Returns the new generation number.
    pub(super) async fn wait_for_next(&self, known: u64, context: &Arc<ClientContext>) -> u64 {
        match self {
            Self::Fixed(_) => std::future::pending().await,
            #[cfg(feature = "sentinel")]
            Self::Sentinels(sentinels) => sentinels.wait_for_next(known, context).await,
        }
    }
}
