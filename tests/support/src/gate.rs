use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::waiting::{LIMIT, in_time};

/// Holds a handler in the middle of its run until the test lets it go on.
#[derive(Clone)]
pub struct Gate {
    entered: Arc<Semaphore>,
    opened: Arc<Semaphore>,
}

impl Gate {
    /// A gate that nothing has reached, and that is closed.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self {
            entered: Arc::new(Semaphore::new(0)),
            opened: Arc::new(Semaphore::new(0)),
        }
    }

    /// Waits in the handler until the test opens the gate. The wait is longer than any of the test, so
    /// that a test that fails tells why before its handlers panic here.
    pub async fn pass(&self) {
        self.entered.add_permits(1);
        let opened = timeout(2 * LIMIT, self.opened.acquire()).await;
        opened
            .expect("nobody opens the gate")
            .expect("an open semaphore")
            .forget();
    }

    /// Waits until a handler is at the gate. Each handler is reported once.
    pub async fn entered(&self) {
        let entered = in_time("a handler at the gate", self.entered.acquire()).await;
        entered.expect("an open semaphore").forget();
    }

    /// Lets one handler go on.
    pub fn open(&self) {
        self.opened.add_permits(1);
    }
}
