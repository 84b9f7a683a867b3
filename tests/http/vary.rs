//! `Vary` is one line, whoever contributed to it.

use axum::Router;
use axum::extract::State;
use axum::response::{AppendHeaders, Response};
use axum::routing::get;
use axum_redis_cache::cached;

use crate::support::{App, Store, on_every_store, serve};

#[cached(ttl = 30, vary("accept-language", "x-variant"))]
async fn two(State(app): State<App>) -> Response {
    app.run().await
}

#[cached(ttl = 30, vary("accept-language"), status(404))]
async fn one(State(app): State<App>) -> Response {
    app.run().await
}

fn router(app: App) -> Router {
    Router::new()
        .route("/two", get(two))
        .route("/one", get(one))
        .with_state(app)
}

on_every_store!(
    a_response_has_one_vary_line,
    a_response_that_is_not_stored_has_one_vary_line_too,
);

async fn a_response_has_one_vary_line(store: Store) {
    for (own, expected) in [
        (&[][..], "accept-language, x-variant"),
        (&["X-Variant"], "X-Variant, accept-language"),
        (
            &["X-Variant", "accept-language"],
            "X-Variant, accept-language",
        ),
        (
            &["accept-language, x-variant"],
            "accept-language, x-variant",
        ),
    ] {
        let app = App::new(store.cache(), move |_| async move {
            (
                AppendHeaders(own.iter().map(|line| ("vary", *line)).collect::<Vec<_>>()),
                "body",
            )
        });
        let client = serve(router(app)).await;
        for (outcome, validator) in [("MISS", "x"), ("HIT", "x"), ("HIT", "*")] {
            let reply = client
                .get_with("/two", &[("if-none-match", validator)])
                .await;
            let lines: Vec<_> = reply
                .headers
                .get_all("vary")
                .iter()
                .map(|it| it.to_str().unwrap())
                .collect();
            assert_eq!((reply.outcome(), lines), (outcome, vec![expected]));
        }
    }
}

async fn a_response_that_is_not_stored_has_one_vary_line_too(store: Store) {
    let app = App::new(store.cache(), |_| async {
        (
            AppendHeaders([("vary", "origin"), ("vary", "accept")]),
            "body",
        )
    });
    let client = serve(router(app)).await;
    for path in ["/one", "/two"] {
        let reply = client.get(path).await;
        let lines = reply.headers.get_all("vary").iter().count();
        assert_eq!((reply.outcome(), lines), ("BYPASS", 1));
    }
}
