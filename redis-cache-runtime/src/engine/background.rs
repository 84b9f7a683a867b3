//! Background work, which goes on after the request that started it has ended. Every kind of it is
//! bounded.

use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::Either;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use crate::observe::TraceContext;

/// The largest number of stale responses that are refreshed at once.
const MAX_REFRESHES: usize = 1024;

/// The largest number of leases that wait to be released at once.
const MAX_RELEASES: usize = 1024;

tokio::task_local! {
    /// Set while a detached run goes on, and while it is dropped.
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
    /// Allows `max_detached_runs` detached runs at once. Further ones are dropped, as axum drops
    /// every run whose client has disconnected.
    pub(crate) fn new(max_detached_runs: usize) -> Self {
        let max_detached_runs = max_detached_runs.min(Semaphore::MAX_PERMITS);
        Self {
            tasks: TaskTracker::new(),
            detached: Arc::new(Semaphore::new(max_detached_runs)),
            refreshes: Arc::new(Semaphore::new(MAX_REFRESHES)),
            releases: Arc::new(Semaphore::new(MAX_RELEASES)),
        }
    }

    /// Runs work that must not stop half-way when the client disconnects. Returns `None` only if
    /// the work panicked or the runtime ends. Without a Tokio runtime, which only a cache in memory
    /// does not need, the work runs inside the returned future.
    ///
    /// This is no `async fn`, whose future would also hold the work that the task holds.
    pub(crate) fn run_to_completion<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> impl Future<Output = Option<T>> + Send {
        match Handle::try_current() {
            Ok(runtime) => {
                let work = self
                    .tasks
                    .spawn_on(TraceContext::current().around(work), &runtime);
                Either::Left(work.map(Result::ok))
            }
            Err(_) => Either::Right(Box::pin(work.map(Some))),
        }
    }

    /// Runs work to its end in the background. Without a Tokio runtime, the work is polled once,
    /// which completes it for a cache in memory.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        if let Ok(runtime) = Handle::try_current() {
            self.tasks
                .spawn_on(TraceContext::current().around(work), &runtime);
        } else {
            let mut work = std::pin::pin!(work);
            let _ = work.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        }
    }

    /// Runs optional work to its end in the background. It is left out if too much such work is
    /// under way.
    pub(crate) fn spawn_bounded(&self, work: impl Future<Output = ()> + Send + 'static) {
        if let Ok(permit) = Arc::clone(&self.releases).try_acquire_owned() {
            self.spawn(async move {
                work.await;
                drop(permit);
            });
        }
    }

    /// Runs work concurrently with the caller, until the guard is dropped.
    pub(crate) fn spawn_until_dropped(
        &self,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> Option<AbortOnDropHandle<()>> {
        let runtime = Handle::try_current().ok()?;
        let work = self
            .tasks
            .spawn_on(TraceContext::current().around(work), &runtime);
        Some(AbortOnDropHandle::new(work))
    }

    /// Continues the run of a handler whose client has disconnected, for `limit` at most.
    pub(crate) fn detach(
        &self,
        run: impl Future<Output = ()> + Send + 'static,
        limit: Duration,
        trace: TraceContext,
    ) {
        self.run_one_of(&self.detached, DETACHED.scope((), run), limit, trace);
    }

    /// Returns whether the caller is inside a detached run. Nothing inside it is detached again:
    /// all of it ends together.
    pub(crate) fn is_detached() -> bool {
        DETACHED.try_with(|()| ()).is_ok()
    }

    /// Returns whether one more run may go on in the background to refresh a stale response.
    pub(crate) fn may_refresh(&self) -> bool {
        self.refreshes.available_permits() > 0
    }

    /// Runs a handler to refresh a stale response, for `limit` at most.
    pub(crate) fn refresh(&self, run: impl Future<Output = ()> + Send + 'static, limit: Duration) {
        self.run_one_of(&self.refreshes, run, limit, TraceContext::current());
    }

    fn run_one_of(
        &self,
        permits: &Arc<Semaphore>,
        run: impl Future<Output = ()> + Send + 'static,
        limit: Duration,
        trace: TraceContext,
    ) {
        let (Ok(runtime), Ok(permit)) = (
            Handle::try_current(),
            Arc::clone(permits).try_acquire_owned(),
        ) else {
            return;
        };
        let run = async move {
            // A run that exceeds the limit is dropped: its fill and evictions clean up when they
            // are dropped.
            let _ = timeout(limit, run).await;
            drop(permit);
        };
        self.tasks.spawn_on(trace.around(run), &runtime);
    }

    /// Waits until no background work is left.
    pub(crate) async fn finished(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}
