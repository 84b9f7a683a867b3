//! Articles cached in a Redis Cluster, and what happens when one of its servers dies.
//!
//! ```sh
//! cargo run -p examples --example cluster
//! ```
//!
//! starts a cluster of six servers on free loopback ports (it needs `redis-server`), and stops it
//! again. To use a cluster of yours instead:
//!
//! ```sh
//! export REDIS_CLUSTER=true REDIS_URL=redis://node1:6379,node2:6379
//! cargo run -p examples --example cluster
//! ```
//!
//! `GET /articles/{id}` is cached, `PUT` changes an article, `POST /articles/clear` drops all of them,
//! wherever they are. `GET /visits` counts with commands of its own on the same cluster. `GET /ready`
//! says how the servers are doing. `POST /kill/{id}` kills the server that keeps an article: nothing
//! fails, and a few seconds later its replica answers.

use std::collections::HashMap;
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{FromRef, Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum_redis_cache::{Cache, Redis, Settings, cache_evict, cached};
use redis::AsyncCommands;
use test_support::RedisCluster;

#[derive(Clone, FromRef)]
struct AppState {
    cache: Cache,
    articles: Articles,
    servers: Servers,
}

/// In a "database" that takes 100 ms.
type Articles = Arc<Mutex<HashMap<u32, String>>>;

/// The cluster, if it is the example's own.
type Servers = Arc<Mutex<Option<RedisCluster>>>;

#[cached(ttl = 300, name = "article", group = "articles")]
async fn get_article(Path(id): Path<u32>, State(articles): State<Articles>) -> String {
    tokio::time::sleep(Duration::from_millis(100)).await;
    let articles = articles.lock().unwrap_or_else(PoisonError::into_inner);
    let text = articles.get(&id).cloned();
    text.unwrap_or_else(|| format!("article {id}\n"))
}

#[cache_evict(get_article)]
async fn change_article(Path(id): Path<u32>, State(articles): State<Articles>, text: String) {
    let mut articles = articles.lock().unwrap_or_else(PoisonError::into_inner);
    articles.insert(id, text);
}

/// One nonce is deleted, on whichever server it is, and no article on any server is served any more.
#[cache_evict(group = "articles")]
async fn clear_articles(State(articles): State<Articles>) {
    articles
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clear();
}

async fn count_visit(mut redis: Redis) -> Result<String, StatusCode> {
    let visits: u64 = redis
        .incr("visits", 1)
        .await
        .map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    Ok(format!("visit {visits}\n"))
}

async fn ready(cache: Cache) -> (StatusCode, String) {
    let status = cache.status();
    let code = if status.is_connected() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (code, format!("{status:#?}\n"))
}

async fn kill_server(Path(id): Path<u32>, State(servers): State<Servers>) -> String {
    let killed = tokio::task::spawn_blocking(move || {
        let mut servers = servers.lock().unwrap_or_else(PoisonError::into_inner);
        let cluster = servers.as_mut()?;
        // The name of the handler, and the value of its path.
        let server = cluster.primary_of(&format!("{{article/{id}}}"));
        cluster.kill(server);
        Some(cluster.addresses()[server])
    });
    match killed.await {
        Ok(Some(address)) => format!("killed {address}\n"),
        _ => "that is up to you: the cluster is not this example's\n".to_owned(),
    }
}

fn router(state: AppState) -> Router {
    Router::new()
        .route("/articles/{id}", get(get_article).put(change_article))
        .route("/articles/clear", post(clear_articles))
        .route("/visits", get(count_visit))
        .route("/ready", get(ready))
        .route("/kill/{id}", post(kill_server))
        .with_state(state)
}

/// The cluster of the settings, or one that is started for the example.
fn cluster() -> Result<(Settings, Option<RedisCluster>), Box<dyn Error>> {
    if std::env::var_os("REDIS_URL").is_some() {
        return Ok((Settings::from_env()?, None));
    }
    println!("Starting a cluster.");
    let cluster = RedisCluster::start();
    let settings = Settings::from_url(cluster.url())?.cluster(true);
    Ok((settings, Some(cluster)))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::INFO)
        .init();
    let (settings, servers) = cluster()?;
    let cache = Cache::connect(settings.default_ttl(Duration::from_secs(60)))?;
    cache.ping().await?;
    let state = AppState {
        cache: cache.clone(),
        articles: Articles::default(),
        servers: Arc::new(Mutex::new(servers)),
    };
    let address = std::env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:3000".to_owned());
    let listener = tokio::net::TcpListener::bind(&address).await?;
    let url = format!("http://{}", listener.local_addr()?);
    println!("Listening on {url}");
    println!("Try:");
    println!("  curl -i {url}/articles/1              # MISS; again: HIT");
    println!("  curl -X PUT {url}/articles/1 -d new");
    println!("  curl -X POST {url}/kill/1             # then articles/1 again, and again");
    println!("  curl {url}/ready");
    axum::serve(listener, router(state))
        .with_graceful_shutdown(async {
            // Without a handler for Ctrl-C, the process ends at Ctrl-C anyway.
            let _ = tokio::signal::ctrl_c().await;
        })
        .await?;
    cache.shutdown().await;
    Ok(())
}
