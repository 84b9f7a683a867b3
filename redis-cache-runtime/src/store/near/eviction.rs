//! The wait of a process that evicts for the near caches of all processes.

use std::time::Duration;

use super::connection::Bell;
use crate::observe::fault::Fault;

/// The connections that keep copies, as the registry has them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Registry {
    /// No member was lost since the registry was founded.
    pub(crate) is_founded: bool,
    pub(crate) members: Vec<Member>,
}

/// A connection that keeps copies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) window: Duration,
    /// A process has given the connection up, because it did not acknowledge an eviction.
    pub(crate) is_given_up: bool,
}

/// The commands of a process that evicts.
pub(crate) trait EvictionCommands: Sync {
    /// Rings the bell.
    fn ring(&self) -> impl Future<Output = Result<Bell, Fault>> + Send;

    /// Waits until the members have acknowledged the bell, for a window at most. Returns those that
    /// have not.
    fn await_acknowledgements(
        &self,
        members: &[Member],
        bell: &Bell,
        window: Duration,
    ) -> impl Future<Output = Vec<Member>> + Send;

    /// Waits for a window.
    fn pause(&self, window: Duration) -> impl Future<Output = ()> + Send;

    /// Marks members as given up.
    fn give_up(&self, members: &[Member]) -> impl Future<Output = ()> + Send;

    /// Removes members that were given up.
    fn remove(&self, members: &[Member]) -> impl Future<Output = ()> + Send;

    /// Begins to found the registry, and returns a mark of this attempt.
    fn begin_founding(&self) -> impl Future<Output = Result<Vec<u8>, Fault>> + Send;

    /// Founds the registry, unless it was lost since the attempt began.
    fn found(&self, attempt: &[u8]) -> impl Future<Output = ()> + Send;
}

/// Waits until no process serves the evicted entries from its near cache. `registry` was read after the
/// names were deleted. `is_new`: the server may have lost the registry less than a window ago.
///
/// A member may be silent because its process has died. It is given up after a window and removed after
/// another: between both, the member learns that it was given up, while other evictions still wait for
/// its window.
pub(crate) async fn await_near_caches(
    commands: &impl EvictionCommands,
    registry: Result<Registry, Fault>,
    own_window: Duration,
    is_new: bool,
) {
    let is_readable = registry.is_ok();
    let registry = registry.unwrap_or_default();
    let windows = registry.members.iter().map(|member| member.window);
    let window = windows.max().unwrap_or_default();
    let (given_up, members): (Vec<_>, Vec<_>) = registry
        .members
        .into_iter()
        .partition(|member| member.is_given_up);
    let is_complete = registry.is_founded && !is_new;
    if is_complete && given_up.is_empty() {
        if !members.is_empty() {
            await_members(commands, &members, window).await;
        }
        return;
    }
    let attempt = if is_readable && !registry.is_founded {
        commands.begin_founding().await.ok()
    } else {
        None
    };
    let pause = if is_complete {
        window
    } else {
        window.max(own_window)
    };
    commands.pause(pause).await;
    if let Some(attempt) = attempt {
        commands.found(&attempt).await;
    }
    if !given_up.is_empty() {
        commands.remove(&given_up).await;
    }
}

/// Waits until members have acknowledged the eviction, and gives up those that have not within a window.
async fn await_members(commands: &impl EvictionCommands, members: &[Member], window: Duration) {
    let Ok(bell) = commands.ring().await else {
        return commands.pause(window).await;
    };
    let silent = commands
        .await_acknowledgements(members, &bell, window)
        .await;
    if !silent.is_empty() {
        commands.give_up(&silent).await;
    }
}
