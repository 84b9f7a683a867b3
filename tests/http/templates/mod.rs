//! Keys made of values: what shares an entry, and what never does.

mod other_crates;
mod queries;

use axum::Router;
use axum::extract::{Extension, FromRequestParts, Path, Query, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{get, post};
use axum_redis_cache::{CacheKey, IdentifiesCaller, KeyPart, KeyWriter, cache_evict, cached};
use serde::Deserialize;

use crate::support::{App, Store, on_every_store, serve};

#[derive(Deserialize)]
struct Page {
    page: u32,
    #[serde(default)]
    tags: Tags,
}

#[derive(Default, Deserialize)]
struct Tags(Option<String>);

/// Sent by the client, and nothing to do with the URL.
struct User {
    id: u64,
    team: String,
}

impl<S: Sync> FromRequestParts<S> for User {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, StatusCode> {
        let field = |name| {
            parts
                .headers
                .get(name)
                .and_then(|value| value.to_str().ok())
        };
        let id = field("x-user").and_then(|id| id.parse().ok());
        let id = id.ok_or(StatusCode::UNAUTHORIZED)?;
        Ok(Self {
            id,
            team: field("x-team").unwrap_or_default().to_owned(),
        })
    }
}

/// No two callers have the same.
impl IdentifiesCaller for User {}

#[cached(ttl = 30, key = "product:{id}")]
async fn product(Path(id): Path<u64>, State(app): State<App>) -> Response {
    let _ = id;
    app.run().await
}

#[cached(ttl = 30, key = "{owner}{name}", group = ["repos", "owner:{owner}"])]
async fn repo(Path((owner, mut name)): Path<(String, String)>, State(app): State<App>) -> Response {
    name.push_str(&owner);
    app.run().await
}

#[cached(ttl = 30, key = "feed {{{user.id}}} {q.page}/{q.tags.0}")]
async fn feed(user: User, q: Query<Page>, State(app): State<App>) -> Response {
    let _ = (&user.team, &q.page);
    app.run().await
}

#[cached(ttl = 30, vary_by(user.team), group = "team:{user.team}")]
async fn of_team(user: User, State(app): State<App>) -> Response {
    let _ = user.id;
    app.run().await
}

fn by_host(parts: &Parts) -> String {
    let host = parts
        .headers
        .get("x-tenant")
        .and_then(|value| value.to_str().ok());
    format!("{}{}", host.unwrap_or_default(), parts.uri.path())
}

async fn by_host_async(parts: &Parts) -> String {
    tokio::task::yield_now().await;
    by_host(parts)
}

#[cached(ttl = 30, key = by_host)]
async fn tenant(headers: HeaderMap, State(app): State<App>) -> Response {
    drop(headers);
    app.run().await
}

#[cached(ttl = 30, key = self::by_host_async)]
async fn tenant_async(State(app): State<App>) -> Response {
    app.run().await
}

#[derive(Clone, Copy)]
struct Role(bool);

impl KeyPart for Role {
    fn write(&self, key: &mut KeyWriter<'_>) {
        self.0.write(key);
    }
}

#[cached(ttl = 30, vary_by(role))]
async fn by_role(Extension(role): Extension<Role>, State(app): State<App>) -> Response {
    let _ = role.0;
    app.run().await
}

async fn set_role(mut request: axum::extract::Request, next: Next) -> Response {
    let is_admin = request.headers().contains_key("x-admin");
    request.extensions_mut().insert(Role(is_admin));
    next.run(request).await
}

#[cache_evict(group = "owner:{owner}")]
async fn evict_owner(Path(owner): Path<String>) {
    drop(owner);
}

#[cache_evict(product(id))]
async fn evict_product(id: Path<u64>) {
    let _ = id;
}

#[cache_evict(group = "team:a/b")]
async fn evict_text() {}

fn router(app: App) -> Router {
    Router::new()
        .route("/products/{id}", get(product).delete(evict_product))
        .route("/shop/{id}", get(product))
        .route("/repos/{owner}/{name}", get(repo))
        .route("/owners/{owner}", post(evict_owner))
        .route("/feed", get(feed))
        .route("/team", get(of_team).delete(evict_text))
        .route("/tenant", get(tenant))
        .route("/tenant-async", get(tenant_async))
        .route("/role", get(by_role).layer(middleware::from_fn(set_role)))
        .with_state(app)
}

on_every_store!(
    a_template_is_evicted_wherever_the_handler_is_mounted,
    different_values_never_share_an_entry,
    a_group_may_be_made_of_values,
    only_the_field_paths_of_a_key_select,
    values_select_a_response_and_its_group,
    an_extension_selects_a_response,
    a_function_makes_the_key_of_the_head_of_the_request,
    long_keys_and_groups_are_hashed_and_still_evicted,
);

async fn a_template_is_evicted_wherever_the_handler_is_mounted(store: Store) {
    let app = App::counting(store.cache());
    let client = serve(router(app)).await;
    let paths = ["/products/1", "/shop/1?x=1", "/products/2", "/shop/2"];
    for path in paths {
        assert_eq!(client.get(path).await.outcome(), "MISS", "{path}");
    }
    assert_eq!(client.get("/products/1?x=1").await.outcome(), "HIT");
    assert_eq!(client.get("/shop/1").await.outcome(), "HIT");
    assert_eq!(
        client.send("DELETE", "/products/1", &[]).await.outcome(),
        "EVICTED"
    );
    for (path, outcome) in paths.into_iter().zip(["MISS", "MISS", "HIT", "HIT"]) {
        assert_eq!(client.get(path).await.outcome(), outcome, "{path}");
    }
}

async fn different_values_never_share_an_entry(store: Store) {
    let client = serve(router(App::counting(store.cache()))).await;
    let paths = [
        "/repos/a/b",
        "/repos/ab/b",
        "/repos/a/bb",
        "/repos/a%3B/b",
        "/repos/a/%3Bb",
        "/repos/a%2F/b",
        "/repos/a/%2Fb",
        "/repos/a%3Bb/%3B",
        "/repos/%7E/b",
        "/repos/a%253B/b",
    ];
    for outcome in ["MISS", "HIT"] {
        for path in paths {
            assert_eq!(client.get(path).await.outcome(), outcome, "{path}");
        }
    }
}

async fn a_group_may_be_made_of_values(store: Store) {
    let client = serve(router(App::counting(store.cache()))).await;
    for path in ["/repos/a/1", "/repos/a/2", "/repos/b/1"] {
        client.get(path).await;
    }
    assert_eq!(client.send("POST", "/owners/a", &[]).await.status, 200);
    assert_eq!(client.get("/repos/a/1").await.outcome(), "MISS");
    assert_eq!(client.get("/repos/a/2").await.outcome(), "MISS");
    assert_eq!(client.get("/repos/b/1").await.outcome(), "HIT");
}

async fn only_the_field_paths_of_a_key_select(store: Store) {
    let client = serve(router(App::counting(store.cache()))).await;
    let get = async |user, team, target| {
        client
            .get_with(target, &[("x-user", user), ("x-team", team)])
            .await
    };
    assert_eq!(get("1", "a", "/feed?page=1").await.outcome(), "MISS");
    assert_eq!(get("1", "b", "/feed?page=1&utm=x").await.outcome(), "HIT");
    assert_eq!(get("2", "a", "/feed?page=1").await.outcome(), "MISS");
    assert_eq!(get("1", "a", "/feed?page=2").await.outcome(), "MISS");
    assert_eq!(
        get("1", "a", "/feed?page=1&tags=").await.outcome(),
        "MISS",
        "not None"
    );
    assert_eq!(
        get("x", "a", "/feed?page=1").await.status,
        401,
        "extractors run on a HIT too"
    );
}

async fn values_select_a_response_and_its_group(store: Store) {
    let client = serve(router(App::counting(store.cache()))).await;
    let get = async |user, team| {
        let fields = [
            ("x-user", user),
            ("x-team", team),
            ("authorization", "secret"),
        ];
        client.get_with("/team", &fields).await.outcome().to_owned()
    };
    assert_eq!(get("1", "a").await, "MISS");
    assert_eq!(get("2", "a").await, "HIT", "the key accounts for who asks");
    assert_eq!(get("1", "b").await, "MISS");
    assert_eq!(get("1", "a/b").await, "MISS");
    client.send("DELETE", "/team", &[]).await;
    assert_eq!(get("1", "a").await, "HIT");
    assert_eq!(get("1", "a/b").await, "HIT", "a text is not a template");
}

async fn an_extension_selects_a_response(store: Store) {
    let client = serve(router(App::counting(store.cache()))).await;
    let admin: &[(&str, &str)] = &[("x-admin", "")];
    assert_eq!(client.get("/role").await.outcome(), "MISS");
    assert_eq!(client.get_with("/role", admin).await.outcome(), "MISS");
    assert_eq!(client.get("/role").await.text(), "run 0");
    assert_eq!(client.get_with("/role", admin).await.text(), "run 1");
    let authorized = [("x-admin", ""), ("authorization", "x")];
    let reply = client.get_with("/role", &authorized).await;
    assert_eq!(reply.outcome(), "BYPASS", "a role does not tell who asks");
}

async fn a_function_makes_the_key_of_the_head_of_the_request(store: Store) {
    let client = serve(Router::new().nest("/v1", router(App::counting(store.cache())))).await;
    for path in ["/v1/tenant", "/v1/tenant-async"] {
        let get = async |tenant| client.get_with(path, &[("x-tenant", tenant)]).await;
        assert_eq!(get("a").await.outcome(), "MISS");
        assert_eq!(get("b").await.outcome(), "MISS", "{path}");
        assert_eq!(get("a").await.outcome(), "HIT");
        let authorized = [("x-tenant", "a"), ("authorization", "x")];
        assert_eq!(client.get_with(path, &authorized).await.outcome(), "BYPASS");
    }
    assert_eq!(
        tenant::key("a/v1/tenant"),
        tenant::key("a/v1/tenant".to_owned())
    );
    assert_ne!(tenant::key("a/v1/tenant"), tenant_async::key("a/v1/tenant"));
}

async fn long_keys_and_groups_are_hashed_and_still_evicted(store: Store) {
    let client = serve(router(App::counting(store.cache()))).await;
    let (one, other) = ("x".repeat(2_000), format!("{}y", "x".repeat(1_999)));
    let paths = [&one, &other].map(|owner| format!("/repos/{owner}/n"));
    for outcome in ["MISS", "HIT"] {
        for path in &paths {
            assert_eq!(client.get(path).await.outcome(), outcome);
        }
    }
    client.send("POST", &format!("/owners/{one}"), &[]).await;
    assert_eq!(client.get(&paths[0]).await.outcome(), "MISS");
    assert_eq!(client.get(&paths[1]).await.outcome(), "HIT");
}

/// The parts of a key, as its user names them.
#[test]
fn keys_can_be_named_in_code() {
    let keys: [CacheKey; 3] = [
        product::key(42),
        product::key(u64::from(42_u8)),
        product::key(43),
    ];
    assert_eq!(keys[0], keys[1]);
    assert_ne!(keys[1], keys[2]);
    assert_eq!(
        repo::key("a", String::from("b")),
        repo::key("a".to_owned(), "b")
    );
    assert_ne!(repo::key("a", "b"), repo::key("ab", ""));
    assert_eq!(
        feed::key(1, 2, None::<String>),
        feed::key(1_u64, 2_u32, None::<&str>)
    );
    assert_ne!(feed::key(1, 2, Some("~")), feed::key(1, 2, None::<&str>));
    assert_eq!(
        of_team::key("/team?x=1"),
        of_team::key("/team"),
        "it sees no query"
    );
}
