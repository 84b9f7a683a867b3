//! The near cache in a cluster. One node has the registry, and copies are read on all nodes.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::task::AbortOnDropHandle;

use super::Maps;
use crate::observe::fault::Fault;
use crate::store::near::connection::{Bell, TrackedConnection};
use crate::store::redis::context::ClientContext;
use crate::store::redis::lookups::LookedUp;
use crate::store::redis::near::OnConnection;
use crate::store::redis::node::Node;

/// The pause before the registry is read again if it could not be read.
const RETRY: Duration = Duration::from_millis(100);

/// The pause before the server of the registry is asked again if it does not track reads.
const UNTRACKED_RETRY: Duration = Duration::from_secs(1);

/// The membership of a process in the registry.
pub(super) struct Membership {
    context: Arc<ClientContext>,
    maps: Arc<Maps>,
    member: Member,
    attendant: Mutex<Option<AbortOnDropHandle<()>>>,
}

impl Maps {
    /// Returns the node that has the registry.
    pub(in super::super) async fn node_of_registry(
        &self,
        context: &ClientContext,
    ) -> Result<Arc<Node>, Fault> {
        let deadline = Instant::now() + context.budget();
        let registry = [context.near_names.registry(), "", "", ""];
        self.primary_of(registry, deadline).await
    }
}

/// The member of the registry.
type Member = Arc<Mutex<Option<Arc<TrackedConnection>>>>;

impl Membership {
    pub(super) fn new(context: Arc<ClientContext>, maps: Arc<Maps>) -> Self {
        Self {
            context,
            maps,
            member: Arc::default(),
            attendant: Mutex::default(),
        }
    }

    /// Returns the member of the registry and the connections on which a lookup was read, unless one of
    /// them is not tracked.
    pub(super) fn read_on(
        &self,
        lookups: impl Iterator<Item = LookedUp>,
    ) -> Vec<Arc<TrackedConnection>> {
        self.attend();
        let member = self.member.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(member) = member.clone() else {
            return Vec::new();
        };
        let mut on = vec![member];
        for lookup in lookups {
            match lookup.tracked().first() {
                None => return Vec::new(),
                Some(reader) if Arc::ptr_eq(reader, &on[0]) => {}
                Some(reader) => on.push(Arc::clone(reader)),
            }
        }
        on
    }

    /// Starts to attend to the registry, if no task does. The task ends with the runtime that runs it.
    fn attend(&self) {
        let mut attendant = self
            .attendant
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if attendant
            .as_ref()
            .is_none_or(AbortOnDropHandle::is_finished)
        {
            let context = Arc::clone(&self.context);
            let maps = Arc::clone(&self.maps);
            let task = attend(context, maps, Arc::clone(&self.member));
            *attendant = Some(AbortOnDropHandle::new(tokio::spawn(task)));
        }
    }
}

/// Makes a connection the member of the registry. Returns whether it replaces another one.
fn set_member(member: &Member, connection: &Arc<TrackedConnection>) -> bool {
    let mut known = member.lock().unwrap_or_else(PoisonError::into_inner);
    let before = known.replace(Arc::clone(connection));
    let replaced = before.filter(|before| !Arc::ptr_eq(before, connection));
    if let Some(replaced) = &replaced {
        replaced.resign();
    }
    replaced.is_some()
}

/// Keeps a connection to the node of the registry a member.
async fn attend(context: Arc<ClientContext>, maps: Arc<Maps>, member: Member) {
    let mut acknowledged = None;
    loop {
        match attend_once(&context, &maps, &member, &mut acknowledged).await {
            Ok(Some(connection)) => connection.rest().await,
            Ok(None) => sleep(UNTRACKED_RETRY).await,
            Err(fault) => {
                let fault = maps.without_registry(fault);
                context.warn_of_registration(&fault);
                sleep(RETRY).await;
            }
        }
    }
}

/// Attends to the connection to the node of the registry, and returns it; `None`: its server does not
/// track reads.
async fn attend_once(
    context: &ClientContext,
    maps: &Maps,
    member: &Member,
    acknowledged: &mut Option<Bell>,
) -> Result<Option<Arc<TrackedConnection>>, Fault> {
    let node = maps.node_of_registry(context).await?;
    let deadline = Instant::now() + context.budget();
    let shared = node.tracked_connection(deadline).await?;
    let Some(connection) = shared.tracked().cloned() else {
        return Ok(None);
    };
    if set_member(member, &connection) {
        *acknowledged = None;
    }
    connection
        .attend(&OnConnection(shared), acknowledged)
        .await?;
    Ok(Some(connection))
}
