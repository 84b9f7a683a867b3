//! The world of a scenario: processes of an application that share a store and a database, and
//! their requests.

use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::to_bytes;
use axum::http::Request as HttpRequest;
use axum::response::{IntoResponse, Response};
use tokio::task::JoinHandle;
use tracing::Instrument;

use crate::cache::Cache;
use crate::http::cache_control::Declared;
use crate::key::normal::QueryRule;
use crate::key::part::Text;
use crate::serve::evict::{Evictions, evict};
use crate::serve::read::read_through;
use crate::serve::request::{CacheRequest, NeededUrl};
use crate::serve::response_parts::Groups;
use crate::serve::route::Route;
use crate::serve::route::selected::Selected;
use crate::serve::step::Step;
use crate::serve::write::write_through;
use crate::serve::writer::Writer;
use crate::store::Store;
use crate::store::gate::Gate;
use crate::store::interleaved::{Broken, InterleavedStore, Nodes, Tracking};

static ROUTE: Route = Route::new(|| "model")
    .ttl(Declared::Fixed(Duration::from_secs(60)))
    .groups(&["g"]);

/// The same route, with the query in the key. An eviction that names the handler knows no query.
static PAGES: Route = Route::new(|| "pages")
    .query(QueryRule::All)
    .ttl(Declared::Fixed(Duration::from_secs(60)))
    .groups(&["g"]);

/// The same route as the first, whose group only the response knows.
static TAGGED: Route = Route::new(|| "tagged").ttl(Declared::Fixed(Duration::from_secs(60)));

/// The same route, with an extractor that reads the row.
static TAGGED_EARLY: Route = Route::new(|| "tagged early")
    .reads_early(true)
    .ttl(Declared::Fixed(Duration::from_secs(60)));

/// The same route as the first, with an extractor that reads the row.
static EARLY: Route = Route::new(|| "early")
    .reads_early(true)
    .ttl(Declared::Fixed(Duration::from_secs(60)))
    .groups(&["g"]);

static WRITER: Writer = Writer::new(|| "writer");

/// The steps of handlers, which do not concern the store.
pub(crate) const HANDLER_STEPS: [&str; 4] = ["start", "read row", "answer", "write row"];

/// The action of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Read,
    EvictKey,
    EvictGroup,
    Put,
    /// Reads a value of the same group, which is made from the same row.
    GetOrInsert,
    /// Writes the row, then the value.
    Set,
    /// Writes the row, then evicts the value.
    Delete,
}

/// The handler of the reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Handler {
    #[default]
    Plain,
    /// Its key holds the query, and evictions name the handler.
    Pages,
    /// An extractor reads the row.
    Early,
    /// Only the response names its group.
    Tagged,
    /// Only the response names its group, and an extractor reads the row.
    TaggedEarly,
}

/// The requests, each with the number of its process, and the failures that may happen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scenario {
    pub(crate) requests: Vec<(usize, Action)>,
    /// A response is stored before they start.
    pub(crate) filled: bool,
    pub(crate) handler: Handler,
    /// The number of clients that may disconnect before they get their response.
    pub(crate) leaves: usize,
    /// The number of names that the store may lose.
    pub(crate) losses: usize,
    /// The number of commands that may fail, or whose replies may be lost.
    pub(crate) failures: usize,
    /// The lookups of a process share commands.
    pub(crate) shares_lookups: bool,
    /// The processes that have a near cache.
    pub(crate) near_caches: Vec<usize>,
    /// The nodes that near caches use.
    pub(crate) nodes: Nodes,
    /// Each near cache has a copy of the stored response.
    pub(crate) copied: bool,
    pub(crate) broken: Broken,
}

impl Scenario {
    /// Returns the number of reads after which a response is stored, if one is to be stored. The first
    /// response that names a group is not stored.
    pub(crate) fn first_reads(&self) -> usize {
        let is_tagged = matches!(self.handler, Handler::Tagged | Handler::TaggedEarly);
        match (self.filled, is_tagged) {
            (false, _) => 0,
            (true, false) => 1,
            (true, true) => 2,
        }
    }

    /// Returns the action that reads the stored entry: a scenario concerns responses or values.
    pub(crate) fn reads(&self) -> Action {
        let mut action = self.requests.iter().map(|(_, action)| *action);
        if action.any(|action| action == Action::GetOrInsert) {
            Action::GetOrInsert
        } else {
            Action::Read
        }
    }
}

/// The processes, their store and database, and the clients.
pub(crate) struct World {
    pub(crate) gate: Gate,
    pub(crate) store: InterleavedStore,
    pub(crate) tracking: Option<Arc<Tracking>>,
    processes: Vec<Cache>,
    route: &'static Route,
    shared: Arc<Shared>,
    /// In the order of the scenario's requests.
    pub(crate) clients: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    /// The one row of the database.
    committed: AtomicU64,
    /// The oldest version that a request which starts now may see: the newest one whose write was
    /// answered.
    floor: AtomicU64,
    violations: Mutex<Vec<String>>,
}

impl World {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        let gate = Gate::default();
        let store = InterleavedStore::new(gate.clone(), scenario.broken);
        let last = scenario.requests.iter().map(|(process, _)| *process).max();
        let tracking = (!scenario.near_caches.is_empty()).then(Tracking::new);
        let process = |number| {
            let mut store = store.clone();
            if let Some(tracking) = &tracking {
                let keeps_copies = scenario.near_caches.contains(&number);
                store = store.near(tracking, keeps_copies.then_some(scenario.nodes));
            }
            if scenario.shares_lookups {
                store = store.sharing_lookups();
            }
            let cache = Cache::on(Store::Interleaved(store));
            let joins = &cache.engine().flights().join_by_key_only;
            let is_broken = |how| scenario.broken == how;
            joins.store(is_broken(Broken::JoinsByKeyOnly), Ordering::Relaxed);
            let proves = &cache.engine().client().seen_nonces().proves_everything;
            proves.store(is_broken(Broken::StoresWithoutProof), Ordering::Relaxed);
            let reads = &cache.engine().client().known_groups().reads_after_run;
            reads.store(is_broken(Broken::ReadsGroupsAfterRun), Ordering::Relaxed);
            cache
        };
        Self {
            processes: (0..=last.unwrap_or(0)).map(process).collect(),
            gate,
            store,
            tracking,
            route: match scenario.handler {
                Handler::Plain => &ROUTE,
                Handler::Pages => &PAGES,
                Handler::Early => &EARLY,
                Handler::Tagged => &TAGGED,
                Handler::TaggedEarly => &TAGGED_EARLY,
            },
            shared: Arc::default(),
            clients: Vec::new(),
        }
    }

    /// Returns the names that the store can lose.
    pub(crate) fn names(&self) -> Vec<Vec<u8>> {
        let mut names = self.store.names();
        if self.tracking.is_some() {
            names.extend(Tracking::NAMES.map(Vec::from));
        }
        names
    }

    /// Removes a name, as `maxmemory` or a restart may.
    pub(crate) fn lose(&self, name: &[u8]) {
        self.store.lose(name);
        if let Some(tracking) = &self.tracking {
            tracking.lose(name);
        }
    }

    /// Lets the connections of near caches register.
    pub(crate) fn attend_near_caches(&self) {
        for process in &self.processes {
            process.engine().client().store().attend();
        }
    }

    /// Sends a request. Each of its steps waits at the gate.
    pub(crate) fn send(&mut self, process: usize, action: Action) {
        let cache = self.processes[process].clone();
        let (gate, shared) = (self.gate.clone(), Arc::clone(&self.shared));
        let span = tracing::info_span!("actor");
        let actor = Actor {
            gate,
            shared,
            cache,
            route: self.route,
        };
        let client = async move {
            match action {
                Action::Read | Action::GetOrInsert => read(actor, action).await,
                _ => write(actor, action).await,
            }
        };
        self.clients.push(tokio::spawn(client.instrument(span)));
    }

    pub(crate) fn violations(&self) -> Vec<String> {
        self.shared.violations.lock().unwrap().clone()
    }

    pub(crate) fn violate(&self, what: String) {
        self.shared.violations.lock().unwrap().push(what);
    }

    /// Raises the floor to the last write: when all requests have ended, no older version may be
    /// stored.
    pub(crate) fn expect_the_last_write(&self) {
        let shared = &self.shared;
        let committed = shared.committed.load(Ordering::SeqCst);
        shared.floor.store(committed, Ordering::SeqCst);
    }
}

impl Hash for World {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.gate.hash(hasher);
        format!("{:?}", self.store).hash(hasher);
        for process in &self.processes {
            process.engine().flights().summary().hash(hasher);
            process.engine().turns().summary().hash(hasher);
            process.engine().client().store().summary().hash(hasher);
            process
                .engine()
                .client()
                .seen_nonces()
                .summary()
                .hash(hasher);
            process
                .engine()
                .client()
                .known_groups()
                .summary()
                .hash(hasher);
            process.pending_evictions().hash(hasher);
        }
        self.shared.committed.load(Ordering::SeqCst).hash(hasher);
        self.shared.floor.load(Ordering::SeqCst).hash(hasher);
        for client in &self.clients {
            client.is_finished().hash(hasher);
        }
    }
}

/// The tools of a request.
struct Actor {
    gate: Gate,
    shared: Arc<Shared>,
    cache: Cache,
    route: &'static Route,
}

fn request(method: &str, cache: Cache) -> CacheRequest {
    let uri = if method == "EVICT" {
        "/item"
    } else {
        "/item?page=1"
    };
    let request = HttpRequest::builder().method(method).uri(uri);
    let (mut parts, ()) = request.body(()).unwrap().into_parts();
    CacheRequest::take(NeededUrl::Whole, 0, &mut parts, cache.into_engine())
}

async fn read(actor: Actor, action: Action) {
    let Actor {
        gate,
        shared,
        cache,
        route,
    } = actor;
    gate.step("start").await;
    let floor = shared.floor.load(Ordering::SeqCst);
    gate.observe(&format!("starts when {floor} is known"));
    let version = if action == Action::GetOrInsert {
        let values = cache.group("g").ttl(60);
        let make = async || read_row(&gate, &shared).await;
        values.get_or_insert_with("key", make).await
    } else {
        read_response(gate.clone(), Arc::clone(&shared), cache, route).await
    };
    gate.observe(&format!("gets {version}"));
    if version < floor {
        let message = format!("a read got {version} after {floor} was known");
        shared.violations.lock().unwrap().push(message);
    }
}

async fn read_response(
    gate: Gate,
    shared: Arc<Shared>,
    cache: Cache,
    route: &'static Route,
) -> u64 {
    let client = cache.engine().client();
    if let Some(prepared) = client.prepare_proof(false).filter(|_| route.reads_early) {
        prepared.await;
    }
    let mut request = request("GET", cache);
    let mut extracted = None;
    if route.reads_early {
        request.extraction_begins();
        gate.observe(&format!("reads at {:?}", request.head.read_since));
        extracted = Some(read_row(&gate, &shared).await);
    }
    let response = match read_through(request, route, Selected::new()).await {
        Ok(response) => response,
        Err(run) => {
            let handler = async move {
                let version = match extracted {
                    Some(version) => version,
                    None => read_row(&gate, &shared).await,
                };
                response_of(route, version)
            };
            run.run(Box::pin(handler)).await
        }
    };
    let body = to_bytes(response.into_body(), 100).await.unwrap();
    std::str::from_utf8(&body).unwrap().parse().unwrap()
}

fn response_of(route: &Route, version: u64) -> Response {
    let is_tagged = [&TAGGED, &TAGGED_EARLY]
        .iter()
        .any(|tagged| std::ptr::eq(*tagged, route));
    let groups = Groups::from_iter(is_tagged.then_some("g"));
    (groups, version.to_string()).into_response()
}

async fn read_row(gate: &Gate, shared: &Shared) -> u64 {
    gate.step("read row").await;
    let version = shared.committed.load(Ordering::SeqCst);
    gate.observe(&format!("row is {version}"));
    gate.step("answer").await;
    version
}

async fn write(actor: Actor, action: Action) {
    let Actor {
        gate,
        shared,
        cache,
        route,
    } = actor;
    let written = Arc::new(AtomicU64::new(0));
    let handler = {
        let (gate, shared) = (gate.clone(), Arc::clone(&shared));
        let written = Arc::clone(&written);
        async move {
            gate.step("write row").await;
            let version = shared.committed.fetch_add(1, Ordering::SeqCst) + 1;
            written.store(version, Ordering::SeqCst);
            gate.observe(&format!("row becomes {version}"));
            response_of(route, version)
        }
    };
    let handler = Box::pin(handler);
    match action {
        Action::Put => {
            let request = request("PUT", cache);
            let write = write_through(request, route, &WRITER, Selected::new()).await;
            write.run(handler).await;
        }
        Action::Set => {
            handler.await;
            let version = written.load(Ordering::SeqCst);
            cache.group("g").ttl(60).set("key", &version).await;
        }
        Action::Delete => {
            handler.await;
            cache.group("g").delete("key").await;
        }
        Action::EvictGroup => {
            let evictions = Evictions::of(&WRITER).group(Text::new().literal("g"));
            let evict = evict(request("EVICT", cache), evictions).await;
            evict.run(handler).await;
        }
        Action::EvictKey | Action::Read | Action::GetOrInsert => {
            let evictions = Evictions::of(&WRITER).route(route);
            let evict = evict(request("EVICT", cache), evictions).await;
            evict.run(handler).await;
        }
    }
    let version = written.load(Ordering::SeqCst);
    shared.floor.fetch_max(version, Ordering::SeqCst);
    gate.observe(&format!("wrote {version}"));
}
