//! Work that goes on when whoever asked for it has gone.

use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::Either;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use crate::observe::Place;

/// Stale responses that are refreshed at once.
const MAX_REFRESHES: usize = 1024;

/// Leases at once that wait to be given back.
const MAX_RELEASES: usize = 1024;

tokio::task_local! {
    /// Set while a run goes on without its client, and while it is dropped.
    static DETACHED: ();
}

#[derive(Debug)]
pub(crate) struct Background {
    tasks: TaskTracker,
    detached: Arc<Semaphore>,
    refreshes: Arc<Semaphore>,
    releases: Arc<Semaphore>,
}

impl Background {
    /// Lets as many runs go on without their clients at once. Further ones are dropped, as axum drops
    /// every run whose client has gone.
    pub(crate) fn new(max_detached_runs: usize) -> Self {
        let max_detached_runs = max_detached_runs.min(Semaphore::MAX_PERMITS);
        Self {
            tasks: TaskTracker::new(),
            detached: Arc::new(Semaphore::new(max_detached_runs)),
            refreshes: Arc::new(Semaphore::new(MAX_REFRESHES)),
            releases: Arc::new(Semaphore::new(MAX_RELEASES)),
        }
    }

    /// Runs something that must not stop half-way when the client goes away; `None` only if it
    /// panicked or the runtime ends. Without Tokio, which only a cache in memory does without, it
    /// is run where it is.
    ///
    /// No `async fn`: it would carry the work along, which is the task's.
    pub(crate) fn run_to_completion<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> impl Future<Output = Option<T>> + Send {
        match Handle::try_current() {
            Ok(runtime) => {
                let work = self.tasks.spawn_on(Place::current().around(work), &runtime);
                Either::Left(work.map(Result::ok))
            }
            Err(_) => Either::Right(Box::pin(work.map(Some))),
        }
    }

    /// Runs something to its end. Without Tokio it is run as far as it goes without waiting, which
    /// is to its end for a cache in memory.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        if let Ok(runtime) = Handle::try_current() {
            self.tasks.spawn_on(Place::current().around(work), &runtime);
        } else {
            let mut work = std::pin::pin!(work);
            let _ = work.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        }
    }

    /// Runs something to its end that may be left out when there is too much of it.
    pub(crate) fn spawn_bounded(&self, work: impl Future<Output = ()> + Send + 'static) {
        if let Ok(permit) = Arc::clone(&self.releases).try_acquire_owned() {
            self.spawn(async move {
                work.await;
                drop(permit);
            });
        }
    }

    /// Runs something beside its caller, until the guard is dropped.
    pub(crate) fn spawn_until_dropped(
        &self,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> Option<AbortOnDropHandle<()>> {
        let runtime = Handle::try_current().ok()?;
        let work = self.tasks.spawn_on(Place::current().around(work), &runtime);
        Some(AbortOnDropHandle::new(work))
    }

    /// Goes on with the run of a handler whose client has gone, for `limit` at most.
    pub(crate) fn detach(
        &self,
        run: impl Future<Output = ()> + Send + 'static,
        limit: Duration,
        place: Place,
    ) {
        self.run_one_of(&self.detached, DETACHED.scope((), run), limit, place);
    }

    /// Returns whether this is within a run that has lost its client already. All of it ends together.
    pub(crate) fn is_detached() -> bool {
        DETACHED.try_with(|()| ()).is_ok()
    }

    /// Runs a handler to refresh a stale response, for `limit` at most.
    pub(crate) fn refresh(&self, run: impl Future<Output = ()> + Send + 'static, limit: Duration) {
        self.run_one_of(&self.refreshes, run, limit, Place::current());
    }

    fn run_one_of(
        &self,
        permits: &Arc<Semaphore>,
        run: impl Future<Output = ()> + Send + 'static,
        limit: Duration,
        place: Place,
    ) {
        let (Ok(runtime), Ok(permit)) = (
            Handle::try_current(),
            Arc::clone(permits).try_acquire_owned(),
        ) else {
            return;
        };
        let run = async move {
            // What it holds tidies up after itself when it is dropped.
            let _ = timeout(limit, run).await;
            drop(permit);
        };
        self.tasks.spawn_on(place.around(run), &runtime);
    }

    /// Waits until nothing is left.
    pub(crate) async fn finished(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}
