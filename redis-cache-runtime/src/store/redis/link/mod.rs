//! One connection to a primary: opened when it is first needed, replaced in the background when it is
//! lost.
//!
//! After Redis has been unreachable, lookups fail at once for a while: in that time the other processes
//! send their pending evictions.

mod connected;
mod opener;

use std::sync::Arc;

use tokio::time::Instant;

pub(super) use self::connected::{Connected, SharedConnection};
use self::opener::Opener;
use super::context::ClientContext;
use super::end::End;
use super::health::Trust;
use super::reconnecting::{Availability, Loss, Reconnecting};
use super::request::Purpose;
use super::server_state::ServerState;
use crate::observe::fault::Fault;
use crate::observe::status::ConnectionState;

pub(super) struct Link {
    reconnecting: Reconnecting<Opener>,
}

impl Link {
    /// Returns a connection. If it is tracked, the server is asked to track what is read on it.
    pub(super) fn new(
        context: Arc<ClientContext>,
        server_state: Arc<ServerState>,
        is_tracked: bool,
    ) -> Self {
        let opener = Opener::new(context, server_state, is_tracked);
        Self {
            reconnecting: Reconnecting::new(opener),
        }
    }

    /// Returns the connection, if one is open.
    pub(super) fn connected(&self) -> Option<Connected> {
        self.reconnecting.current().map(Connected::now)
    }

    /// Returns whether a request may be sent: the connection is trusted, has not been needed yet, or is
    /// replaced before the request is sent.
    pub(super) fn is_usable(&self) -> bool {
        self.reconnecting.is(|availability| match availability {
            Availability::Idle => true,
            Availability::Up(connected) => connected.trust(Instant::now()).is_usable(),
            Availability::Opening | Availability::Down => false,
        })
    }

    /// Returns whether the connection leads to a primary that has replaced another and is still settling.
    pub(super) fn has_moved(&self) -> bool {
        self.reconnecting.is(|availability| match availability {
            Availability::Up(connected) => connected.has_moved(),
            Availability::Idle | Availability::Opening | Availability::Down => false,
        })
    }

    /// Opens the first connection, or waits while a connection is being opened.
    pub(super) async fn connect(&self, deadline: Instant) -> Result<Connected, Fault> {
        self.reconnecting.wait(deadline).await.map(Connected::now)
    }

    /// Records the end of an operation, and replaces a lost connection.
    pub(super) fn note<T>(&self, end: &End<T>, purpose: Purpose, on: &Connected) {
        if !matches!(end, Ok(Ok(_))) {
            on.disprove();
        }
        if let Some(loss) = on.shared.health.note(end, purpose, on.received) {
            self.reconnecting.lose(on, loss);
        }
    }

    /// Replaces a connection on which this process has sent no pulse for too long.
    pub(super) fn replace(&self, unattended: &Connected) {
        self.reconnecting.lose(unattended, Loss::Closed);
    }

    pub(super) fn state(&self) -> ConnectionState {
        match self.reconnecting.availability() {
            Availability::Idle => ConnectionState::Idle,
            Availability::Opening => ConnectionState::Connecting,
            Availability::Up(connected) => match connected.trust(Instant::now()) {
                trust if trust.is_usable() => ConnectionState::Up,
                Trust::Doubted(Fault::Settling) => ConnectionState::Settling,
                _ => ConnectionState::Untrusted,
            },
            Availability::Down => ConnectionState::Down,
        }
    }
}
