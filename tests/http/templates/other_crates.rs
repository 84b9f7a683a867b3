//! Values and extractors of other crates in keys.

use axum::Router;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::get;
use axum_extra::extract::{Cached, Form, Query, WithRejection};
use axum_redis_cache::cached;
use uuid::Uuid;

use crate::support::{App, Store, on_every_store, serve};

#[cached(ttl = 30, key = "order:{id}")]
async fn order(Path(id): Path<Uuid>, State(app): State<App>) -> Response {
    let _ = id;
    app.run().await
}

#[cached(ttl = 30)]
async fn search(
    query: Query<Vec<(String, String)>>,
    _: Cached<State<App>>,
    State(app): State<App>,
) -> Response {
    let _ = query.len();
    app.run().await
}

/// Compiles: what the arguments are determined by is known.
#[cached(ttl = 30)]
#[expect(dead_code)]
async fn known(
    path: WithRejection<Path<u8>, axum::extract::rejection::PathRejection>,
    form: Form<Vec<(String, String)>>,
) -> String {
    format!("{}{}", path.0.0, form.0.len())
}

on_every_store!(ids_and_extractors_of_other_crates_are_known);

async fn ids_and_extractors_of_other_crates_are_known(store: Store) {
    let router = Router::new()
        .route("/orders/{id}", get(order))
        .route("/", get(search));
    let client = serve(router.with_state(App::counting(store.cache()))).await;
    let id = "/orders/67e55044-10b1-426f-9247-bb680e5fe0c8";
    assert_eq!(client.get(id).await.outcome(), "MISS");
    assert_eq!(
        client
            .get(&id.to_uppercase().replace("ORDERS", "orders"))
            .await
            .outcome(),
        "HIT"
    );
    assert_ne!(order::key(Uuid::nil()), order::key(Uuid::max()));
    assert_eq!(client.get("/?a=1").await.outcome(), "MISS");
    assert_eq!(client.get("/?a=2").await.outcome(), "MISS");
}
