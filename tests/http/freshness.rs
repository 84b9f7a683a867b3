//! The freshness lifetime that a handler sets, and the part of it that clients are told.

use std::time::{Duration, SystemTime};

use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::get;
use axum_redis_cache::cached;
use test_support::{Client, Reply};

use crate::support::{App, Store, on_every_store, serve, settings};

#[cached(ttl = 3600)]
async fn read(State(app): State<App>) -> Response {
    app.run().await
}

#[cached(ttl = 2)]
async fn short(State(app): State<App>) -> Response {
    app.run().await
}

#[cached(
    ttl = Duration::MAX,
    max_age = Duration::MAX,
    stale_while_revalidate = Duration::MAX,
    stale_if_error = Duration::MAX
)]
async fn endless(State(app): State<App>) -> Response {
    app.run().await
}

#[cached(ttl = 18_446_744_073_709_551_615)]
async fn seconds(State(app): State<App>) -> Response {
    app.run().await
}

type Fields = Vec<(&'static str, String)>;

/// A server whose handler answers with these fields.
async fn with(store: Store, fields: impl Fn() -> Fields + Send + Sync + 'static) -> Client {
    let app = App::new(store.cache(), move |run| {
        let mut headers = HeaderMap::new();
        for (name, value) in fields() {
            headers.append(name, value.parse().unwrap());
        }
        async move { (headers, format!("run {run}")) }
    });
    let router = Router::new()
        .route("/read", get(read))
        .route("/short", get(short))
        .with_state(app);
    serve(router).await
}

fn fixed(fields: &'static [(&'static str, &'static str)]) -> impl Fn() -> Fields + Send + Sync {
    || {
        fields
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()))
            .collect()
    }
}

/// A date that many seconds from now.
fn date(seconds: i64) -> String {
    let distance = Duration::from_secs(seconds.unsigned_abs());
    let now = SystemTime::now();
    httpdate::fmt_http_date(if seconds < 0 {
        now - distance
    } else {
        now + distance
    })
}

/// Asks twice: the handler runs twice.
async fn is_not_stored(store: Store, fields: impl Fn() -> Fields + Send + Sync + 'static) {
    let client = with(store, fields).await;
    for run in ["run 0", "run 1"] {
        let reply = client.get("/read").await;
        assert_eq!((reply.outcome(), reply.text()), ("BYPASS", run));
    }
}

fn cache_control(reply: &Reply) -> &str {
    reply.field("cache-control").unwrap()
}

/// The `max-age` that clients are told, if they are.
fn max_age(reply: &Reply) -> Option<u64> {
    let mut directives = cache_control(reply).split(", ");
    directives.find_map(|directive| directive.strip_prefix("max-age=")?.parse().ok())
}

on_every_store!(
    a_duration_may_be_of_any_length,
    a_response_that_was_older_than_its_lifetime_when_it_came_is_not_stored,
    the_age_of_a_response_counts_when_its_lifetime_begins,
    an_expiry_that_is_near_ends_the_reuse,
    a_date_is_understood_in_upper_case,
    a_lifetime_for_shared_caches_alone_is_not_told_to_browsers,
    all_lifetimes_in_a_stored_response_count_down,
    no_more_is_promised_than_is_left,
);

async fn a_duration_may_be_of_any_length(store: Store) {
    let settings = settings().default_ttl(Duration::MAX);
    let cache = store.cache_with(settings);
    let app = App::new(cache.clone(), |run| async move {
        let longest = "max-age=18446744073709551615, stale-if-error=18446744073709551615";
        ([("cache-control", longest)], format!("run {run}"))
    });
    let router = Router::new()
        .route("/endless", get(endless))
        .route("/seconds", get(seconds))
        .with_state(app);
    let client = serve(router).await;
    for path in ["/endless", "/seconds"] {
        for outcome in ["MISS", "HIT"] {
            let reply = client.get(path).await;
            assert_eq!(reply.outcome(), outcome, "{path}");
            // RFC 9111 §1.2.2 has caches take anything longer for 2147483648, which counts down.
            let told = reply.field("cache-control").unwrap();
            assert!(told.contains("max-age=21474836"), "{told}");
            assert!(!told.contains("18446744073709"), "{told}");
        }
        let longest = "max-stale=18446744073709551615, max-age=18446744073709551615";
        let reply = client.get_with(path, &[("cache-control", longest)]).await;
        assert_eq!(reply.outcome(), "HIT", "{path}");
    }
    let values = cache.ttl(Duration::MAX);
    values.set("value", &1).await;
    assert_eq!(values.get("value").await, Some(1));
    cache.ttl(u64::MAX).set("seconds", &2).await;
    assert_eq!(cache.get("seconds").await, Some(2));
    assert_eq!(cache.get_or_insert_with("default", async || 3).await, 3);
    assert_eq!(cache.get("default").await, Some(3));
    assert_eq!(cache.faults(), 0);
}

async fn a_response_that_was_older_than_its_lifetime_when_it_came_is_not_stored(store: Store) {
    is_not_stored(store, || {
        vec![
            ("date", date(-100)),
            ("cache-control", "max-age=60".to_owned()),
        ]
    })
    .await;
    is_not_stored(store, || {
        vec![
            ("date", date(-10)),
            ("expires", date(10)),
            ("age", "25".to_owned()),
        ]
    })
    .await;
    is_not_stored(store, || vec![("date", date(-20)), ("expires", date(-10))]).await;
    for ages in [
        &["7200, 0"][..],
        &["0", "7200"],
        &["7200"],
        &["99999999999999999999"],
    ] {
        is_not_stored(store, move || {
            let mut fields = vec![("cache-control", "max-age=3600".to_owned())];
            fields.extend(ages.iter().map(|age| ("age", (*age).to_owned())));
            fields
        })
        .await;
    }
}

async fn the_age_of_a_response_counts_when_its_lifetime_begins(store: Store) {
    let client = with(store, || vec![("date", date(-10)), ("expires", date(20))]).await;
    let miss = client.get("/read").await;
    assert_eq!(miss.outcome(), "MISS");
    assert!([19, 20].contains(&max_age(&miss).unwrap()), "{miss:?}");
    let client = with(store, || {
        vec![
            ("date", date(-10)),
            ("cache-control", "max-age=60".to_owned()),
        ]
    })
    .await;
    let miss = client.get("/read").await;
    assert!([49, 50].contains(&max_age(&miss).unwrap()), "{miss:?}");
    // It would count against the lifetime once more.
    assert_eq!(miss.field("age"), None);
    assert!(
        httpdate::parse_http_date(miss.field("date").unwrap()).unwrap()
            > SystemTime::now() - Duration::from_secs(5)
    );
}

async fn an_expiry_that_is_near_ends_the_reuse(store: Store) {
    let client = with(store, || vec![("date", date(-10)), ("expires", date(2))]).await;
    assert_eq!(client.get("/read").await.outcome(), "MISS");
    // The time after which the response has expired.
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    assert_eq!(client.get("/read").await.text(), "run 1");
}

async fn a_date_is_understood_in_upper_case(store: Store) {
    let client = with(
        store,
        fixed(&[("expires", "THU, 18 AUG 2050 02:01:18 GMT")]),
    )
    .await;
    assert_eq!(client.get("/read").await.outcome(), "MISS");
    assert_eq!(client.get("/read").await.outcome(), "HIT");
}

async fn a_lifetime_for_shared_caches_alone_is_not_told_to_browsers(store: Store) {
    for fields in [
        &[("cache-control", "s-maxage=60"), ("expires", "0")][..],
        &[("cache-control", "s-maxage=60")],
    ] {
        let client = with(store, fixed(fields)).await;
        for outcome in ["MISS", "HIT"] {
            let reply = client.get("/read").await;
            assert_eq!((reply.outcome(), max_age(&reply)), (outcome, None));
            assert!(cache_control(&reply).starts_with("s-maxage="), "{reply:?}");
        }
    }
}

async fn all_lifetimes_in_a_stored_response_count_down(store: Store) {
    let client = with(
        store,
        fixed(&[
            ("cache-control", "max-age=1, s-maxage=60"),
            ("cdn-cache-control", "max-age=60"),
            ("surrogate-control", "max-age=60, content=\"ESI/1.0\""),
        ]),
    )
    .await;
    let miss = client.get("/read").await;
    assert_eq!(cache_control(&miss), "max-age=1, s-maxage=60");
    assert_eq!(miss.field("cdn-cache-control"), Some("max-age=60"));
    // The time after which the shortest of the lifetimes has ended.
    tokio::time::sleep(Duration::from_millis(2_050)).await;
    let hit = client.get("/read").await;
    assert_eq!((hit.outcome(), hit.text()), ("HIT", "run 0"));
    assert_eq!(max_age(&hit), Some(0));
    let left = |name: &str| -> u64 {
        let directives = hit.field(name).unwrap().split(", ");
        let seconds = directives.filter_map(|directive| {
            let (name, seconds) = directive.split_once('=')?;
            ["max-age", "s-maxage"]
                .contains(&name)
                .then(|| seconds.parse().unwrap())
        });
        seconds.max().unwrap()
    };
    for name in ["cache-control", "cdn-cache-control", "surrogate-control"] {
        assert!((40..=57).contains(&left(name)), "{name}: {hit:?}");
    }
    assert!(
        hit.field("surrogate-control")
            .unwrap()
            .ends_with("content=\"ESI/1.0\"")
    );
}

async fn no_more_is_promised_than_is_left(store: Store) {
    let client = with(store, Vec::new).await;
    let start = SystemTime::now();
    let lasts = Duration::from_secs(2);
    assert_eq!(cache_control(&client.get("/short").await), "max-age=2");
    let made = SystemTime::now();
    while made.elapsed().unwrap() < lasts {
        let asked = start.elapsed().unwrap();
        let reply = client.get("/short").await;
        if reply.text() != "run 0" {
            break;
        }
        match max_age(&reply) {
            Some(seconds) => {
                assert!(seconds > 0, "{reply:?}");
                let ends = asked + Duration::from_secs(seconds);
                // It was made between the two; times are whole milliseconds.
                let made = made.duration_since(start).unwrap() + Duration::from_millis(1);
                assert!(ends <= made + lasts, "{reply:?}");
            }
            None => assert_eq!(cache_control(&reply), "no-cache"),
        }
        // Looks at many moments of the lifetime.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
