//! Many requests at once for what is not stored: one runs the handler, the others share its response.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::{FromRef, Path, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum_redis_cache::{Cache, cache_evict, cached};
use test_support::{Client, RedisServer, Reply};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tower_service::Service;

use crate::support::{
    App, Arrivals, Gate, OnDrop, Store, answer, on_every_store, patient, serve, settings,
};

#[cached(ttl = 30, group = "g")]
async fn read(State(app): State<App>) -> Response {
    app.run().await
}

#[cached(ttl = 30, vary("x-variant"))]
async fn varied(State(app): State<App>) -> Response {
    app.run().await
}

#[cache_evict(read)]
async fn evict_key() {}

#[cache_evict(group = "g")]
async fn evict_group() {}

fn router(app: App) -> Router {
    let route = get(read).delete(evict_key).post(evict_group);
    Router::new()
        .route("/item", route)
        .route("/varied", get(varied))
        .with_state(app)
}

/// Whose first run waits at the gate and then answers; further ones answer at once.
fn gated(cache: Cache, gate: &Gate, first: impl Fn() -> Response + Send + Sync + 'static) -> App {
    let (gate, first) = (gate.clone(), std::sync::Arc::new(first));
    App::new(cache, move |run| {
        let (gate, first) = (gate.clone(), first.clone());
        async move {
            if run == 0 {
                gate.pass().await;
                return first();
            }
            format!("run {run}").into_response()
        }
    })
}

fn first() -> Response {
    "run 0".into_response()
}

fn spawn(client: Client, fields: &'static [(&'static str, &'static str)]) -> JoinHandle<Reply> {
    tokio::spawn(async move { client.get_with("/item", fields).await })
}

/// Sends a request that waits for the run at the gate.
async fn follow(client: Client, arrivals: &Arrivals) -> JoinHandle<Reply> {
    let follower = arrivals.arrival_of(|| spawn(client, &[])).await;
    assert!(!follower.is_finished());
    follower
}

async fn serve_counted(router: Router) -> (Client, Arrivals) {
    let arrivals = Arrivals::new();
    (serve(arrivals.of(router)).await, arrivals)
}

async fn outcome(request: JoinHandle<Reply>) -> (String, String) {
    let reply = request.await.unwrap();
    (reply.outcome().to_owned(), reply.text().to_owned())
}

/// The first request begins to run, a second one follows it, and the client of the first goes away before the
/// run ends.
async fn follow_a_leader_that_leaves(
    (client, arrivals): &(Client, Arrivals),
    gate: &Gate,
) -> JoinHandle<Reply> {
    let leader = spawn(*client, &[]);
    gate.entered().await;
    let follower = follow(*client, arrivals).await;
    leader.abort();
    arrivals.dropped(1).await;
    gate.open();
    follower
}

on_every_store!(
    one_run_answers_all_who_ask_at_once,
    who_asks_for_another_variant_does_not_wait,
    followers_are_validated_too,
    a_run_survives_its_client,
    the_panic_of_a_run_that_lost_its_client_is_nobody_elses,
    a_run_without_followers_survives_its_client_and_is_stored,
    after_an_eviction_nobody_shares_the_run_from_before,
    a_response_that_is_not_to_be_shared_makes_followers_run_themselves,
    who_asks_for_something_fresher_makes_nobody_else_wait,
    nobody_waits_for_a_stream,
    who_forces_a_run_gets_one_of_its_own,
);

async fn one_run_answers_all_who_ask_at_once(store: Store) {
    let gate = Gate::new();
    let app = gated(store.cache(), &gate, first);
    let client = serve(router(app.clone())).await;
    let requests: Vec<_> = (0..200).map(|_| spawn(client, &[])).collect();
    gate.entered().await;
    gate.open();
    let mut misses = 0;
    let mut tags = std::collections::HashSet::new();
    for request in requests {
        let reply = request.await.unwrap();
        assert_eq!(reply.text(), "run 0");
        assert!(
            reply
                .field("cache-control")
                .unwrap()
                .starts_with("max-age=")
        );
        tags.insert(reply.field("etag").unwrap().to_owned());
        misses += usize::from(reply.outcome() == "MISS");
    }
    assert_eq!((misses, tags.len(), app.runs()), (1, 1, 1));
}

async fn who_asks_for_another_variant_does_not_wait(store: Store) {
    let gate = Gate::new();
    let app = gated(store.cache(), &gate, first);
    let client = serve(router(app)).await;
    let one = tokio::spawn(async move { client.get("/varied").await });
    gate.entered().await;
    let other = client.get_with("/varied", &[("x-variant", "1")]).await;
    assert_eq!((other.outcome(), other.text()), ("MISS", "run 1"));
    gate.open();
    assert_eq!(one.await.unwrap().text(), "run 0");
}

async fn followers_are_validated_too(store: Store) {
    let gate = Gate::new();
    let app = gated(store.cache(), &gate, || {
        ([("etag", "\"v1\"")], "run 0").into_response()
    });
    let (client, arrivals) = serve_counted(router(app)).await;
    let leader = spawn(client, &[]);
    gate.entered().await;
    let follower = spawn(client, &[("if-none-match", "\"v1\"")]);
    let head = tokio::spawn(async move { client.send("HEAD", "/item", &[]).await });
    arrivals.arrived(3).await;
    gate.open();
    assert_eq!(outcome(leader).await, answer("MISS", "run 0"));
    let reply = follower.await.unwrap();
    assert_eq!(
        (reply.status, reply.outcome(), reply.text()),
        (StatusCode::NOT_MODIFIED, "HIT", "")
    );
    let head = head.await.unwrap();
    assert_eq!(
        (head.outcome(), head.field("content-length")),
        ("HIT", Some("5"))
    );
}

async fn a_run_survives_its_client(store: Store) {
    let gate = Gate::new();
    let app = gated(store.cache(), &gate, first);
    let served = serve_counted(router(app.clone())).await;
    let follower = follow_a_leader_that_leaves(&served, &gate).await;
    assert_eq!(outcome(follower).await, answer("HIT", "run 0"));
    assert_eq!(served.0.get("/item").await.outcome(), "HIT");
    assert_eq!(app.runs(), 1);
}

async fn the_panic_of_a_run_that_lost_its_client_is_nobody_elses(store: Store) {
    let gate = Gate::new();
    let gated = gate.clone();
    let app = App::new(store.cache(), move |run| {
        let gate = gated.clone();
        async move {
            if run == 0 {
                gate.pass().await;
                panic!("the run that lost its client");
            }
            format!("run {run}")
        }
    });
    let served = serve_counted(router(app.clone())).await;
    let follower = follow_a_leader_that_leaves(&served, &gate).await;
    assert_eq!(outcome(follower).await, answer("MISS", "run 1"));
    assert_eq!(served.0.get("/item").await.text(), "run 1");
}

async fn a_run_without_followers_survives_its_client_and_is_stored(store: Store) {
    let gate = Gate::new();
    let app = gated(store.cache(), &gate, first);
    let (client, arrivals) = serve_counted(router(app.clone())).await;
    let leader = spawn(client, &[]);
    gate.entered().await;
    leader.abort();
    arrivals.dropped(1).await;
    gate.open();
    assert_eq!(client.get("/item").await.text(), "run 0");
    assert_eq!(app.runs(), 1);
}

async fn after_an_eviction_nobody_shares_the_run_from_before(store: Store) {
    for method in ["DELETE", "POST"] {
        let gate = Gate::new();
        let app = gated(store.cache(), &gate, first);
        let (client, arrivals) = serve_counted(router(app.clone())).await;
        let leader = spawn(client, &[]);
        gate.entered().await;
        let before = follow(client, &arrivals).await;
        client.send(method, "/item", &[]).await;
        let reply = client.get("/item").await;
        assert_eq!(
            (reply.outcome(), reply.text()),
            ("MISS", "run 1"),
            "{method}"
        );
        gate.open();
        assert_eq!(outcome(leader).await, answer("MISS", "run 0"));
        assert_eq!(outcome(before).await, answer("HIT", "run 0"));
        assert_eq!(client.get("/item").await.text(), "run 1", "{method}");
        assert_eq!(app.runs(), 2);
    }
}

async fn a_response_that_is_not_to_be_shared_makes_followers_run_themselves(store: Store) {
    let failures: [fn() -> Response; 4] = [
        || StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        || ([("set-cookie", "user=1")], "secret").into_response(),
        || ([("cache-control", "private")], "secret").into_response(),
        || panic!("the handler panics"),
    ];
    for failure in failures {
        let gate = Gate::new();
        let app = gated(store.cache(), &gate, failure);
        let (client, arrivals) = serve_counted(router(app.clone())).await;
        let leader = tokio::spawn(async move { client.try_open("GET", "/item", &[]).await });
        gate.entered().await;
        let followers = [
            follow(client, &arrivals).await,
            follow(client, &arrivals).await,
        ];
        gate.open();
        if let Some(reply) = leader.await.unwrap() {
            assert_eq!(reply.headers()["x-redis-cache"], "BYPASS");
        }
        for follower in followers {
            let (_, text) = outcome(follower).await;
            assert!(["run 1", "run 2"].contains(&&*text), "{text}");
        }
        assert_eq!(client.get("/item").await.outcome(), "HIT");
    }
}

async fn who_asks_for_something_fresher_makes_nobody_else_wait(store: Store) {
    let gate = Gate::new();
    let app = App::counting_with_a_gate(store.cache(), 1, &gate);
    let client = serve(router(app)).await;
    client.get("/item").await;
    let fresher = spawn(client, &[("cache-control", "min-fresh=1000")]);
    gate.entered().await;
    for _ in 0..2 {
        let reply = client.get("/item").await;
        assert_eq!((reply.outcome(), reply.text()), ("HIT", "run 0"));
    }
    gate.open();
    assert_eq!(outcome(fresher).await, answer("MISS", "run 1"));
    assert_eq!(client.get("/item").await.text(), "run 1");
}

async fn nobody_waits_for_a_stream(store: Store) {
    let app = App::new(store.cache(), move |run| async move {
        if run > 0 {
            return format!("run {run}").into_response();
        }
        let first = futures_util::stream::iter([Ok::<_, std::io::Error>("first")]);
        let endless = futures_util::StreamExt::chain(first, futures_util::stream::pending());
        axum::body::Body::from_stream(endless).into_response()
    });
    let client = serve(router(app)).await;
    let stream = client.open("GET", "/item", &[]).await;
    let reply = client.get("/item").await;
    assert_eq!((reply.outcome(), reply.text()), ("MISS", "run 1"));
    drop(stream);
}

async fn who_forces_a_run_gets_one_of_its_own(store: Store) {
    let gate = Gate::new();
    let app = gated(store.cache(), &gate, first);
    let client = serve(router(app)).await;
    let leader = spawn(client, &[]);
    gate.entered().await;
    let forced = client
        .get_with("/item", &[("cache-control", "no-cache")])
        .await;
    assert_eq!((forced.outcome(), forced.text()), ("MISS", "run 1"));
    let cached = client
        .get_with("/item", &[("cache-control", "only-if-cached")])
        .await;
    assert_eq!(cached.status, StatusCode::GATEWAY_TIMEOUT);
    gate.open();
    assert_eq!(outcome(leader).await, answer("MISS", "run 0"));
}

/// Two processes, as far as the cache can tell.
async fn two_processes(gate: &Gate) -> [(Client, Arrivals, App); 2] {
    let settings = settings();
    let app = || gated(Store::Redis.cache_with(settings.clone()), gate, first);
    let (one, other) = (app(), app());
    let served = async |app: App| {
        let (client, arrivals) = serve_counted(router(app.clone())).await;
        (client, arrivals, app)
    };
    [served(one).await, served(other).await]
}

#[tokio::test]
async fn one_run_answers_all_processes() {
    let gate = Gate::new();
    let [(one, _, one_app), (other, arrivals, other_app)] = two_processes(&gate).await;
    let leader = spawn(one, &[]);
    gate.entered().await;
    let followers: Vec<_> = (0..50).map(|_| spawn(other, &[])).collect();
    arrivals.arrived(50).await;
    gate.open();
    assert_eq!(outcome(leader).await, answer("MISS", "run 0"));
    for follower in followers {
        assert_eq!(outcome(follower).await, answer("HIT", "run 0"));
    }
    assert_eq!((one_app.runs(), other_app.runs()), (1, 0));
}

#[tokio::test]
async fn after_a_server_error_requests_share_the_next_run() {
    let gate = Gate::new();
    let handler = gate.clone();
    let app = App::new(Store::Redis.cache(), move |run| {
        let gate = handler.clone();
        async move {
            if run == 0 {
                return StatusCode::BAD_GATEWAY.into_response();
            }
            gate.pass().await;
            format!("run {run}").into_response()
        }
    });
    let (client, arrivals) = serve_counted(router(app.clone())).await;
    assert_eq!(client.get("/item").await.status, StatusCode::BAD_GATEWAY);
    let leader = spawn(client, &[]);
    gate.entered().await;
    let follower = follow(client, &arrivals).await;
    gate.open();
    assert_eq!(outcome(leader).await, answer("MISS", "run 1"));
    assert_eq!(outcome(follower).await, answer("HIT", "run 1"));
    assert_eq!(app.runs(), 2);
}

#[tokio::test]
async fn no_process_waits_for_the_stream_of_another() {
    let settings = settings();
    let app = || {
        App::new(Store::Redis.cache_with(settings.clone()), |_| async {
            let first = futures_util::stream::iter([Ok::<_, std::io::Error>("first")]);
            let endless = futures_util::StreamExt::chain(first, futures_util::stream::pending());
            axum::body::Body::from_stream(endless)
        })
    };
    let (one, other) = (app(), app());
    let stream = serve(router(one)).await.open("GET", "/item", &[]).await;
    let client = serve(router(other.clone())).await;
    let own = tokio::time::timeout(Duration::from_secs(10), client.open("GET", "/item", &[]));
    assert_eq!(own.await.unwrap().headers()["x-redis-cache"], "MISS");
    assert_eq!(other.runs(), 1);
    drop(stream);
}

#[tokio::test]
async fn shutdown_waits_for_a_run_without_its_client() {
    let (gate, ended) = (Gate::new(), Arc::new(AtomicBool::new(false)));
    let (handler, end) = (gate.clone(), Arc::clone(&ended));
    let app = App::new(Store::Redis.cache(), move |_| {
        let (gate, end) = (handler.clone(), Arc::clone(&end));
        async move {
            gate.pass().await;
            end.store(true, Ordering::SeqCst);
            "body"
        }
    });
    let (client, arrivals) = serve_counted(router(app.clone())).await;
    let leader = spawn(client, &[]);
    gate.entered().await;
    leader.abort();
    arrivals.dropped(1).await;
    let shutdown = async {
        app.cache.shutdown().await;
        assert!(ended.load(Ordering::SeqCst), "the run has ended before");
    };
    tokio::join!(shutdown, async { gate.open() });
}

#[tokio::test]
async fn a_slow_run_keeps_its_lease_and_is_stored() {
    let gate = Gate::new();
    let [(one, _, _), (other, _, other_app)] = two_processes(&gate).await;
    let leader = spawn(one, &[]);
    gate.entered().await;
    let follower = spawn(other, &[]);
    // The promise is about time: longer than a lease is held that is not renewed.
    tokio::time::sleep(Duration::from_secs(2)).await;
    gate.open();
    assert_eq!(outcome(leader).await, answer("MISS", "run 0"));
    assert_eq!(outcome(follower).await, answer("HIT", "run 0"));
    assert_eq!(other_app.runs(), 0);
}

#[tokio::test]
async fn a_slow_run_keeps_its_lease_however_many_join_meanwhile() {
    let gate = Gate::new();
    let app = gated(Store::Redis.cache(), &gate, first);
    let client = serve(router(app.clone())).await;
    let mut requests = vec![spawn(client, &[])];
    gate.entered().await;
    let begun = tokio::time::Instant::now();
    while begun.elapsed() < Duration::from_secs(2) {
        requests.push(spawn(client, &[]));
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    gate.open();
    for request in requests {
        assert_eq!(request.await.unwrap().text(), "run 0");
    }
    assert_eq!(client.get("/item").await.outcome(), "HIT");
    assert_eq!(app.runs(), 1);
}

trait Asks: Clone + Send + Sync + 'static {
    /// Whose future the compiler does not know to be `Send`.
    #[allow(async_fn_in_trait)]
    async fn ask(&self) -> String;
}

#[derive(Clone)]
struct Slow;

impl Asks for Slow {
    async fn ask(&self) -> String {
        tokio::time::sleep(Duration::from_secs(2)).await;
        "asked".to_owned()
    }
}

#[cached(ttl = 30, ignore(slow))]
async fn generic<A: Asks>(axum::Extension(slow): axum::Extension<A>) -> String {
    slow.ask().await
}

#[tokio::test]
async fn a_slow_run_that_cannot_leave_its_client_keeps_its_lease_too() {
    let route = get(generic::<Slow>).layer(axum::Extension(Slow));
    let cache = Store::Redis.cache();
    let client = serve(Router::new().route("/slow", route).with_state(cache)).await;
    let (one, other) = tokio::join!(client.get("/slow"), client.get("/slow"));
    let mut outcomes = [one.outcome(), other.outcome()];
    outcomes.sort_unstable();
    assert_eq!(outcomes, ["HIT", "MISS"]);
    assert_eq!(client.get("/slow").await.outcome(), "HIT");
}

#[tokio::test]
async fn no_more_runs_go_on_without_their_clients_than_the_settings_allow() {
    let (gate, dropped) = (Gate::new(), Arc::new(Notify::new()));
    let (handler, watched) = (gate.clone(), Arc::clone(&dropped));
    let cache = Store::Redis.cache_with(settings().max_detached_runs(1));
    let app = App::new(cache.clone(), move |run| {
        let (gate, watched) = (handler.clone(), OnDrop(Arc::clone(&watched)));
        async move {
            if run < 2 {
                gate.pass().await;
            }
            drop(watched);
            format!("run {run}")
        }
    });
    let client = serve(router(app)).await;
    let leaving =
        ["/item", "/varied"].map(|path| tokio::spawn(async move { client.get(path).await }));
    for request in leaving {
        gate.entered().await;
        request.abort();
    }
    // One of the two is stopped, the other goes on.
    dropped.notified().await;
    gate.open();
    cache.shutdown().await;
    let outcomes = [client.get("/item").await, client.get("/varied").await];
    let hits = outcomes.iter().filter(|reply| reply.outcome() == "HIT");
    assert_eq!(hits.count(), 1);
}

#[tokio::test]
async fn requests_do_not_wait_for_a_run_that_will_most_likely_not_be_shared() {
    let gate = Gate::new();
    let handler = gate.clone();
    let app = App::new(Store::Redis.cache(), move |run| {
        let gate = handler.clone();
        async move {
            gate.pass().await;
            ([("set-cookie", "a=b")], format!("run {run}"))
        }
    });
    let client = serve(router(app)).await;
    let first = spawn(client, &[]);
    gate.entered().await;
    gate.open();
    assert_eq!(first.await.unwrap().text(), "run 0");
    let others: Vec<_> = (0..5).map(|_| spawn(client, &[])).collect();
    for _ in &others {
        gate.entered().await;
    }
    for other in others {
        gate.open();
        assert_eq!(other.await.unwrap().outcome(), "BYPASS");
    }
}

/// Longer than a lease is held without being renewed.
const BLOCKED: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_handler_that_blocks_its_thread_runs_once_and_is_stored() {
    let blocks: [fn(); 2] = [
        || std::thread::sleep(BLOCKED),
        || tokio::task::block_in_place(|| std::thread::sleep(BLOCKED)),
    ];
    for block in blocks {
        let app = App::new(Store::Redis.cache(), move |run| async move {
            block();
            format!("run {run}")
        });
        let client = serve(router(app.clone())).await;
        let requests: Vec<_> = (0..10).map(|_| spawn(client, &[])).collect();
        for request in requests {
            assert_eq!(request.await.unwrap().text(), "run 0");
        }
        assert_eq!(client.get("/item").await.outcome(), "HIT");
        assert_eq!(app.runs(), 1);
    }
}

#[tokio::test]
async fn the_lease_of_a_process_that_died_blocks_nobody_for_long() {
    let redis = RedisServer::start();
    let settings = patient(&redis);
    // The runtime of the process that holds the lease ends in the middle of the run.
    let dying = settings.clone();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let gate = Gate::new();
            let app = gated(Store::Redis.cache_with(dying), &gate, first);
            let client = serve(router(app)).await;
            spawn(client, &[]);
            gate.entered().await;
        });
        runtime.shutdown_background();
    })
    .join()
    .unwrap();
    let app = App::counting(Store::Redis.cache_with(settings));
    let client = serve(router(app.clone())).await;
    let waiting = tokio::time::timeout(Duration::from_secs(10), client.get("/item"));
    assert_eq!(waiting.await.unwrap().text(), "run 0");
    assert_eq!(app.runs(), 1);
}

/// Handlers that ask each other, as they do through a router in their state.
#[derive(Clone)]
struct Nested {
    cache: Cache,
    router: std::sync::Arc<std::sync::OnceLock<Router>>,
    gate: Gate,
}

impl FromRef<Nested> for Cache {
    fn from_ref(nested: &Nested) -> Self {
        nested.cache.clone()
    }
}

#[cached(ttl = 30)]
async fn nested(State(state): State<Nested>, Path(name): Path<String>) -> String {
    state.gate.pass().await;
    let other = if name == "one" { "/other" } else { "/one" };
    let mut router = state.router.get().unwrap().clone();
    let request = Request::get(other).body(axum::body::Body::empty()).unwrap();
    let response = router.call(request).await.unwrap();
    format!("{name} asked {other}: {}", response.status())
}

#[tokio::test]
async fn runs_that_ask_for_each_other_do_not_wait_for_each_other() {
    let gate = Gate::new();
    let state = Nested {
        cache: Store::Redis.cache(),
        router: std::sync::Arc::default(),
        gate: gate.clone(),
    };
    let router = Router::new()
        .route("/{name}", get(nested))
        .with_state(state.clone());
    state.router.set(router.clone()).unwrap();
    let client = serve(router).await;
    let one = tokio::spawn(async move { client.get("/one").await });
    gate.entered().await;
    let other = tokio::spawn(async move { client.get("/other").await });
    gate.entered().await;
    // Both lead, and each now asks for the response of the other. The one that would close the circle runs
    // that handler itself.
    gate.open();
    gate.open();
    gate.entered().await;
    one.abort();
    other.abort();
}

tokio::task_local! {
    static OF_THE_REQUEST: &'static str;
}

/// What a handler sees of the task and the span that its request came in.
fn surroundings() -> String {
    let span = tracing::Span::current();
    let span = span.metadata().map_or("none", tracing::Metadata::name);
    let local = OF_THE_REQUEST.try_with(|text| *text).unwrap_or("none");
    format!("{span}, {local}")
}

#[tokio::test]
async fn a_run_keeps_its_span_without_its_client_and_what_is_local_to_its_task_with_it() {
    use tracing::Instrument;

    let _subscriber = tracing::subscriber::set_default(tracing_subscriber::registry());
    let gate = Gate::new();
    let handler = gate.clone();
    let app = App::new(Store::Redis.cache(), move |_| {
        let gate = handler.clone();
        async move {
            gate.pass().await;
            surroundings()
        }
    });
    let around = |request: Request, next: axum::middleware::Next| async {
        let run = next.run(request).instrument(tracing::info_span!("request"));
        OF_THE_REQUEST.scope("local", run).await
    };
    let router = router(app).layer(axum::middleware::from_fn(around));
    let (client, arrivals) = serve_counted(router).await;
    let alone = tokio::spawn(async move { client.get("/varied").await });
    gate.entered().await;
    gate.open();
    assert_eq!(alone.await.unwrap().text(), "request, local");
    let leader = spawn(client, &[]);
    gate.entered().await;
    let follower = follow(client, &arrivals).await;
    leader.abort();
    arrivals.dropped(1).await;
    gate.open();
    assert_eq!(outcome(follower).await, answer("HIT", "request, none"));
}
