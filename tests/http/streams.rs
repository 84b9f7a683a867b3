//! Bodies of unknown length: never held back, stored only when they ended cleanly.

use std::io;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum_redis_cache::{Cache, cached};
use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use http_body_util::BodyExt;
use test_support::{Client, Gate, until};

use crate::support::{App, KnownLength, Store, is_stored, on_every_store, serve, settings, stored};

#[cached(ttl = 30)]
async fn read(State(app): State<App>) -> Response {
    app.run().await
}

/// A long part of a stream.
const LONG: usize = 200_000;

#[cached(ttl = 30)]
async fn long_stream(Path(_): Path<usize>, State(app): State<App>) -> Response {
    app.run().await
}

fn router(app: App) -> Router {
    Router::new().route("/read", get(read)).with_state(app)
}

/// A router with many entries, whose bodies are `LONG` and an end, which waits at a gate in the first
/// runs.
fn long_streams(cache: Cache, gated: usize, gate: &Gate) -> Router {
    let gate = gate.clone();
    let app = App::new(cache, move |run| {
        let gate = gate.clone();
        let chunk = Bytes::from(vec![b'x'; 1_000]);
        let chunks = std::iter::repeat_with(move || Ok::<_, io::Error>(chunk.clone()));
        let chunks = chunks.take(LONG / 1_000);
        let end = stream::once(async move {
            if run < gated {
                gate.pass().await;
            }
            Ok(Bytes::from("end"))
        });
        std::future::ready(Body::from_stream(stream::iter(chunks).chain(end)))
    });
    Router::new()
        .route("/long/{id}", get(long_stream))
        .with_state(app)
}

type Chunk = Result<&'static str, io::Error>;

/// Chunks that the server sends one by one.
fn chunks(chunks: Vec<Chunk>) -> Body {
    let one_by_one = stream::iter(chunks).then(|chunk| async {
        tokio::task::yield_now().await;
        chunk
    });
    Body::from_stream(one_by_one)
}

/// Reads a response as far as it goes.
async fn read_what_comes(response: axum::http::Response<hyper::body::Incoming>) -> Vec<u8> {
    let mut body = response.into_body();
    let mut read = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        read.extend(frame.into_data().unwrap_or_default());
    }
    read
}

/// The rest of a long stream, when all that comes before the gate was read.
async fn read_the_long_part(client: &Client, id: usize) -> hyper::body::Incoming {
    let mut body = client
        .open("GET", &format!("/long/{id}"), &[])
        .await
        .into_body();
    let mut read = 0;
    while read < LONG {
        let frame = body.frame().await.unwrap().unwrap();
        read += frame.into_data().unwrap().len();
    }
    body
}

/// Returns whether a long stream is stored, and then as a whole.
async fn is_whole(client: &Client, id: usize) -> bool {
    let path = format!("/long/{id}");
    let is_stored = is_stored(client, &path).await;
    assert!(!is_stored || client.get(&path).await.body.len() == LONG + 3);
    is_stored
}

/// A body of known length, of which the second half waits at a gate.
fn halves(gate: &Gate) -> Body {
    let gate = gate.clone();
    let second = stream::once(async move {
        gate.pass().await;
        Ok::<_, io::Error>("two")
    });
    let chunks = stream::iter([Ok("one ")]).chain(second);
    Body::new(KnownLength::of(Body::from_stream(chunks), 7))
}

on_every_store!(
    a_body_of_known_length_is_not_held_back,
    a_body_of_known_length_is_stored_even_if_nobody_reads_it,
    a_stream_is_stored_when_it_ended_and_has_a_tag_from_the_first_hit_on,
    the_first_byte_does_not_wait_for_the_last,
    a_body_that_broke_is_never_stored,
    a_body_shorter_than_its_content_length_is_never_stored,
    a_stream_of_declared_length_is_stored,
    a_stream_whose_client_left_is_not_stored_and_does_not_block_the_next_fill,
    a_stream_over_the_limit_passes_through_whole,
    copies_of_streams_whose_clients_stop_reading_stay_within_the_budget,
    a_copy_that_cannot_be_stored_any_more_makes_room_for_others,
    chunks_read_ahead_of_a_client_are_within_the_budget,
    an_endless_event_stream_passes_through,
    a_stream_with_a_tag_of_its_own_is_validated,
);

async fn a_body_of_known_length_is_not_held_back(store: Store) {
    let gate = Gate::new();
    let handlers = gate.clone();
    let app = App::new(store.cache(), move |_| {
        let gate = handlers.clone();
        async move { halves(&gate) }
    });
    let client = serve(router(app.clone())).await;
    let (parts, mut body) = client.open("GET", "/read", &[]).await.into_parts();
    assert_eq!(parts.headers["content-length"], "7");
    let first = body.frame().await.unwrap().unwrap();
    assert_eq!(first.into_data().unwrap(), "one ");
    gate.open();
    assert_eq!(body.collect().await.unwrap().to_bytes(), "two");
    until("a HIT", async || {
        // If the copy is not stored yet, the handler runs again.
        gate.open();
        let reply = client.get("/read").await;
        assert_eq!(reply.text(), "one two");
        reply.outcome() == "HIT"
    })
    .await;
}

async fn a_body_of_known_length_is_stored_even_if_nobody_reads_it(store: Store) {
    for (method, fields) in [
        ("GET", &[("if-none-match", "\"v1\"")][..]),
        ("HEAD", &[]),
        ("GET", &[]),
    ] {
        let gate = Gate::new();
        let handlers = gate.clone();
        let app = App::new(store.cache(), move |_| {
            let gate = handlers.clone();
            async move { ([("etag", "\"v1\"")], halves(&gate)) }
        });
        let client = serve(router(app.clone())).await;
        let response = client.open(method, "/read", fields).await;
        assert_eq!(response.headers()["x-redis-cache"], "MISS");
        drop(response);
        gate.entered().await;
        gate.open();
        until("a HIT", async || {
            let only = [("cache-control", "only-if-cached")];
            let reply = client.get_with("/read", &only).await;
            reply.outcome() == "HIT" && reply.text() == "one two"
        })
        .await;
        assert_eq!(app.runs(), 1, "{method} {fields:?}");
    }
}

async fn a_stream_is_stored_when_it_ended_and_has_a_tag_from_the_first_hit_on(store: Store) {
    let app = App::new(store.cache(), |_| async {
        chunks(vec![Ok("one "), Ok("two")])
    });
    let client = serve(router(app)).await;
    let miss = client.get("/read").await;
    assert_eq!((miss.outcome(), miss.text()), ("MISS", "one two"));
    assert_eq!(
        (miss.field("etag"), miss.field("content-length")),
        (None, None)
    );
    let hit = client.get("/read").await;
    assert_eq!((hit.outcome(), hit.text()), ("HIT", "one two"));
    assert!(hit.field("etag").is_some());
    assert_eq!(hit.field("content-length"), Some("7"));
}

async fn the_first_byte_does_not_wait_for_the_last(store: Store) {
    let gate = Gate::new();
    let handler = gate.clone();
    let app = App::new(store.cache(), move |_| {
        let gate = handler.clone();
        let last = stream::once(async move {
            gate.pass().await;
            Ok::<_, io::Error>("last")
        });
        std::future::ready(Body::from_stream(stream::iter([Ok("first ")]).chain(last)))
    });
    let client = serve(router(app)).await;
    let mut response = client.open("GET", "/read", &[]).await;
    let first = response
        .body_mut()
        .frame()
        .await
        .unwrap()
        .unwrap()
        .into_data()
        .unwrap();
    assert_eq!(first, "first ");
    gate.open();
    let rest = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(rest, "last");
    assert_eq!(client.get("/read").await.text(), "first last");
}

async fn a_body_that_broke_is_never_stored(store: Store) {
    let app = App::new(store.cache(), |_| async {
        chunks(vec![Ok("half"), Err(io::Error::other("broken"))])
    });
    let client = serve(router(app.clone())).await;
    for run in 1..=2 {
        let response = client.open("GET", "/read", &[]).await;
        assert_eq!(response.headers()["x-redis-cache"], "MISS");
        assert_eq!(read_what_comes(response).await, b"half");
        assert_eq!(app.runs(), run);
    }
}

async fn a_body_shorter_than_its_content_length_is_never_stored(store: Store) {
    let app = App::new(store.cache(), |_| async {
        ([("content-length", "100")], chunks(vec![Ok("half")]))
    });
    let client = serve(router(app.clone())).await;
    for run in 1..=2 {
        read_what_comes(client.open("GET", "/read", &[]).await).await;
        assert_eq!(app.runs(), run);
    }
}

async fn a_stream_of_declared_length_is_stored(store: Store) {
    let app = App::new(store.cache(), |_| async {
        (
            [("content-length", "7")],
            chunks(vec![Ok("one "), Ok("two")]),
        )
    });
    let client = serve(router(app)).await;
    assert_eq!(client.get("/read").await.text(), "one two");
    stored(&client, "/read").await;
}

async fn a_stream_whose_client_left_is_not_stored_and_does_not_block_the_next_fill(store: Store) {
    let app = App::new(store.cache(), |run| async move {
        if run == 0 {
            let first = stream::iter([Ok::<_, io::Error>("first")]);
            Body::from_stream(first.chain(stream::pending()))
        } else {
            Body::from("whole")
        }
    });
    let client = serve(router(app)).await;
    let mut response = client.open("GET", "/read", &[]).await;
    response.body_mut().frame().await.unwrap().unwrap();
    drop(response);
    assert_eq!(stored(&client, "/read").await, "whole");
}

async fn a_stream_over_the_limit_passes_through_whole(store: Store) {
    let cache = store.cache_with(settings().max_body_bytes(1_000));
    let app = App::new(cache, |run| async move {
        let chunk = Ok::<_, std::convert::Infallible>(Bytes::from(vec![b'x'; 100]));
        let chunks = if run < 2 { 11 } else { 10 };
        Body::from_stream(stream::iter(vec![chunk; chunks]))
    });
    let client = serve(router(app)).await;
    for (outcome, length) in [
        ("MISS", 1_100),
        ("MISS", 1_100),
        ("MISS", 1_000),
        ("HIT", 1_000),
    ] {
        let reply = client.get("/read").await;
        assert_eq!((reply.outcome(), reply.body.len()), (outcome, length));
    }
}

async fn copies_of_streams_whose_clients_stop_reading_stay_within_the_budget(store: Store) {
    let cache = store.cache_with(settings().max_streamed_bytes(1_000_000));
    let gate = Gate::new();
    let client = serve(long_streams(cache, 10, &gate)).await;
    let mut bodies = Vec::new();
    for id in 0..10 {
        bodies.push(read_the_long_part(&client, id).await);
    }
    for body in bodies {
        gate.open();
        assert_eq!(body.collect().await.unwrap().to_bytes(), "end");
    }
    let mut stored = 0;
    for id in 0..10 {
        stored += usize::from(is_whole(&client, id).await);
    }
    assert!((3..=5).contains(&stored), "as many as fit: {stored}");
    // The budget is whole again.
    for id in 10..13 {
        let body = read_the_long_part(&client, id).await;
        assert_eq!(body.collect().await.unwrap().to_bytes(), "end");
        assert!(is_whole(&client, id).await);
    }
}

async fn a_copy_that_cannot_be_stored_any_more_makes_room_for_others(store: Store) {
    let budget = settings().max_streamed_bytes(300_000);
    let cache = store.cache_with(budget.lease_ttl(Duration::from_secs(1)));
    let gate = Gate::new();
    let client = serve(long_streams(cache, 1, &gate)).await;
    let unread = read_the_long_part(&client, 0).await;
    until("another one is stored", async || {
        let body = read_the_long_part(&client, 1).await;
        assert_eq!(body.collect().await.unwrap().to_bytes(), "end");
        is_whole(&client, 1).await
    })
    .await;
    gate.open();
    assert_eq!(unread.collect().await.unwrap().to_bytes(), "end");
    assert!(!is_whole(&client, 0).await);
}

async fn chunks_read_ahead_of_a_client_are_within_the_budget(store: Store) {
    let cache = store.cache_with(settings().max_streamed_bytes(10));
    let gate = Gate::new();
    let handlers = gate.clone();
    let app = App::new(cache, move |_| {
        let gate = handlers.clone();
        let chunks = stream::iter(["one ", "much longer ", "three "].map(Ok::<_, io::Error>));
        let last = stream::once(async move {
            gate.pass().await;
            Ok("four")
        });
        std::future::ready(Body::new(KnownLength::of(
            Body::from_stream(chunks.chain(last)),
            26,
        )))
    });
    let client = serve(router(app.clone())).await;
    for run in 1..=2 {
        gate.open();
        let reply = client.get("/read").await;
        assert_eq!(
            (reply.outcome(), reply.text()),
            ("BYPASS", "one much longer three four")
        );
        assert_eq!(app.runs(), run);
    }
}

async fn an_endless_event_stream_passes_through(store: Store) {
    let app = App::new(store.cache(), |_| async {
        let events = stream::repeat_with(|| Ok::<_, io::Error>("data: x\n\n"));
        (
            [("content-type", "text/event-stream")],
            Body::from_stream(events),
        )
            .into_response()
    });
    let client = serve(router(app)).await;
    for _ in 0..2 {
        let mut response = client.open("GET", "/read", &[]).await;
        assert_eq!(response.headers()["x-redis-cache"], "BYPASS");
        for _ in 0..10 {
            response.body_mut().frame().await.unwrap().unwrap();
        }
    }
}

async fn a_stream_with_a_tag_of_its_own_is_validated(store: Store) {
    let app = App::new(store.cache(), |_| async {
        ([("etag", "\"v1\"")], chunks(vec![Ok("one "), Ok("two")]))
    });
    let client = serve(router(app)).await;
    for _ in 0..2 {
        let reply = client
            .get_with("/read", &[("if-none-match", "\"v1\"")])
            .await;
        assert_eq!((reply.status.as_u16(), reply.text()), (304, ""));
    }
    assert_eq!(client.get("/read").await.text(), "one two");
}
