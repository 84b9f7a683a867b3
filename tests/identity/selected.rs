//! Responses that a request field selects, exactly as the handler sees it, or the caller.

use std::convert::Infallible;

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Uri, header};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::get;
use axum_redis_cache::{IdentifiesCaller, cached};
use test_support::Reply;
use tower::ServiceExt;

use crate::asking::send;
use crate::replies::{bypass, get as ask, get_with, hit, miss};
use crate::support::{Store, answer, on_every_store, request, serve};

#[cached(ttl = 60, vary("host"), ignore(headers))]
async fn page(headers: HeaderMap) -> String {
    let host = headers.get(header::HOST);
    host.map_or("", |host| host.to_str().unwrap()).to_owned()
}

/// In HTTP/2 the host is in the URI alone.
#[cached(ttl = 60, vary("host"), ignore(uri))]
async fn page_by_http_2(uri: Uri) -> String {
    uri.host().unwrap_or_default().to_owned()
}

tokio::task_local! {
    static USER: String;
}

/// Lets handlers know who asks without an argument.
async fn authenticate(request: Request, next: Next) -> Response {
    let user = request.headers().get(header::AUTHORIZATION);
    let user = user
        .map_or("nobody", |user| user.to_str().unwrap())
        .to_owned();
    USER.scope(user, next.run(request)).await
}

struct Lang(String);

impl<S: Sync> FromRequestParts<S> for Lang {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let lang = parts.headers.get(header::ACCEPT_LANGUAGE);
        Ok(Self(
            lang.map_or("en", |lang| lang.to_str().unwrap()).to_owned(),
        ))
    }
}

struct User {
    name: String,
    lang: String,
}

impl<S: Sync> FromRequestParts<S> for User {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        let Lang(lang) = Lang::from_request_parts(parts, state).await?;
        Ok(Self {
            name: USER.get(),
            lang,
        })
    }
}

impl IdentifiesCaller for User {}

#[cached(ttl = 60, vary_by(lang))]
async fn by_language(Lang(lang): Lang) -> String {
    format!("{lang} {}", USER.get())
}

#[cached(ttl = 60, vary_by(user.name), private)]
async fn by_user(user: User) -> String {
    format!("{} {}", user.lang, user.name)
}

fn router() -> Router<axum_redis_cache::Cache> {
    Router::new()
        .route("/page", get(page))
        .route("/lang", get(by_language))
        .route("/user", get(by_user))
        .layer(from_fn(authenticate))
}

on_every_store!(
    a_field_selects_as_the_handler_sees_it,
    the_authority_of_the_uri_selects_too,
    a_language_does_not_tell_who_asks,
    a_user_tells_who_asks,
);

async fn a_field_selects_as_the_handler_sees_it(store: Store) {
    let router = router().with_state(store.cache());
    let asks = async |target: &str, host: &str| {
        let request = Request::builder().uri(target).header(header::HOST, host);
        let request = request.body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        let reply = Reply::of(response).await;
        answer(reply.outcome(), reply.text())
    };
    let (absolute, relative) = ("http://victim.example/page", "/page");
    for expected in [miss, hit] {
        assert_eq!(
            asks(absolute, "evil.example").await,
            expected("evil.example")
        );
        assert_eq!(
            asks(relative, "victim.example").await,
            expected("victim.example")
        );
    }
}

async fn the_authority_of_the_uri_selects_too(store: Store) {
    let router = Router::new()
        .route("/", get(page_by_http_2))
        .with_state(store.cache());
    for outcome in ["MISS", "HIT"] {
        for host in ["victim.example", "evil.example"] {
            let page = request("GET", &format!("http://{host}/"), &[]);
            assert_eq!(send(&router, page).await, format!("{outcome} {host}"));
        }
    }
}

async fn a_language_does_not_tell_who_asks(store: Store) {
    let client = serve(router().with_state(store.cache())).await;
    for user in ["alice", "bob", "alice"] {
        let got = get_with(&client, "/lang", &[("authorization", user)]).await;
        assert_eq!(got, bypass(&format!("en {user}")));
    }
    assert_eq!(ask(&client, "/lang").await, miss("en nobody"));
    assert_eq!(
        get_with(&client, "/lang", &[("authorization", "bob")]).await,
        bypass("en bob")
    );
}

async fn a_user_tells_who_asks(store: Store) {
    let client = serve(router().with_state(store.cache())).await;
    for expected in [miss, hit] {
        for user in ["alice", "bob"] {
            let got = get_with(&client, "/user", &[("authorization", user)]).await;
            assert_eq!(got, expected(&format!("en {user}")));
        }
    }
}
