//! How often the handler runs when many ask for what nobody asked for before.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::checker::Checker;
use crate::database::Database;
use crate::http::{Call, Client};

const CLIENTS: usize = 50;

/// Asks for cold keys, and remembers how often the handler ran for each.
pub(crate) struct ColdKeys {
    clients: Vec<Client>,
    processes: usize,
    database: Database,
    checker: Arc<Checker>,
    runs: Vec<u64>,
}

impl ColdKeys {
    pub(crate) fn new(addresses: &[SocketAddr], database: Database, checker: Arc<Checker>) -> Self {
        Self {
            clients: (0..CLIENTS).map(|_| Client::new(addresses)).collect(),
            processes: addresses.len(),
            database,
            checker,
            runs: Vec::new(),
        }
    }

    /// Asks for the next key, all clients at once. A run that began before everything was evicted
    /// does not count for the others, so nobody may do that meanwhile.
    pub(crate) async fn ask(&mut self) {
        let checker = Arc::clone(&self.checker);
        let _alone = checker.everything.lock().await;
        // An eviction whose client left may still be under way.
        tokio::time::sleep(Duration::from_millis(50)).await;
        let key = self.runs.len() as u64;
        let mut tasks = JoinSet::new();
        for (number, mut client) in self.clients.drain(..).enumerate() {
            let checker = Arc::clone(&self.checker);
            let call = Call {
                process: number % self.processes,
                method: "GET",
                path: format!("/cold/{key}"),
                field: None,
            };
            tasks.spawn(async move {
                match timeout(Duration::from_secs(5), client.send(&call)).await {
                    Ok(Ok(_)) => {}
                    Ok(Err(error)) => checker.failed(&call, error),
                    Err(_) => checker.failed(&call, "no response in time"),
                }
                client
            });
        }
        self.clients = tasks.join_all().await;
        self.runs.push(self.database.cold_runs(key));
    }

    /// The runs for each key so far.
    pub(crate) fn runs(&self) -> &[u64] {
        &self.runs
    }
}
