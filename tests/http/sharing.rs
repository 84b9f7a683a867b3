//! Lookups that arrive while others are on their way share commands.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::{FromRef, FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::response::Response;
use axum::routing::get;
use axum_redis_cache::{Cache, Settings, cached};
use test_support::{Client, Proxy, RedisServer, Reply, until};
use tokio::task::JoinHandle;

use crate::support::{App, serve};

const ITEMS: usize = 64;

#[derive(Clone)]
struct Counted {
    app: App,
    /// The number of requests that have reached the handler's extractors.
    arrived: Arc<AtomicUsize>,
}

impl FromRef<Counted> for Cache {
    fn from_ref(counted: &Counted) -> Self {
        counted.app.cache.clone()
    }
}

impl FromRef<Counted> for App {
    fn from_ref(counted: &Counted) -> Self {
        counted.app.clone()
    }
}

struct Arrival;

impl FromRequestParts<Counted> for Arrival {
    type Rejection = Infallible;

    async fn from_request_parts(_: &mut Parts, state: &Counted) -> Result<Self, Infallible> {
        state.arrived.fetch_add(1, Ordering::SeqCst);
        Ok(Self)
    }
}

#[cached(ttl = 60, ignore(_arrival))]
async fn item(Path(_): Path<usize>, State(app): State<App>, _arrival: Arrival) -> Response {
    app.run().await
}

/// A server whose items are stored, and the proxy in front of its Redis.
struct Server {
    redis: RedisServer,
    proxy: Proxy,
    client: Client,
    arrived: Arc<AtomicUsize>,
}

impl Server {
    async fn start() -> Self {
        let redis = RedisServer::start();
        let proxy = Proxy::start(redis.address().into()).await;
        let settings = Settings::from_url(proxy.url()).unwrap();
        // Neither a lookup nor a pulse is late while the proxy holds the replies.
        let settings = settings.socket_timeout(Duration::from_secs(20));
        let arrived = Arc::new(AtomicUsize::new(0));
        let state = Counted {
            app: App::counting(Cache::connect(settings).unwrap()),
            arrived: Arc::clone(&arrived),
        };
        let router = Router::new().route("/items/{id}", get(item));
        let client = serve(router.with_state(state)).await;
        for id in 0..ITEMS {
            let path = format!("/items/{id}");
            assert_eq!(client.get(&path).await.outcome(), "MISS");
            assert_eq!(client.get(&path).await.outcome(), "HIT");
        }
        Self {
            redis,
            proxy,
            client,
            arrived,
        }
    }

    fn lookups(&self) -> u64 {
        self.redis.command_count("mget")
    }

    /// Requests every item while no reply gets through.
    async fn request_all_during_a_flight(&self) -> Vec<JoinHandle<Reply>> {
        self.proxy.hang();
        let before = self.arrived.load(Ordering::SeqCst);
        let request = |id| {
            let client = self.client;
            tokio::spawn(async move { client.get(&format!("/items/{id}")).await })
        };
        let requests = (0..ITEMS).map(request).collect();
        let all_arrived = async || self.arrived.load(Ordering::SeqCst) == before + ITEMS;
        until("all requests to arrive", all_arrived).await;
        requests
    }
}

#[tokio::test]
async fn concurrent_hits_share_commands() {
    let server = Server::start().await;
    let before = server.lookups();
    let requests = server.request_all_during_a_flight().await;
    server.proxy.pass();
    for request in requests {
        assert_eq!(request.await.unwrap().outcome(), "HIT");
    }
    let lookups = server.lookups() - before;
    assert!(lookups < ITEMS as u64 / 4, "{lookups} commands");
}

#[tokio::test]
async fn clients_that_leave_cost_the_lookups_of_others_nothing() {
    let server = Server::start().await;
    let mut requests = server.request_all_during_a_flight().await;
    let last = requests.pop().unwrap();
    for request in requests {
        request.abort();
        assert!(request.await.unwrap_err().is_cancelled());
    }
    server.proxy.pass();
    assert_eq!(last.await.unwrap().outcome(), "HIT");
    for request in server.request_all_during_a_flight().await {
        server.proxy.pass();
        assert_eq!(request.await.unwrap().outcome(), "HIT");
    }
}
