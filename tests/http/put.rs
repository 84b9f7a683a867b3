//! `#[cache_put]`: what the next read gets after a write.

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum_redis_cache::{cache_put, cached};
use test_support::{Gate, until};

use crate::support::{App, Store, answer, on_every_store, serve, settings, tells_what_is_left};

#[cached(ttl = 30, group = "g")]
async fn read() -> &'static str {
    "read"
}

#[cache_put(read)]
async fn write(State(app): State<App>) -> Response {
    app.run().await
}

#[cached(ttl = 30, vary("x-variant"))]
async fn read_variant() -> &'static str {
    "read"
}

#[cache_put(read_variant)]
async fn write_variant(State(app): State<App>) -> Response {
    app.run().await
}

#[cached(ttl = 30, query, vary("x-variant"))]
async fn read_page() -> &'static str {
    "read"
}

#[cache_put(read_page)]
async fn write_page(State(app): State<App>) -> Response {
    app.run().await
}

fn by_tenant(parts: &Parts) -> String {
    format!("{:?}", parts.headers.get("x-tenant"))
}

#[cached(ttl = 30, key = by_tenant)]
async fn read_tenant() -> &'static str {
    "read"
}

#[cache_put(read_tenant)]
async fn write_tenant(State(app): State<App>) -> Response {
    app.run().await
}

fn router(app: App) -> Router {
    Router::new()
        .route("/tenant", get(read_tenant).put(write_tenant))
        .route("/elsewhere", post(write_tenant))
        .route("/page", get(read_page).put(write_page))
        .route("/item", get(read).put(write))
        .route("/variant", get(read_variant).put(write_variant))
        .with_state(app)
}

/// Writes over a stored response, and returns how the next read is answered.
async fn read_after_writing<R: IntoResponse>(
    store: Store,
    write: impl Fn() -> R + Send + Sync + 'static,
) -> (String, String) {
    let app = App::new(store.cache(), move |_| {
        std::future::ready(write().into_response())
    });
    let client = serve(router(app)).await;
    assert_eq!(client.get("/item").await.outcome(), "MISS");
    let put = client.send("PUT", "/item", &[]).await.outcome().to_owned();
    let reply = client.get("/item").await;
    assert_eq!(reply.status, StatusCode::OK);
    let is_stored = reply.outcome() == "HIT" && reply.text() != "read";
    assert_eq!(put == "STORED", is_stored, "{put}");
    answer(reply.outcome(), reply.text())
}

on_every_store!(
    a_write_is_what_the_next_read_gets,
    a_created_resource_is_replayed_as_200_without_its_location,
    a_success_without_something_to_store_evicts,
    a_success_that_is_not_storable_evicts,
    a_failure_leaves_the_entry_alone,
    a_write_with_authorization_evicts_instead_of_storing,
    a_write_drops_the_other_variants,
    a_write_with_a_query_is_the_next_response_to_its_variant,
    a_write_with_a_key_function_is_stored_only_where_the_handler_is_mounted,
    a_write_that_did_not_finish_evicts,
    a_write_without_the_field_that_a_read_varies_by_is_for_reads_without_it,
    a_written_entry_is_in_its_groups,
);

async fn a_write_is_what_the_next_read_gets(store: Store) {
    assert_eq!(
        read_after_writing(store, || "new").await,
        answer("HIT", "new")
    );
    assert_eq!(
        read_after_writing(store, || (StatusCode::CREATED, "new")).await,
        answer("HIT", "new")
    );
}

async fn a_created_resource_is_replayed_as_200_without_its_location(store: Store) {
    let app = App::new(store.cache(), |_| async {
        (
            StatusCode::CREATED,
            [("location", "/item"), ("x-kept", "1")],
            "new",
        )
    });
    let client = serve(router(app)).await;
    let put = client.send("PUT", "/item", &[]).await;
    assert_eq!(
        (put.status.as_u16(), put.field("location")),
        (201, Some("/item"))
    );
    assert_eq!(put.field("cache-control"), None);
    let reply = client.get("/item").await;
    assert_eq!((reply.outcome(), reply.status.as_u16()), ("HIT", 200));
    assert_eq!(
        (reply.field("location"), reply.field("x-kept")),
        (None, Some("1"))
    );
    assert!(tells_what_is_left(&reply, "max-age=30"), "{reply:?}");
    let validated = [("if-none-match", reply.field("etag").unwrap())];
    assert_eq!(
        client.get_with("/item", &validated).await.status.as_u16(),
        304
    );
}

async fn a_success_without_something_to_store_evicts(store: Store) {
    assert_eq!(
        read_after_writing(store, || StatusCode::NO_CONTENT).await,
        answer("MISS", "read")
    );
    assert_eq!(
        read_after_writing(store, || ()).await,
        answer("MISS", "read")
    );
    assert_eq!(
        read_after_writing(store, || (StatusCode::ACCEPTED, "later")).await,
        answer("MISS", "read")
    );
    let redirect = || (StatusCode::SEE_OTHER, [("location", "/item")], "see");
    assert_eq!(
        read_after_writing(store, redirect).await,
        answer("MISS", "read")
    );
}

async fn a_success_that_is_not_storable_evicts(store: Store) {
    assert_eq!(
        read_after_writing(store, || ([("set-cookie", "a=1")], "new")).await,
        answer("MISS", "read")
    );
    assert_eq!(
        read_after_writing(store, || ([("vary", "*")], "new")).await,
        answer("MISS", "read")
    );
    let streamed = || Body::from_stream(futures_util::stream::iter([Ok::<_, axum::Error>("x")]));
    assert_eq!(
        read_after_writing(store, streamed).await,
        answer("MISS", "read")
    );
}

async fn a_failure_leaves_the_entry_alone(store: Store) {
    let invalid = || (StatusCode::UNPROCESSABLE_ENTITY, "no");
    assert_eq!(
        read_after_writing(store, invalid).await,
        answer("HIT", "read")
    );
    let failed = || (StatusCode::INTERNAL_SERVER_ERROR, "no");
    assert_eq!(
        read_after_writing(store, failed).await,
        answer("HIT", "read")
    );
}

async fn a_write_with_authorization_evicts_instead_of_storing(store: Store) {
    let app = App::new(store.cache(), |_| async { "for one user" });
    let client = serve(router(app)).await;
    client.get("/item").await;
    client
        .send("PUT", "/item", &[("authorization", "Bearer x")])
        .await;
    assert_eq!(client.get("/item").await.outcome(), "MISS");
}

async fn a_write_drops_the_other_variants(store: Store) {
    let app = App::new(store.cache(), |_| async { "new" });
    let client = serve(router(app)).await;
    let (one, two) = ([("x-variant", "1")], [("x-variant", "2")]);
    client.get_with("/variant", &one).await;
    client.get_with("/variant", &two).await;
    client.send("PUT", "/variant", &one).await;
    let reply = client.get_with("/variant", &one).await;
    assert_eq!((reply.outcome(), reply.text()), ("HIT", "new"));
    assert_eq!(client.get_with("/variant", &two).await.outcome(), "MISS");
    let reply = client.get_with("/variant", &one).await;
    assert_eq!((reply.outcome(), reply.text()), ("HIT", "new"));
}

async fn a_write_that_did_not_finish_evicts(store: Store) {
    let gate = Gate::new();
    let handler = gate.clone();
    let app = App::new(store.cache(), move |run| {
        let gate = handler.clone();
        async move {
            gate.pass().await;
            assert!(run == 0, "the second write panics");
        }
    });
    let client = serve(router(app)).await;
    for _ in 0..2 {
        client.get("/item").await;
        assert_eq!(client.get("/item").await.outcome(), "HIT");
        let write = tokio::spawn(async move { client.try_open("PUT", "/item", &[]).await });
        gate.entered().await;
        write.abort();
        gate.open();
        until("the old entry is gone", async || {
            client.get("/item").await.outcome() != "HIT"
        })
        .await;
    }
}

async fn a_write_with_a_query_is_the_next_response_to_its_variant(store: Store) {
    let app = App::counting(store.cache());
    let client = serve(router(app)).await;
    let (one, two) = ([("x-variant", "1")], [("x-variant", "2")]);
    client.get_with("/page?number=2", &one).await;
    client.get_with("/page?number=2", &two).await;
    client.send("PUT", "/page?number=2", &one).await;
    let reply = client.get_with("/page?number=2", &one).await;
    assert_eq!((reply.outcome(), reply.text()), ("HIT", "run 0"));
    let other = client.get_with("/page?number=2", &two).await;
    assert_eq!(other.outcome(), "MISS");
}

async fn a_write_with_a_key_function_is_stored_only_where_the_handler_is_mounted(store: Store) {
    let client = serve(router(App::counting(store.cache()))).await;
    let tenant = [("x-tenant", "a")];
    client.get_with("/tenant", &tenant).await;
    let put = client.send("PUT", "/tenant", &tenant).await;
    let reply = client.get_with("/tenant", &tenant).await;
    assert_eq!(put.outcome(), "STORED");
    assert_eq!((reply.outcome(), reply.text()), ("HIT", "run 0"));
    let elsewhere = client.send("POST", "/elsewhere", &tenant).await;
    assert_eq!(elsewhere.outcome(), "EVICTED");
    assert_eq!(client.get_with("/tenant", &tenant).await.outcome(), "MISS");
}

async fn a_write_without_the_field_that_a_read_varies_by_is_for_reads_without_it(store: Store) {
    let app = App::new(store.cache(), |_| async { "new" });
    let client = serve(router(app)).await;
    for (fields, outcome) in [(&[][..], "HIT"), (&[("x-variant", "1")], "MISS")] {
        client.get_with("/variant", fields).await;
        assert_eq!(client.get_with("/variant", fields).await.outcome(), "HIT");
        client.send("PUT", "/variant", &[]).await;
        assert_eq!(client.get_with("/variant", fields).await.outcome(), outcome);
    }
}

async fn a_written_entry_is_in_its_groups(store: Store) {
    #[axum_redis_cache::cache_evict(group = "g")]
    async fn evict() {}

    let app = App::new(store.cache(), |_| async { "new" });
    let evict = Router::new().route("/evict", axum::routing::post(evict));
    let client = serve(router(app.clone()).merge(evict.with_state(app))).await;
    client.send("PUT", "/item", &[]).await;
    assert_eq!(client.get("/item").await.text(), "new");
    client.send("POST", "/evict", &[]).await;
    assert_eq!(client.get("/item").await.outcome(), "MISS");
}

#[tokio::test]
async fn a_write_in_one_process_is_read_in_another() {
    let settings = settings();
    let app = || {
        App::new(Store::Redis.cache_with(settings.clone()), |_| async {
            "new"
        })
    };
    let (one, other) = (serve(router(app())).await, serve(router(app())).await);
    assert_eq!(other.get("/item").await.text(), "read");
    one.send("PUT", "/item", &[]).await;
    assert_eq!(other.get("/item").await.text(), "new");
}
