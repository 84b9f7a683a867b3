//! Stored responses behind nginx and Varnish as shared caches. If a server is not installed, its
//! tests say so and pass.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::{get, post};
use axum_redis_cache::{cache_evict, cached};
use test_support::{Client, Nginx, Reply, Varnish, until};

use crate::support::{App, Store, serve};

/// The part of `docs/guide/cdn.md` that makes Varnish obey `CDN-Cache-Control`.
const OBEYS_CDN_CACHE_CONTROL: &str = r#"
sub vcl_backend_response {
    if (beresp.http.CDN-Cache-Control ~ "max-age=[0-9]+"
            && !beresp.http.Set-Cookie && beresp.http.Vary != "*") {
        set beresp.ttl = std.duration(
            regsub(beresp.http.CDN-Cache-Control, "^.*max-age=([0-9]+).*$", "\1s"), 0s);
        set beresp.grace = 0s;
        unset beresp.http.CDN-Cache-Control;
        return (deliver);
    }
}"#;

#[cached(ttl = 2)]
async fn short(Path(_): Path<usize>, State(app): State<App>) -> Response {
    app.run().await
}

#[cached(ttl = 30, vary("accept-language", "x-variant"), ignore(headers))]
async fn page(headers: HeaderMap) -> String {
    let field = |name| headers[name].to_str().unwrap().to_owned();
    format!("{} {}", field("accept-language"), field("x-variant"))
}

#[cached(ttl = 30, max_age = 1)]
async fn long(State(app): State<App>) -> Response {
    app.run().await
}

#[cached(ttl = 30, private)]
async fn personal(State(app): State<App>) -> Response {
    app.run().await
}

#[cached(ttl = 30, no_store, cdn_max_age = 30)]
async fn only_in_cdns(State(app): State<App>) -> Response {
    app.run().await
}

#[cache_evict(all)]
async fn evict_all() {}

fn router(app: App) -> Router {
    Router::new()
        .route("/short/{number}", get(short))
        .route("/page", get(page))
        .route("/long", get(long))
        .route("/personal", get(personal))
        .route("/only-in-cdns", get(only_in_cdns))
        .route("/evict", post(evict_all))
        .with_state(app)
}

/// A shared cache, and the longest time by which it exceeds the lifetime of a response.
struct SharedCache {
    client: Client,
    slack: Duration,
    _server: Box<dyn Send>,
}

/// nginx counts in whole seconds.
fn nginx(server: SocketAddr, directives: &str) -> Option<SharedCache> {
    let nginx = Nginx::in_front_of(server, directives)?;
    Some(SharedCache {
        client: Client::new(nginx.address()),
        slack: Duration::from_secs(1),
        _server: Box::new(nginx),
    })
}

fn varnish(server: SocketAddr, vcl: &str) -> Option<SharedCache> {
    let varnish = Varnish::in_front_of(server, 0, vcl)?;
    Some(SharedCache {
        client: Client::new(varnish.address()),
        slack: Duration::ZERO,
        _server: Box::new(varnish),
    })
}

/// Returns the shared cache's own label of a response, such as `HIT`.
fn of_shared_cache(reply: &Reply) -> &str {
    reply.field("x-shared-cache").unwrap_or("none")
}

/// Reads one entry for 10 s, through the shared cache and directly. Returns the number of hits of the
/// shared cache.
async fn read_for_a_while(
    direct: Client,
    (shared, slack): (Client, Duration),
    number: u32,
    start: Instant,
) -> usize {
    let path = format!("/short/{number}");
    // Each entry begins at a different part of a second.
    tokio::time::sleep(Duration::from_millis(250) * number).await;
    let limit = Duration::from_millis(2_000 + 250) + slack;
    let mut hits = 0;
    while start.elapsed() < Duration::from_secs(10) {
        direct.get(&path).await;
        let asked = start.elapsed();
        let reply = shared.get(&path).await;
        let made = Duration::from_millis(reply.text().parse().unwrap());
        let age = asked.saturating_sub(made);
        assert!(age < limit, "{age:?} old: {reply:?}");
        hits += usize::from(of_shared_cache(&reply) == "HIT");
        // Reads at many moments of the lifetime.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    hits
}

async fn serves_nothing_older_than_promised(
    in_front_of: impl FnOnce(SocketAddr) -> Option<SharedCache>,
) {
    let start = Instant::now();
    let app = App::new(Store::Redis.cache(), move |_| async move {
        start.elapsed().as_millis().to_string()
    });
    let direct = serve(router(app)).await;
    let Some(shared) = in_front_of(direct.address()) else {
        return;
    };
    let through = (shared.client, shared.slack);
    // The entries begin at different parts of a second.
    let readers: Vec<_> = (0..8)
        .map(|number| tokio::spawn(read_for_a_while(direct, through, number, start)))
        .collect();
    for reader in readers {
        assert_ne!(reader.await.unwrap(), 0, "the shared cache keeps responses");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shared_cache_serves_nothing_older_than_promised() {
    tokio::join!(
        serves_nothing_older_than_promised(|server| nginx(server, "")),
        serves_nothing_older_than_promised(|server| nginx(server, "proxy_cache_revalidate on;")),
        serves_nothing_older_than_promised(|server| varnish(server, "")),
    );
}

/// Serves an app behind nginx and behind Varnish.
async fn in_front_of(app: impl Fn() -> App, nginx_directives: &str, vcl: &str) -> Vec<SharedCache> {
    let behind_nginx = serve(router(app())).await;
    let behind_varnish = serve(router(app())).await;
    let nginx = nginx(behind_nginx.address(), nginx_directives);
    let varnish = varnish(behind_varnish.address(), vcl);
    nginx.into_iter().chain(varnish).collect()
}

fn counting() -> App {
    App::counting(Store::Redis.cache())
}

#[tokio::test]
async fn a_shared_cache_tells_languages_and_variants_apart() {
    for shared in in_front_of(counting, "", "").await {
        let mut kept = HashSet::new();
        for _ in 0..3 {
            for (language, variant) in [("en", "a"), ("de", "a"), ("en", "b"), ("de", "b")] {
                let fields = [("accept-language", language), ("x-variant", variant)];
                let reply = shared.client.get_with("/page", &fields).await;
                assert_eq!(reply.text(), format!("{language} {variant}"));
                if of_shared_cache(&reply) == "HIT" {
                    kept.insert((language, variant));
                }
            }
        }
        assert_eq!(kept.len(), 4, "the shared cache keeps every variant");
    }
}

#[tokio::test]
async fn a_shared_cache_keeps_no_private_response() {
    for shared in in_front_of(counting, "", "").await {
        for _ in 0..3 {
            let reply = shared.client.get("/personal").await;
            assert_eq!((of_shared_cache(&reply), reply.text()), ("MISS", "run 0"));
        }
    }
}

/// An eviction does not reach a shared cache: it keeps a response until `max-age` ends.
#[tokio::test]
async fn a_shared_cache_has_the_new_response_after_max_age() {
    for shared in in_front_of(counting, "", "").await {
        let client = shared.client;
        assert_eq!(client.get("/long").await.text(), "run 0");
        assert_eq!(
            client.send("POST", "/evict", &[]).await.outcome(),
            "EVICTED"
        );
        until("the new response", async || {
            client.get("/long").await.text() == "run 1"
        })
        .await;
    }
}

#[tokio::test]
async fn varnish_keeps_responses_for_cdns_that_browsers_must_not_keep() {
    let direct = serve(router(counting())).await;
    let Some(shared) = varnish(direct.address(), OBEYS_CDN_CACHE_CONTROL) else {
        return;
    };
    for expected in ["MISS", "HIT", "HIT"] {
        let reply = shared.client.get("/only-in-cdns").await;
        assert_eq!(of_shared_cache(&reply), expected);
        assert_eq!(reply.field("cache-control"), Some("no-store"));
        assert_eq!(reply.field("cdn-cache-control"), None);
    }
}

#[test]
fn the_guide_has_the_vcl_that_is_tested() {
    let guide = include_str!("../../docs/guide/cdn.md");
    assert!(guide.contains(OBEYS_CDN_CACHE_CONTROL.trim()));
}

#[tokio::test]
async fn varnish_serves_stale_responses_in_its_grace() {
    let direct = serve(router(counting())).await;
    let Some(varnish) = Varnish::in_front_of(direct.address(), 10, "") else {
        return;
    };
    let client = Client::new(varnish.address());
    client.get("/long").await;
    // Longer than the lifetime, also in whole seconds.
    tokio::time::sleep(Duration::from_millis(2100)).await;
    let reply = client.get("/long").await;
    assert_eq!(
        (of_shared_cache(&reply), reply.field("age")),
        ("HIT", Some("2"))
    );
}

#[tokio::test]
async fn varnish_revalidates_without_a_run_of_the_handler() {
    let app = counting();
    let direct = serve(router(app.clone())).await;
    let Some(shared) = varnish(direct.address(), "") else {
        return;
    };
    let client = shared.client;
    assert_eq!(
        client.get("/long").await.field("x-redis-cache"),
        Some("MISS")
    );
    until("revalidated", async || {
        let reply = client.get("/long").await;
        assert_eq!((reply.status.as_u16(), reply.text()), (200, "run 0"));
        reply.field("x-redis-cache") == Some("HIT")
    })
    .await;
    assert_eq!(app.runs(), 1);
}

#[tokio::test]
async fn nginx_revalidates_without_a_run_of_the_handler() {
    let app = counting();
    let direct = serve(router(app.clone())).await;
    let Some(shared) = nginx(direct.address(), "proxy_cache_revalidate on;") else {
        return;
    };
    let client = shared.client;
    let first = client.get("/long").await;
    assert_eq!((of_shared_cache(&first), first.text()), ("MISS", "run 0"));
    until("revalidated", async || {
        let reply = client.get("/long").await;
        assert_eq!((reply.status.as_u16(), reply.text()), (200, "run 0"));
        of_shared_cache(&reply) == "REVALIDATED"
    })
    .await;
    let tag = first.field("etag").unwrap();
    let reply = client.get_with("/long", &[("if-none-match", tag)]).await;
    assert_eq!((reply.status.as_u16(), reply.text()), (304, ""));
    let other = [("if-none-match", "\"other\"")];
    let reply = client.get_with("/long", &other).await;
    assert_eq!((reply.status.as_u16(), reply.text()), (200, "run 0"));
    assert_eq!(app.runs(), 1);
}
