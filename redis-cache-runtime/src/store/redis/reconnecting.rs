//! A resource that is opened when it is first needed, and opened again in the background when it is
//! lost.
//!
//! Callers wait for an attempt that has just begun. While attempts fail, callers get an error at once:
//! this is the circuit breaker, too.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::observe::fault::{Fault, FaultLog};

const FIRST_RETRY: Duration = Duration::from_millis(50);
pub(super) const LAST_RETRY: Duration = Duration::from_millis(250);

/// Opens and watches a resource.
pub(super) trait Open: Send + Sync + 'static {
    type Opened: Clone + Send + Sync;

    fn open(&self) -> impl Future<Output = Result<Self::Opened, Fault>> + Send;

    /// Waits until the next check is due.
    fn rest(opened: &Self::Opened) -> impl Future<Output = ()> + Send;

    /// Checks the resource; `Some`: it is lost.
    fn check(&self, opened: &Self::Opened) -> impl Future<Output = Option<Loss>> + Send;

    fn is_same(one: &Self::Opened, other: &Self::Opened) -> bool;

    /// Returns whether the resource is of use, so that the fault log may report a recovery.
    fn works(opened: &Self::Opened) -> bool;

    /// Records that the resource is unavailable and that callers do not wait for it.
    fn mark_away(&self);

    /// Returns the time for which callers wait for an attempt.
    fn patience(&self) -> Duration;

    /// Returns the log of faults; `None`: nothing depends on the resource.
    fn faults(&self) -> Option<&FaultLog>;
}

/// The way in which a resource was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loss {
    /// It was closed, and can be opened again soon.
    Closed,
    /// It hangs, and its replacement may hang too.
    Hung,
}

pub(super) struct Reconnecting<O: Open> {
    shared: Arc<SharedResource<O>>,
}

/// The opener and the availability of a resource, shared with the task that opens and watches it.
struct SharedResource<O: Open> {
    opener: O,
    availability: watch::Sender<Availability<O::Opened>>,
}

/// The availability of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Availability<T> {
    /// It was not needed yet.
    Idle,
    /// An attempt has just begun: callers wait for it.
    Opening,
    Up(T),
    /// Attempts go on in the background: callers do not wait.
    Down,
}

impl<O: Open> Reconnecting<O> {
    pub(super) fn new(opener: O) -> Self {
        let availability = watch::Sender::new(Availability::Idle);
        let shared = Arc::new(SharedResource {
            opener,
            availability,
        });
        Self { shared }
    }

    #[cfg(feature = "cluster")]
    pub(super) fn opener(&self) -> &O {
        &self.shared.opener
    }

    /// Returns the resource, if it is open.
    pub(super) fn current(&self) -> Option<O::Opened> {
        match &*self.shared.availability.borrow() {
            Availability::Up(opened) => Some(opened.clone()),
            _ => None,
        }
    }

    pub(super) fn availability(&self) -> Availability<O::Opened> {
        self.shared.availability.borrow().clone()
    }

    /// Returns whether the availability meets a condition.
    pub(super) fn is(&self, condition: impl FnOnce(&Availability<O::Opened>) -> bool) -> bool {
        condition(&self.shared.availability.borrow())
    }

    /// Opens the resource for the first time, or waits while it is being opened.
    pub(super) async fn wait(&self, deadline: Instant) -> Result<O::Opened, Fault> {
        self.replace_if(
            |availability| matches!(availability, Availability::Idle),
            Availability::Opening,
        );
        self.wait_for(deadline, |_| true).await
    }

    /// Waits for another resource than a given one.
    #[cfg(feature = "cluster")]
    pub(super) async fn wait_for_replacement(
        &self,
        than: &O::Opened,
        deadline: Instant,
    ) -> Result<O::Opened, Fault> {
        self.wait_for(deadline, |opened| !O::is_same(opened, than))
            .await
    }

    async fn wait_for(
        &self,
        deadline: Instant,
        is_wanted: impl Fn(&O::Opened) -> bool,
    ) -> Result<O::Opened, Fault> {
        let mut availability = self.shared.availability.subscribe();
        let settled = availability.wait_for(|availability| match availability {
            Availability::Up(opened) => is_wanted(opened),
            Availability::Down => true,
            Availability::Idle | Availability::Opening => false,
        });
        match timeout_at(deadline, settled).await {
            Ok(Ok(availability)) => match &*availability {
                Availability::Up(opened) => Ok(opened.clone()),
                _ => Err(Fault::Unreachable),
            },
            _ => Err(Fault::Unreachable),
        }
    }

    /// Replaces the resource.
    #[cfg(feature = "cluster")]
    pub(super) fn set(&self, opened: O::Opened) {
        self.shared
            .availability
            .send_replace(Availability::Up(opened));
    }

    /// Opens a replacement, unless that has begun already.
    pub(super) fn lose(&self, lost: &O::Opened, how: Loss) {
        SharedResource::lose(&self.shared, lost, how);
    }

    fn replace_if(
        &self,
        condition: impl FnOnce(&Availability<O::Opened>) -> bool,
        next: Availability<O::Opened>,
    ) {
        SharedResource::replace_if(&self.shared, condition, next);
    }
}

impl<O: Open> SharedResource<O> {
    fn lose(this: &Arc<Self>, lost: &O::Opened, how: Loss) {
        let is_up = |availability: &Availability<_>| match availability {
            Availability::Up(up) => O::is_same(up, lost),
            _ => false,
        };
        let next = match how {
            Loss::Hung => Availability::Down,
            Loss::Closed => Availability::Opening,
        };
        let opener = &this.opener;
        let replaces = |availability: &Availability<_>| {
            let replaces = is_up(availability);
            if replaces && how == Loss::Hung {
                opener.mark_away();
            }
            replaces
        };
        if Self::replace_if(this, replaces, next) {
            tracing::debug!(?how, "a connection to Redis was lost");
        }
    }

    /// Starts opening if the availability meets a condition; returns whether it does.
    fn replace_if(
        this: &Arc<Self>,
        condition: impl FnOnce(&Availability<O::Opened>) -> bool,
        next: Availability<O::Opened>,
    ) -> bool {
        let replaced = this.availability.send_if_modified(|availability| {
            let replaces = condition(availability);
            if replaces {
                *availability = next;
            }
            replaces
        });
        if replaced {
            tokio::spawn(Self::open(Arc::downgrade(this)));
        }
        replaced
    }

    /// Tries until the resource is open, or nothing uses it any more.
    async fn open(this: Weak<Self>) {
        let mut abandoned = OnAbandon {
            shared: this.clone(),
            opened: None,
        };
        let mut delay = FIRST_RETRY;
        while let Some(shared) = this.upgrade() {
            match shared.attempt().await {
                Ok(opened) => {
                    tracing::debug!("a connection to Redis is open");
                    if let Some(faults) = shared.opener.faults()
                        && O::works(&opened)
                    {
                        faults.recovered();
                    }
                    abandoned.opened = Some(opened.clone());
                    shared
                        .availability
                        .send_replace(Availability::Up(opened.clone()));
                    drop(shared);
                    return Self::watch(this, opened).await;
                }
                Err(fault) => {
                    // Faults that do not go away by waiting keep their names.
                    let fault = if fault.is_absence() {
                        Fault::Unreachable
                    } else {
                        fault
                    };
                    if let Some(faults) = shared.opener.faults() {
                        faults.record(&fault);
                    }
                    shared.give_up_waiting();
                }
            }
            drop(shared);
            sleep(delay.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
            delay = LAST_RETRY.min(delay * 2);
        }
    }

    /// Makes one attempt. When it takes long, callers stop waiting for it.
    async fn attempt(&self) -> Result<O::Opened, Fault> {
        let mut attempt = Box::pin(self.opener.open());
        if let Ok(end) = timeout(self.opener.patience(), &mut attempt).await {
            return end;
        }
        self.give_up_waiting();
        attempt.await
    }

    /// Notices a loss that no request notices, as long as the resource is in use.
    async fn watch(this: Weak<Self>, opened: O::Opened) {
        loop {
            O::rest(&opened).await;
            let Some(shared) = this.upgrade() else { return };
            let is_in_use = match &*shared.availability.borrow() {
                Availability::Up(up) => O::is_same(up, &opened),
                _ => false,
            };
            if !is_in_use {
                return;
            }
            if let Some(loss) = shared.opener.check(&opened).await {
                return Self::lose(&shared, &opened, loss);
            }
        }
    }

    fn give_up_waiting(&self) {
        self.opener.mark_away();
        if !matches!(
            self.availability.send_replace(Availability::Down),
            Availability::Down
        ) {
            tracing::debug!("Redis is unreachable: requests do not wait for a connection");
        }
    }
}

/// Lets the next caller start opening again when the task that opened and watched the resource was
/// dropped with its runtime.
struct OnAbandon<O: Open> {
    shared: Weak<SharedResource<O>>,
    /// The resource that the task watches; `None`: it is being opened.
    opened: Option<O::Opened>,
}

impl<O: Open> Drop for OnAbandon<O> {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.availability.send_if_modified(|availability| {
                let is_abandoned = match (&*availability, &self.opened) {
                    (Availability::Up(up), Some(opened)) => O::is_same(up, opened),
                    (Availability::Up(_), None) => false,
                    (_, opened) => opened.is_none(),
                };
                if is_abandoned {
                    *availability = Availability::Idle;
                }
                is_abandoned
            });
        }
    }
}
