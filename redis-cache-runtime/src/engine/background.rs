//! Work that goes on when its caller is gone.

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

/// The most refreshes of stale responses at once.
const MAX_REFRESHES: usize = 1024;

/// The most leases at once that wait to be given back.
const MAX_CHORES: usize = 1024;

tokio::task_local! {
    /// Set while a run goes on without its client, and while it is dropped.
    static DETACHED: ();
}

#[derive(Debug)]
pub(crate) struct Background {
    tasks: TaskTracker,
    detached: Arc<Semaphore>,
    refreshes: Arc<Semaphore>,
    chores: Arc<Semaphore>,
}

impl Background {
    /// Creates a pool in which as many runs may go on without their clients at once. Further runs are
    /// dropped, as axum drops every run whose client has disconnected.
    pub(crate) fn new(max_detached_runs: usize) -> Self {
        let max_detached_runs = max_detached_runs.min(Semaphore::MAX_PERMITS);
        Self {
            tasks: TaskTracker::new(),
            detached: Arc::new(Semaphore::new(max_detached_runs)),
            refreshes: Arc::new(Semaphore::new(MAX_REFRESHES)),
            chores: Arc::new(Semaphore::new(MAX_CHORES)),
        }
    }

    /// Runs work that must not stop when its caller is dropped. `None` only if it panicked or the
    /// runtime ends. Without Tokio, which only a cache in memory does without, the work runs in its
    /// caller.
    ///
    /// No `async fn`: its future would hold the work, which belongs to the task.
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

    /// Runs work to completion. Without Tokio it is polled once, which completes it for a cache in
    /// memory.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        if let Ok(runtime) = Handle::try_current() {
            self.tasks.spawn_on(Place::current().around(work), &runtime);
        } else {
            let mut work = std::pin::pin!(work);
            let _ = work.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        }
    }

    /// Runs work to completion, unless there is too much work of this kind already.
    pub(crate) fn spawn_bounded(&self, work: impl Future<Output = ()> + Send + 'static) {
        if let Ok(permit) = Arc::clone(&self.chores).try_acquire_owned() {
            self.spawn(async move {
                work.await;
                drop(permit);
            });
        }
    }

    /// Runs work in a task of its own, until the guard is dropped.
    pub(crate) fn spawn_until_dropped(
        &self,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> Option<AbortOnDropHandle<()>> {
        let runtime = Handle::try_current().ok()?;
        let work = self.tasks.spawn_on(Place::current().around(work), &runtime);
        Some(AbortOnDropHandle::new(work))
    }

    /// Goes on with the run of a handler whose client has disconnected, for `limit` at most.
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
            // The parts of a run clean up after themselves when they are dropped.
            let _ = timeout(limit, run).await;
            drop(permit);
        };
        self.tasks.spawn_on(place.around(run), &runtime);
    }

    /// Waits until all work is done.
    pub(crate) async fn finished(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}
