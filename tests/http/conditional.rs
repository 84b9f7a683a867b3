//! Preconditions, on a HIT and on a MISS alike.

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use axum_redis_cache::cached;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::SizeAbove;

use crate::support::{App, Store, on_every_store, serve, tells_what_is_left};

#[cached(ttl = 30, status(200, 404), vary("accept"))]
async fn read(State(app): State<App>) -> Response {
    app.run().await
}

/// Its route nominates no field.
#[cached(ttl = 30)]
async fn plain(State(app): State<App>) -> Response {
    app.run().await
}

fn router(app: App) -> Router {
    Router::new()
        .route("/read", get(read))
        .route("/plain", get(plain))
        .with_state(app)
}

const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

fn dated(store: crate::support::Store) -> App {
    App::new(store.cache(), |_| async {
        let fields = [
            ("etag", "\"v1\""),
            ("last-modified", MODIFIED),
            ("content-location", "/v1"),
            ("expires", "Sun, 06 Nov 2095 08:49:37 GMT"),
            ("x-other", "1"),
        ];
        (fields, "body")
    })
}

on_every_store!(
    a_matching_tag_is_answered_304_on_miss_and_hit,
    a_304_has_the_fields_that_freshen_a_stored_response_and_no_others,
    a_backslash_in_a_tag_is_a_character,
    another_tag_is_answered_in_full,
    a_date_counts_when_there_is_no_tag,
    the_tag_made_from_the_body_validates_everywhere,
    only_a_response_that_would_be_200_becomes_304,
    head_is_validated_too,
    a_304_tells_the_length_of_the_content_where_the_version_of_http_allows_it,
    a_304_has_no_content_below_a_layer_that_compresses,
);

async fn a_matching_tag_is_answered_304_on_miss_and_hit(store: Store) {
    for tag in [
        "\"v1\"",
        "W/\"v1\"",
        "\"v0\", W/\"v1\"",
        "\"a,b\",\"v1\"",
        "*",
    ] {
        let client = serve(router(dated(store))).await;
        for outcome in ["MISS", "HIT"] {
            let reply = client.get_with("/read", &[("if-none-match", tag)]).await;
            assert_eq!(
                (reply.status.as_u16(), reply.outcome()),
                (304, outcome),
                "{tag}"
            );
            assert_eq!(reply.text(), "");
        }
    }
}

async fn a_304_has_the_fields_that_freshen_a_stored_response_and_no_others(store: Store) {
    let client = serve(router(dated(store))).await;
    for _ in ["MISS", "HIT"] {
        let reply = client.get_with("/read", &[("if-none-match", "*")]).await;
        assert_eq!(reply.field("etag"), Some("\"v1\""));
        assert!(tells_what_is_left(&reply, "max-age=30"), "{reply:?}");
        assert_eq!(reply.field("content-location"), Some("/v1"));
        assert_eq!(reply.field("vary"), Some("accept"));
        assert!(reply.field("expires").is_some());
        assert!(reply.field("date").is_some());
        for name in [
            "content-type",
            "content-length",
            "transfer-encoding",
            "last-modified",
            "x-other",
        ] {
            assert_eq!(reply.field(name), None, "{name}");
        }
    }
}

async fn a_backslash_in_a_tag_is_a_character(store: Store) {
    let client = serve(router(dated(store))).await;
    for outcome in ["MISS", "HIT"] {
        let fields = [("if-none-match", "\"a\\\", \"v1\"")];
        let reply = client.get_with("/read", &fields).await;
        assert_eq!((reply.status.as_u16(), reply.outcome()), (304, outcome));
    }
}

async fn another_tag_is_answered_in_full(store: Store) {
    let client = serve(router(dated(store))).await;
    for outcome in ["MISS", "HIT"] {
        for tag in ["\"v2\"", "v1", "W/v1"] {
            let fields = [("if-none-match", tag), ("if-modified-since", MODIFIED)];
            let reply = client.get_with("/read", &fields).await;
            assert_eq!(
                (reply.status.as_u16(), reply.text()),
                (200, "body"),
                "{tag}"
            );
        }
        assert!(["MISS", "HIT"].contains(&outcome));
    }
}

async fn a_date_counts_when_there_is_no_tag(store: Store) {
    let client = serve(router(dated(store))).await;
    for path in ["/read", "/plain"] {
        for outcome in ["MISS", "HIT"] {
            let fields = [("if-modified-since", MODIFIED)];
            let reply = client.get_with(path, &fields).await;
            assert_eq!((reply.status.as_u16(), reply.outcome()), (304, outcome));
        }
    }
    let earlier = [("if-modified-since", "Sun, 06 Nov 1994 08:49:36 GMT")];
    assert_eq!(
        client.get_with("/read", &earlier).await.status.as_u16(),
        200
    );
}

async fn the_tag_made_from_the_body_validates_everywhere(store: Store) {
    let body = |_| async { "the same body" };
    let (one, other) = (App::new(store.cache(), body), App::new(store.cache(), body));
    let (one, other) = (serve(router(one)).await, serve(router(other)).await);
    let tag = one.get("/read").await.field("etag").unwrap().to_owned();
    assert!(tag.starts_with("W/\""), "{tag}");
    let reply = other.get_with("/read", &[("if-none-match", &tag)]).await;
    assert_eq!((reply.status.as_u16(), reply.outcome()), (304, "MISS"));
}

async fn only_a_response_that_would_be_200_becomes_304(store: Store) {
    let app = App::new(store.cache(), |_| async {
        axum::http::StatusCode::NOT_FOUND
    });
    let client = serve(router(app)).await;
    for outcome in ["MISS", "HIT"] {
        let reply = client.get_with("/read", &[("if-none-match", "*")]).await;
        assert_eq!((reply.status.as_u16(), reply.outcome()), (404, outcome));
    }
}

async fn head_is_validated_too(store: Store) {
    let client = serve(router(dated(store))).await;
    for outcome in ["MISS", "HIT"] {
        let reply = client
            .send("HEAD", "/read", &[("if-none-match", "\"v1\"")])
            .await;
        assert_eq!((reply.status.as_u16(), reply.outcome()), (304, outcome));
        assert_eq!(
            reply.field("content-length"),
            Some("4"),
            "of what a GET gets"
        );
    }
}

async fn a_304_tells_the_length_of_the_content_where_the_version_of_http_allows_it(store: Store) {
    let client = serve(router(dated(store))).await;
    let fields = [("if-none-match", "\"v1\"")];
    for _ in ["MISS", "HIT"] {
        let one = client.get_with("/read", &fields).await;
        let two = client.send_by_http_2("GET", "/read", &fields).await;
        let lengths = [one.field("content-length"), two.field("content-length")];
        assert_eq!(lengths, [None, Some("4")]);
    }
}

async fn a_304_has_no_content_below_a_layer_that_compresses(store: Store) {
    let router =
        router(dated(store)).layer(CompressionLayer::new().compress_when(SizeAbove::new(1)));
    let client = serve(router).await;
    for version in ["HTTP/1.1", "HTTP/2"] {
        for (method, outcome) in [("GET", "MISS"), ("GET", "HIT"), ("HEAD", "HIT")] {
            let fields = [("if-none-match", "\"v1\""), ("accept-encoding", "gzip")];
            let reply = match version {
                "HTTP/2" => client.send_by_http_2(method, "/read", &fields).await,
                _ => client.send(method, "/read", &fields).await,
            };
            assert_eq!(reply.status.as_u16(), 304, "{version} {method} {outcome}");
            assert_eq!(reply.field("content-encoding"), None, "{version} {method}");
            assert!(reply.body.is_empty());
        }
    }
}
