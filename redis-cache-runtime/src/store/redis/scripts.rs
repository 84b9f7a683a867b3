//! Servers that refuse scripts, such as some proxies. Nothing can be stored on them.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use redis::Cmd;
use tokio::time::Instant;

use super::servers::Servers;
use crate::key::Name;
use crate::observe::fault::Fault;

/// The time after which scripts are tried again.
const RETRY: Duration = Duration::from_secs(10);

/// The time at which the servers last refused a script.
#[derive(Default)]
pub(super) struct Scripts(Mutex<Option<Instant>>);

impl Scripts {
    /// Fails if scripts were refused a short time ago. Without this check, each request would take a
    /// lease in vain.
    pub(super) fn check(&self) -> Result<(), Fault> {
        let refused = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match refused {
            Some(refused) if refused.elapsed() < RETRY => Err(Fault::Scripts),
            _ => Ok(()),
        }
    }

    /// Returns [`Fault::Scripts`] if the server refuses scripts, otherwise `fault`. `about` is a name
    /// that the failed commands use.
    pub(super) async fn fault_of(&self, fault: Fault, about: Name<'_>, servers: &Servers) -> Fault {
        if !is_refusal(&fault) {
            return fault;
        }
        match servers.run(about, least_script()).await {
            Err(refusal) if is_refusal(&refusal) => {
                let mut refused = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                *refused = Some(Instant::now());
                Fault::Scripts
            }
            _ => fault,
        }
    }
}

/// Returns whether the server does not know a command, or does not permit it.
fn is_refusal(fault: &Fault) -> bool {
    matches!(fault, Fault::Refused(code) if code == "ERR" || code == "NOPERM")
}

/// Returns a script that needs no permission for a name.
fn least_script() -> Cmd {
    let mut script = redis::cmd("EVAL");
    script.arg("return 1").arg(0);
    script
}
