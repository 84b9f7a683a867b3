//! The life of one resource.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::extract::{FromRef, Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use axum_redis_cache::{Cache, cache_evict, cache_put, cached};

use crate::support::{Store, on_every_store, serve, tells_what_is_left};

#[derive(Clone, FromRef)]
struct Shop {
    cache: Cache,
    prices: Arc<Mutex<HashMap<u64, u64>>>,
}

type Prices = State<Arc<Mutex<HashMap<u64, u64>>>>;

#[cached(ttl = 30, group = "prices")]
async fn read(Path(id): Path<u64>, State(prices): Prices) -> Result<Json<u64>, StatusCode> {
    prices
        .lock()
        .unwrap()
        .get(&id)
        .copied()
        .map(Json)
        .ok_or(StatusCode::NOT_FOUND)
}

#[cache_put(read)]
async fn write(Path(id): Path<u64>, State(prices): Prices, Json(price): Json<u64>) -> Json<u64> {
    prices.lock().unwrap().insert(id, price);
    Json(price)
}

/// Sets every price to zero without the cache knowing, then evicts one.
#[cache_evict(read)]
async fn forget(Path(_): Path<u64>, State(prices): Prices) -> StatusCode {
    prices
        .lock()
        .unwrap()
        .values_mut()
        .for_each(|price| *price = 0);
    StatusCode::NO_CONTENT
}

on_every_store!(a_resource_is_read_evicted_and_written_through);

async fn a_resource_is_read_evicted_and_written_through(store: Store) {
    let prices = Arc::new(Mutex::new(HashMap::from([(1, 10), (2, 20)])));
    let shop = Shop {
        cache: store.cache(),
        prices,
    };
    let route = get(read).put(write).delete(forget);
    let client = serve(Router::new().route("/prices/{id}", route).with_state(shop)).await;

    let miss = client.get("/prices/1").await;
    assert_eq!((miss.outcome(), miss.text()), ("MISS", "10"));
    assert_eq!(miss.field("cache-control"), Some("max-age=30"));
    let hit = client.get("/prices/1").await;
    assert_eq!((hit.outcome(), hit.text()), ("HIT", "10"));
    assert_eq!(hit.field("content-type"), miss.field("content-type"));
    let etag = miss.field("etag").unwrap();
    assert_eq!(hit.field("etag"), Some(etag));
    let validated = client
        .get_with("/prices/1", &[("if-none-match", etag)])
        .await;
    assert_eq!((validated.status.as_u16(), validated.text()), (304, ""));

    client.get("/prices/2").await;
    assert_eq!(
        client.send("DELETE", "/prices/1", &[]).await.outcome(),
        "EVICTED"
    );
    let miss = client.get("/prices/1").await;
    assert_eq!((miss.outcome(), miss.text()), ("MISS", "0"));
    assert_eq!(
        client.get("/prices/2").await.text(),
        "20",
        "only that entry is evicted"
    );

    let put = client
        .send_body(
            "PUT",
            "/prices/1",
            &[("content-type", "application/json")],
            "99",
        )
        .await;
    assert_eq!((put.status.as_u16(), put.text()), (200, "99"));
    let hit = client.get("/prices/1").await;
    assert_eq!((hit.outcome(), hit.text()), ("HIT", "99"));
    assert!(tells_what_is_left(&hit, "max-age=30"), "{hit:?}");
    assert!(hit.field("etag").is_some());
}
