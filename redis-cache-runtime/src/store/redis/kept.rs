//! What is opened when it is first needed, and opened again in the background when it was lost.
//!
//! Callers wait for an attempt that has just begun. While attempts fail they learn that at once
//! instead of paying for them, which makes this the breaker, too.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::observe::fault::{Fault, FaultLog};

const FIRST_RETRY: Duration = Duration::from_millis(50);
pub(super) const LAST_RETRY: Duration = Duration::from_millis(250);

/// How something is opened and looked after.
pub(super) trait Open: Send + Sync + 'static {
    type Opened: Clone + Send + Sync;

    fn open(&self) -> impl Future<Output = Result<Self::Opened, Fault>> + Send;

    /// Waits until it is to be looked after again.
    fn rest(opened: &Self::Opened) -> impl Future<Output = ()> + Send;

    /// Finds out whether it is lost, and whether another attempt is worth waiting for then.
    fn check(&self, opened: &Self::Opened) -> impl Future<Output = Option<Loss>> + Send;

    fn is_same(one: &Self::Opened, other: &Self::Opened) -> bool;

    /// Whether it does what it is there for.
    fn works(opened: &Self::Opened) -> bool;

    /// Notes that nobody waits any more.
    fn is_away(&self);

    /// How long callers wait for an attempt.
    fn patience(&self) -> Duration;

    fn faults(&self) -> &FaultLog;
}

/// How something was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loss {
    /// It can be opened again soon.
    Closed,
    /// It hangs: what takes its place may hang too.
    Hung,
}

pub(super) struct Kept<O: Open> {
    shared: Arc<Shared<O>>,
}

struct Shared<O: Open> {
    opener: O,
    state: watch::Sender<State<O::Opened>>,
}

/// What there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State<T> {
    /// Nobody asked for it yet.
    Idle,
    /// An attempt has just begun: worth waiting for.
    Opening,
    Up(T),
    /// Attempts go on in the background: not worth waiting for.
    Down,
}

impl<O: Open> Kept<O> {
    pub(super) fn new(opener: O) -> Self {
        let state = watch::Sender::new(State::Idle);
        let shared = Arc::new(Shared { opener, state });
        Self { shared }
    }

    #[cfg(feature = "cluster")]
    pub(super) fn opener(&self) -> &O {
        &self.shared.opener
    }

    /// What is open, if it is.
    pub(super) fn current(&self) -> Option<O::Opened> {
        match &*self.shared.state.borrow() {
            State::Up(opened) => Some(opened.clone()),
            _ => None,
        }
    }

    pub(super) fn state(&self) -> State<O::Opened> {
        self.shared.state.borrow().clone()
    }

    /// Whether what there is meets a condition.
    pub(super) fn is(&self, condition: impl FnOnce(&State<O::Opened>) -> bool) -> bool {
        condition(&self.shared.state.borrow())
    }

    /// Opens it for the first time, or waits while it is being opened.
    pub(super) async fn wait(&self, deadline: Instant) -> Result<O::Opened, Fault> {
        self.replace_if(|state| matches!(state, State::Idle), State::Opening);
        self.wait_for(deadline, |_| true).await
    }

    /// Waits for another than there was.
    #[cfg(feature = "cluster")]
    pub(super) async fn wait_for_other(
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
        is_it: impl Fn(&O::Opened) -> bool,
    ) -> Result<O::Opened, Fault> {
        let mut state = self.shared.state.subscribe();
        let settled = state.wait_for(|state| match state {
            State::Up(opened) => is_it(opened),
            State::Down => true,
            State::Idle | State::Opening => false,
        });
        match timeout_at(deadline, settled).await {
            Ok(Ok(state)) => match &*state {
                State::Up(opened) => Ok(opened.clone()),
                _ => Err(Fault::Unreachable),
            },
            _ => Err(Fault::Unreachable),
        }
    }

    /// Puts another in its place.
    #[cfg(feature = "cluster")]
    pub(super) fn set(&self, opened: O::Opened) {
        self.shared.state.send_replace(State::Up(opened));
    }

    /// Opens another in its place, unless somebody has done so already.
    pub(super) fn lose(&self, lost: &O::Opened, how: Loss) {
        Shared::lose(&self.shared, lost, how);
    }

    fn replace_if(
        &self,
        condition: impl FnOnce(&State<O::Opened>) -> bool,
        next: State<O::Opened>,
    ) {
        Shared::replace_if(&self.shared, condition, next);
    }
}

impl<O: Open> Shared<O> {
    fn lose(this: &Arc<Self>, lost: &O::Opened, how: Loss) {
        let is_it = |state: &State<_>| matches!(state, State::Up(up) if O::is_same(up, lost));
        let next = match how {
            Loss::Hung => State::Down,
            Loss::Closed => State::Opening,
        };
        let opener = &this.opener;
        let replaces = |state: &State<_>| {
            let replaces = is_it(state);
            if replaces && how == Loss::Hung {
                opener.is_away();
            }
            replaces
        };
        if Self::replace_if(this, replaces, next) {
            tracing::debug!(?how, "a connection to Redis was lost");
        }
    }

    /// Leaves a state that meets the condition, and starts opening; `false` if it does not.
    fn replace_if(
        this: &Arc<Self>,
        condition: impl FnOnce(&State<O::Opened>) -> bool,
        next: State<O::Opened>,
    ) -> bool {
        let replaced = this.state.send_if_modified(|state| {
            let replaces = condition(state);
            if replaces {
                *state = next;
            }
            replaces
        });
        if replaced {
            tokio::spawn(Self::open(Arc::downgrade(this)));
        }
        replaced
    }

    /// Tries until it is open, or nobody is left to use it.
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
                    if O::works(&opened) {
                        shared.opener.faults().recovered();
                    }
                    abandoned.opened = Some(opened.clone());
                    shared.state.send_replace(State::Up(opened.clone()));
                    drop(shared);
                    return Self::look_after(this, opened).await;
                }
                Err(fault) => {
                    // What waiting does not help against is named.
                    let fault = if fault.is_absence() {
                        Fault::Unreachable
                    } else {
                        fault
                    };
                    shared.opener.faults().record(&fault);
                    shared.give_up_waiting();
                }
            }
            drop(shared);
            sleep(delay.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
            delay = LAST_RETRY.min(delay * 2);
        }
    }

    /// One attempt; when it takes long, callers stop waiting for it.
    async fn attempt(&self) -> Result<O::Opened, Fault> {
        let mut attempt = Box::pin(self.opener.open());
        if let Ok(end) = timeout(self.opener.patience(), &mut attempt).await {
            return end;
        }
        self.give_up_waiting();
        attempt.await
    }

    /// Notices a loss that no request notices, as long as it is the one in use.
    async fn look_after(this: Weak<Self>, opened: O::Opened) {
        loop {
            O::rest(&opened).await;
            let Some(shared) = this.upgrade() else { return };
            let is_in_use =
                matches!(&*shared.state.borrow(), State::Up(up) if O::is_same(up, &opened));
            if !is_in_use {
                return;
            }
            if let Some(loss) = shared.opener.check(&opened).await {
                return Self::lose(&shared, &opened, loss);
            }
        }
    }

    fn give_up_waiting(&self) {
        self.opener.is_away();
        if !matches!(self.state.send_replace(State::Down), State::Down) {
            tracing::debug!("nobody waits for a connection to Redis until it is open");
        }
    }
}

/// Lets the next caller start opening again when the task that opened and looked after one was dropped
/// with its runtime.
struct OnAbandon<O: Open> {
    shared: Weak<Shared<O>>,
    /// The one that it looks after; `None`: it is opening.
    opened: Option<O::Opened>,
}

impl<O: Open> Drop for OnAbandon<O> {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.state.send_if_modified(|state| {
                let is_abandoned = match (&*state, &self.opened) {
                    (State::Up(up), Some(opened)) => O::is_same(up, opened),
                    (State::Up(_), None) => false,
                    (_, opened) => opened.is_none(),
                };
                if is_abandoned {
                    *state = State::Idle;
                }
                is_abandoned
            });
        }
    }
}
