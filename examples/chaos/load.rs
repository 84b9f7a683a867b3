//! Clients that read and write, some of which leave before they are answered.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fastrand::Rng;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::checker::Checker;
use crate::http::{Call, Client, Reply};
use crate::items::{ITEMS, Kind, Scope, shelf_of};

const READERS: u64 = 32;
const WRITERS: u64 = 5;
const READER_PAUSE: Duration = Duration::from_millis(10);
const WRITER_PAUSE: Duration = Duration::from_millis(60);
/// A request that takes longer, while its process runs, has failed.
const LIMIT: Duration = Duration::from_secs(5);

pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    tasks: JoinSet<()>,
}

struct Visitor {
    client: Client,
    checker: Arc<Checker>,
    random: Rng,
    /// Sends requests to a frozen process as well. The other clients keep the other processes busy.
    waits: bool,
}

impl Load {
    pub(crate) fn start(addresses: &[SocketAddr], checker: &Arc<Checker>, seed: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        for number in 0..READERS + WRITERS {
            let mut visitor = Visitor {
                client: Client::new(addresses),
                checker: Arc::clone(checker),
                random: Rng::with_seed(seed.wrapping_add(number)),
                waits: number % 4 == 0,
            };
            let stop = Arc::clone(&stop);
            tasks.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    visitor.visit(number < READERS).await;
                }
            });
        }
        Self { stop, tasks }
    }

    /// Lets every client finish its last request.
    pub(crate) async fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.tasks.join_all().await;
    }
}

impl Visitor {
    async fn visit(&mut self, reads: bool) {
        if reads {
            self.read().await;
            self.pause(READER_PAUSE).await;
        } else {
            self.write().await;
            self.pause(WRITER_PAUSE).await;
        }
    }

    async fn pause(&mut self, longest: Duration) {
        sleep(longest.mul_f64(self.random.f64())).await;
    }

    async fn read(&mut self) {
        let item = self.item();
        let call = self.call("GET", Scope::Item(item));
        let promised = self.checker.promised(item);
        let sent = Instant::now();
        if let Some(reply) = self.send(&call, 0.02).await {
            self.checker
                .saw(item, promised.as_ref(), sent, &call, &reply);
        }
    }

    async fn write(&mut self) {
        let item = self.item();
        let (method, scope) = match self.random.u32(..1000) {
            0..420 => ("PUT", Scope::Item(item)),
            420..850 => ("DELETE", Scope::Item(item)),
            850..930 => ("POST", Scope::Shelf(shelf_of(item))),
            930..995 => ("POST", Scope::Kind(Kind::of(item))),
            _ => ("POST", Scope::All),
        };
        let call = self.call(method, scope);
        let checker = Arc::clone(&self.checker);
        let _alone = match scope {
            Scope::All => Some(checker.everything.lock().await),
            _ => None,
        };
        if let Some(reply) = self.send(&call, 0.1).await {
            self.checker.wrote(scope, &call, &reply);
        }
    }

    /// The reply to a request; `None` when it failed, or the client left before.
    async fn send(&mut self, call: &Call, leaves: f64) -> Option<Reply> {
        let reply = self.client.send(call);
        let processes = &self.checker.processes;
        let started = processes.clock(call.process);
        let end = if self.random.f64() < leaves {
            let patience = Duration::from_micros(self.random.u64(..25_000));
            let Ok(end) = timeout(patience, reply).await else {
                self.checker.disconnects.add();
                return None;
            };
            Some(end)
        } else {
            processes.within(LIMIT, call.process, reply).await
        };
        let took = processes.clock(call.process).saturating_sub(started);
        self.checker.took(call, took);
        match end {
            Some(Ok(reply)) => return Some(reply),
            Some(Err(error)) => self.checker.failed(call, error),
            None => self.checker.failed(call, "no response in time"),
        }
        None
    }

    fn call(&mut self, method: &'static str, scope: Scope) -> Call {
        let field = match scope {
            Scope::Item(item) => self.random.choice(Kind::of(item).variants()),
            _ => None,
        };
        Call {
            process: self.process(),
            method,
            path: scope.path(),
            field: field.copied().flatten(),
        }
    }

    fn process(&mut self) -> usize {
        let processes = &self.checker.processes;
        let process = self.random.usize(..processes.count());
        if processes.is_frozen(process) && !self.waits {
            return (process + 1) % processes.count();
        }
        process
    }

    /// The first items are hot: one in six requests is for the first one of 200.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    fn item(&mut self) -> u32 {
        (f64::from(ITEMS) * self.random.f64().powi(3)) as u32
    }
}

/// Reads every item, in all its variants, on every process, and compares it with the database.
pub(crate) async fn read_all(
    addresses: &[SocketAddr],
    checker: &Checker,
    version: impl Fn(u32) -> u64,
) {
    let mut client = Client::new(addresses);
    for item in 0..ITEMS {
        for field in Kind::of(item).variants() {
            for process in 0..addresses.len() {
                let call = Call {
                    process,
                    method: "GET",
                    path: Scope::Item(item).path(),
                    field: *field,
                };
                match timeout(LIMIT, client.send(&call)).await {
                    Ok(Ok(reply)) => checker.saw_in_the_end(version(item), &call, &reply),
                    Ok(Err(error)) => checker.failed(&call, error),
                    Err(_) => checker.failed(&call, "no response in time"),
                }
            }
        }
    }
}
