//! Keys made of values: what shares an entry, and what never does.

use axum::Router;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, FromRequestParts, Path, Query, RawQuery, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{get, post};
use axum_redis_cache::{
    CacheKey, Determined, IdentifiesCaller, KeyPart, KeyWriter, Source, cache_evict, cached,
};
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

#[cached(ttl = 30)]
async fn search(Query(page): Query<Page>, State(app): State<App>) -> Response {
    let _ = (page.page, page.tags);
    app.run().await
}

#[cached(ttl = 30, query("page", "sort"), ignore(query))]
async fn search_some(RawQuery(query): RawQuery, State(app): State<App>) -> Response {
    drop(query);
    app.run().await
}

#[cached(ttl = 30, ignore(query))]
async fn search_none(RawQuery(query): RawQuery, State(app): State<App>) -> Response {
    drop(query);
    app.run().await
}

#[cached(ttl = 30)]
async fn pairs(Query(pairs): Query<Vec<(String, String)>>, State(app): State<App>) -> Response {
    drop(pairs);
    app.run().await
}

#[cached(ttl = 30)]
async fn search_optional(
    page: Result<Query<Page>, QueryRejection>,
    State(app): State<App>,
) -> Response {
    drop(page);
    app.run().await
}

/// An extractor of the user's own, of which only a trait says what determines it.
struct Sort;

impl<S: Sync> FromRequestParts<S> for Sort {
    type Rejection = StatusCode;

    async fn from_request_parts(_: &mut Parts, _: &S) -> Result<Self, StatusCode> {
        Ok(Self)
    }
}

impl Determined for Sort {
    const BY: Source = Source::PathAndQuery;
}

type Hidden = Sort;

#[cached(ttl = 30)]
async fn sorted(_: Hidden, State(app): State<App>) -> Response {
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
        .route("/search", get(search))
        .route("/search/some", get(search_some))
        .route("/search/none", get(search_none))
        .route("/search/optional", get(search_optional))
        .route("/search/pairs", get(pairs))
        .route("/sorted", get(sorted))
        .route("/role", get(by_role).layer(middleware::from_fn(set_role)))
        .with_state(app)
}

on_every_store!(
    a_template_is_evicted_wherever_the_handler_is_mounted,
    different_values_never_share_an_entry,
    a_group_may_be_made_of_values,
    field_paths_select_and_nothing_else_does,
    values_select_a_response_and_its_group,
    an_extension_selects_a_response,
    a_function_makes_the_key_of_the_head_of_the_request,
    the_query_is_in_the_key_only_if_the_handler_can_see_it,
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

async fn field_paths_select_and_nothing_else_does(store: Store) {
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

async fn the_query_is_in_the_key_only_if_the_handler_can_see_it(store: Store) {
    let client = serve(router(App::counting(store.cache()))).await;
    let outcomes = async |targets: [&str; 3]| {
        let mut outcomes = Vec::new();
        for target in targets {
            outcomes.push(client.get(target).await.outcome().to_owned());
        }
        outcomes.join(" ")
    };
    let targets = [
        "/search?page=1&utm=a",
        "/search?page=1&utm=b",
        "/search?page=1&utm=a",
    ];
    assert_eq!(outcomes(targets).await, "MISS HIT HIT");
    let targets = ["/search?page=2", "/search?page=1&tags=a", "/search?page=1"];
    assert_eq!(outcomes(targets).await, "MISS MISS HIT");
    let targets = [
        "/search/some?page=1&utm=a",
        "/search/some?utm=b&page=1",
        "/search/some",
    ];
    assert_eq!(outcomes(targets).await, "MISS HIT MISS");
    let targets = [
        "/search/none?utm_source=a",
        "/search/none?utm_source=b",
        "/search/none",
    ];
    assert_eq!(outcomes(targets).await, "MISS HIT HIT");
    let targets = [
        "/search/optional?page=1",
        "/search/optional?page=2",
        "/search/optional",
    ];
    assert_eq!(outcomes(targets).await, "MISS MISS MISS");
    let targets = [
        "/search/pairs?a=1&utm=a",
        "/search/pairs?a=1&utm=b",
        "/search/pairs?a=1",
    ];
    assert_eq!(outcomes(targets).await, "MISS MISS MISS");
    let targets = ["/sorted?a", "/sorted?b", "/sorted?a"];
    assert_eq!(outcomes(targets).await, "MISS MISS HIT");
}

/// `/search?utm_source=..` of a handler that takes no query is the same resource.
#[cached(ttl = 30)]
async fn no_query(State(app): State<App>) -> Response {
    app.run().await
}

on_every_store!(
    what_a_handler_cannot_see_does_not_split_its_cache,
    long_keys_and_groups_are_hashed_and_still_evicted,
);

async fn what_a_handler_cannot_see_does_not_split_its_cache(store: Store) {
    let router = Router::new().route("/search", get(no_query));
    let client = serve(router.with_state(App::counting(store.cache()))).await;
    assert_eq!(client.get("/search?utm_source=a").await.outcome(), "MISS");
    assert_eq!(client.get("/search?utm_source=b").await.outcome(), "HIT");
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

/// What a key is made of, as its user names it.
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
    assert_ne!(
        search_some::key("/search?page=1"),
        search_some::key("/search")
    );
    assert_eq!(
        search_some::key("/search?sort=1&page=%41&b=1"),
        search_some::key("/search?page=A&sort=1")
    );
    assert_ne!(
        pairs::key("/pairs?b=1&a=A"),
        pairs::key("/pairs?a=A&b=1"),
        "it sees the order"
    );
}

mod of_other_crates {
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

    on_every_store!(ids_and_extractors_of_other_crates_are_known,);

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
}
