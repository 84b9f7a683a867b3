//! Layers of tower-http around cached handlers, by HTTP/1.1 and HTTP/2.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::extract::State;
use axum::handler::Handler;
use axum::http::{HeaderName, HeaderValue, Response as HttpResponse, StatusCode};
use axum::middleware::map_response;
use axum::response::Response;
use axum::routing::get;
use axum::{Extension, Router};
use axum_redis_cache::{cache_evict, cache_put, cached};
use test_support::{Client, Gate, Reply, until};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer};
use tower_http::set_header::SetResponseHeaderLayer;
use tower_http::timeout::TimeoutLayer;

use crate::support::{App, Store, on_every_store, serve};

#[cached(ttl = 30)]
async fn read(State(app): State<App>) -> Response {
    app.run().await
}

#[cache_put(read)]
async fn put(State(app): State<App>, text: String) -> String {
    let _ = app;
    text
}

#[cache_evict(read)]
async fn evict(State(app): State<App>, text: String) -> StatusCode {
    let _ = (app, text);
    StatusCode::NO_CONTENT
}

fn router(app: App) -> Router {
    Router::new()
        .route("/read", get(read).put(put).delete(evict))
        .with_state(app)
}

#[derive(Clone, Copy, Debug)]
enum Version {
    Http1,
    Http2,
}

const VERSIONS: [Version; 2] = [Version::Http1, Version::Http2];

impl Version {
    async fn get(self, client: &Client, target: &str, fields: &[(&str, &str)]) -> Reply {
        self.send(client, "GET", target, fields).await
    }

    async fn send(
        self,
        client: &Client,
        method: &str,
        target: &str,
        fields: &[(&str, &str)],
    ) -> Reply {
        match self {
            Self::Http1 => client.send(method, target, fields).await,
            Self::Http2 => client.send_by_http_2(method, target, fields).await,
        }
    }
}

/// The first site and the second, which may both read responses.
const SITES: [&str; 2] = ["https://one.example", "https://two.example"];

fn cors() -> CorsLayer {
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(SITES.map(HeaderValue::from_static)))
        .allow_credentials(true)
}

/// A value of this process that a handler gives to layers.
#[derive(Clone)]
struct Note;

/// Adds a field that counts the responses.
fn numbered(
    name: &'static str,
) -> SetResponseHeaderLayer<impl Fn(&HttpResponse<axum::body::Body>) -> Option<HeaderValue> + Clone>
{
    let count = Arc::new(AtomicUsize::new(0));
    let number = move |_: &HttpResponse<axum::body::Body>| {
        Some(HeaderValue::from(count.fetch_add(1, Ordering::SeqCst)))
    };
    SetResponseHeaderLayer::appending(HeaderName::from_static(name), number)
}

const ALLOWED: &str = "access-control-allow-origin";

on_every_store!(
    each_origin_is_allowed_by_its_own_response,
    a_preflight_neither_runs_the_handler_nor_is_stored,
    a_field_of_a_layer_belongs_to_each_response,
    a_panic_is_a_500_that_nobody_stores,
    a_run_that_is_over_the_timeout_of_its_request_is_stored,
    a_body_over_the_limit_changes_nothing,
    a_body_of_unknown_length_over_the_limit_changes_nothing,
    each_response_has_its_own_request_id,
    extensions_of_a_response_reach_layers_only_from_a_run,
);

async fn each_origin_is_allowed_by_its_own_response(store: Store) {
    for version in VERSIONS {
        let client = serve(router(App::counting(store.cache())).layer(cors())).await;
        let [one, two] = SITES;
        for (origin, outcome, allowed) in [
            (Some(one), "MISS", Some(one)),
            (Some(two), "HIT", Some(two)),
            (None, "HIT", None),
            (Some("https://evil.example"), "HIT", None),
            (Some(one), "HIT", Some(one)),
        ] {
            let origin: Vec<_> = origin
                .map(|origin| ("origin", origin))
                .into_iter()
                .collect();
            let reply = version.get(&client, "/read", &origin).await;
            assert_eq!(
                (reply.outcome(), reply.text()),
                (outcome, "run 0"),
                "{version:?}"
            );
            assert_eq!(reply.field(ALLOWED), allowed, "{version:?}");
            assert_eq!(
                reply.field("access-control-allow-credentials"),
                Some("true")
            );
            let not_modified = [&origin[..], &[("if-none-match", "*")]].concat();
            let reply = version.get(&client, "/read", &not_modified).await;
            assert_eq!(
                (reply.status.as_u16(), reply.field(ALLOWED)),
                (304, allowed)
            );
        }
    }
}

async fn a_preflight_neither_runs_the_handler_nor_is_stored(store: Store) {
    for version in VERSIONS {
        let app = App::counting(store.cache());
        let client = serve(router(app.clone()).layer(cors())).await;
        let preflight = [
            ("origin", SITES[0]),
            ("access-control-request-method", "GET"),
        ];
        for _ in 0..2 {
            let reply = version.send(&client, "OPTIONS", "/read", &preflight).await;
            assert_eq!(
                (reply.status.as_u16(), reply.outcome()),
                (200, "none"),
                "{version:?}"
            );
            assert_eq!((reply.field(ALLOWED), reply.text()), (Some(SITES[0]), ""));
        }
        assert_eq!(app.runs(), 0);
        assert_eq!(version.get(&client, "/read", &[]).await.outcome(), "MISS");
    }
}

async fn a_field_of_a_layer_belongs_to_each_response(store: Store) {
    for version in VERSIONS {
        let handler = read.layer(numbered("x-handler"));
        let routes = Router::new()
            .route("/read", get(handler).layer(numbered("x-method")))
            .route_layer(numbered("x-route"))
            .layer(numbered("x-router"));
        let client = serve(routes.with_state(App::counting(store.cache()))).await;
        for (number, outcome) in ["MISS", "HIT", "HIT"].into_iter().enumerate() {
            let reply = version.get(&client, "/read", &[]).await;
            assert_eq!(reply.outcome(), outcome, "{version:?}");
            for name in ["x-handler", "x-method", "x-route", "x-router"] {
                let value = reply.field(name);
                assert_eq!(value, Some(&*number.to_string()), "{version:?} {name}");
            }
        }
    }
}

async fn a_panic_is_a_500_that_nobody_stores(store: Store) {
    for version in VERSIONS {
        let app = App::new(store.cache(), |run| async move {
            assert_ne!(run, 0, "the first run panics");
            format!("run {run}")
        });
        let client = serve(router(app).layer(CatchPanicLayer::new())).await;
        let reply = version.get(&client, "/read", &[]).await;
        assert_eq!(
            (reply.status.as_u16(), reply.outcome()),
            (500, "none"),
            "{version:?}"
        );
        for outcome in ["MISS", "HIT"] {
            let reply = version.get(&client, "/read", &[]).await;
            assert_eq!((reply.status.as_u16(), reply.text()), (200, "run 1"));
            assert_eq!(reply.outcome(), outcome, "{version:?}");
        }
    }
}

async fn a_run_that_is_over_the_timeout_of_its_request_is_stored(store: Store) {
    for version in VERSIONS {
        let gate = Gate::new();
        let app = App::counting_with_a_gate(store.cache(), 0, &gate);
        let timeout = Duration::from_millis(200);
        let layer = TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, timeout);
        let client = serve(router(app.clone()).layer(layer)).await;
        for _ in 0..2 {
            let reply = version.get(&client, "/read", &[]).await;
            assert_eq!(
                (reply.status.as_u16(), reply.outcome()),
                (504, "none"),
                "{version:?}"
            );
        }
        gate.entered().await;
        gate.open();
        // A busy machine may let one more request wait for too long.
        until("a HIT", async || {
            let reply = version.get(&client, "/read", &[]).await;
            assert!(reply.status == 504 || (reply.outcome(), reply.text()) == ("HIT", "run 0"));
            reply.outcome() == "HIT"
        })
        .await;
        assert_eq!(app.runs(), 1);
    }
}

async fn a_body_over_the_limit_changes_nothing(store: Store) {
    let app = App::counting(store.cache());
    let client = serve(router(app).layer(RequestBodyLimitLayer::new(8))).await;
    assert_eq!(client.get("/read").await.outcome(), "MISS");
    for method in ["PUT", "DELETE"] {
        let reply = client
            .send_body(method, "/read", &[], "more than 8 bytes")
            .await;
        assert_eq!(
            (reply.status.as_u16(), reply.outcome()),
            (413, "none"),
            "{method}"
        );
        for version in VERSIONS {
            let reply = version.get(&client, "/read", &[]).await;
            assert_eq!(
                (reply.outcome(), reply.text()),
                ("HIT", "run 0"),
                "{method}"
            );
        }
    }
    let reply = client.send_body("PUT", "/read", &[], "8 bytes.").await;
    assert_eq!((reply.status.as_u16(), reply.outcome()), (200, "STORED"));
    for version in VERSIONS {
        let reply = version.get(&client, "/read", &[]).await;
        assert_eq!((reply.outcome(), reply.text()), ("HIT", "8 bytes."));
    }
}

async fn a_body_of_unknown_length_over_the_limit_changes_nothing(store: Store) {
    let chunked = [("transfer-encoding", "chunked")];
    let app = App::counting(store.cache());
    let client = serve(router(app).layer(RequestBodyLimitLayer::new(8))).await;
    assert_eq!(client.get("/read").await.outcome(), "MISS");
    for method in ["PUT", "DELETE"] {
        let reply = client
            .send_body(method, "/read", &chunked, "more than 8 bytes")
            .await;
        assert_eq!(reply.status.as_u16(), 413, "{method}");
        for version in VERSIONS {
            let reply = version.get(&client, "/read", &[]).await;
            assert_eq!(
                (reply.outcome(), reply.text()),
                ("HIT", "run 0"),
                "{method}"
            );
        }
    }
}

async fn each_response_has_its_own_request_id(store: Store) {
    for version in VERSIONS {
        let router = router(App::counting(store.cache()))
            .layer(PropagateRequestIdLayer::x_request_id())
            .layer(SetRequestIdLayer::x_request_id(MakeRequestUuid));
        let client = serve(router).await;
        let mut ids = std::collections::HashSet::new();
        for outcome in ["MISS", "HIT", "HIT"] {
            let reply = version.get(&client, "/read", &[]).await;
            assert_eq!(reply.outcome(), outcome, "{version:?}");
            assert!(ids.insert(reply.field("x-request-id").unwrap().to_owned()));
        }
        let reply = version
            .get(&client, "/read", &[("x-request-id", "mine")])
            .await;
        assert_eq!(
            (reply.outcome(), reply.field("x-request-id")),
            ("HIT", Some("mine"))
        );
    }
}

async fn extensions_of_a_response_reach_layers_only_from_a_run(store: Store) {
    for version in VERSIONS {
        let app = App::new(store.cache(), |_| async { (Extension(Note), "body") });
        let see = |mut response: Response| async {
            if response.extensions().get::<Note>().is_some() {
                response
                    .headers_mut()
                    .insert("x-note", HeaderValue::from_static("seen"));
            }
            response
        };
        let client = serve(router(app).layer(map_response(see))).await;
        for (outcome, note) in [("MISS", Some("seen")), ("HIT", None), ("HIT", None)] {
            let reply = version.get(&client, "/read", &[]).await;
            assert_eq!(
                (reply.outcome(), reply.field("x-note")),
                (outcome, note),
                "{version:?}"
            );
        }
    }
}
