//! Groups that only the response knows.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum_redis_cache::{Cache, Explanation, Groups, Settings, cache_evict, cache_put, cached};
use futures_util::future::join_all;
use futures_util::stream;
use test_support::{Client, Gate, RedisCluster, RedisServer, until};

use crate::support::{
    App, Store, answer, asked, become_stale, is_stored, on_every_store, patient, request, serve,
    serve_counted, settings, stored,
};

#[cached(ttl = 30)]
async fn page(Path(number): Path<u32>, State(app): State<App>) -> Response {
    let _ = number;
    app.run().await
}

#[cache_put(page)]
async fn write_page(Path(_): Path<u32>) -> (Groups, &'static str) {
    (Groups::from(["item:1"]), "written")
}

#[cached(ttl = "100ms", stale_while_revalidate = 60, stale_if_error = 60)]
async fn lasting(State(app): State<App>) -> Response {
    app.run().await
}

#[cached(ttl = 30, vary_by(number))]
async fn varied(Path(number): Path<u32>, State(app): State<App>) -> Response {
    let _ = number;
    app.run().await
}

async fn uncached() -> impl IntoResponse {
    (Groups::from(["item:1"]), "text")
}

#[cache_evict(group = "item:{id}")]
async fn change_item(Path(id): Path<u32>) {
    let _ = id;
}

#[cache_evict(group = "brand:{brand}")]
async fn change_brand(Path(brand): Path<String>) {
    let _ = brand;
}

#[cache_evict(page)]
async fn drop_page(Path(_): Path<u32>) {}

fn router(app: App) -> Router {
    Router::new()
        .route(
            "/pages/{number}",
            get(page).put(write_page).delete(drop_page),
        )
        .route("/lasting", get(lasting))
        .route("/varied/{number}", get(varied))
        .route("/uncached", get(uncached))
        .route("/items/{id}", post(change_item))
        .route("/brands/{brand}", post(change_brand))
        .with_state(app)
}

/// The items that the next response shows.
#[derive(Clone, Default)]
struct Shown(Arc<Mutex<Vec<u32>>>);

impl Shown {
    fn of(items: impl IntoIterator<Item = u32>) -> Self {
        Self(Arc::new(Mutex::new(items.into_iter().collect())))
    }

    fn show(&self, items: &[u32]) {
        items.clone_into(&mut self.0.lock().unwrap());
    }

    fn groups(&self) -> Groups {
        let items = self.0.lock().unwrap();
        items.iter().map(|id| format!("item:{id}")).collect()
    }

    /// Returns an app that answers `run 0`, `run 1` and so on, in the groups of the items.
    fn app(&self, cache: Cache) -> App {
        let shown = self.clone();
        App::new(cache, move |run| {
            let groups = shown.groups();
            async move { (groups, format!("run {run}")) }
        })
    }
}

async fn client(store: Store, shown: &Shown) -> Client {
    serve(router(shown.app(store.cache()))).await
}

async fn change(client: &Client, id: u32) {
    let reply = client.send("POST", &format!("/items/{id}"), &[]).await;
    assert_eq!(reply.outcome(), "EVICTED");
}

on_every_store!(
    the_second_response_that_names_a_group_is_stored,
    changing_an_item_drops_exactly_the_pages_that_show_it,
    a_response_in_more_groups_than_before_is_stored_the_next_time,
    an_item_that_left_a_page_does_not_drop_it,
    an_eviction_during_the_run_is_not_forgotten,
    an_eviction_just_before_the_run_costs_no_second_run,
    groups_are_not_sent_to_clients,
    two_parts_with_groups_are_united,
    values_are_spelled_as_in_templates,
    a_response_in_too_many_groups_is_not_stored,
    many_groups_are_kept,
    a_write_stores_its_response_in_its_groups,
    evicting_the_key_drops_a_response_in_groups,
    an_eviction_of_a_group_that_is_not_named_any_more_costs_nothing,
    a_forced_run_in_a_new_group_keeps_the_stored_response,
    variants_have_groups_of_their_own,
    streams_are_stored_in_their_groups,
    a_stale_response_is_not_served_after_its_group_was_evicted,
    a_stale_response_is_served_until_one_in_a_new_group_is_stored,
    concurrent_requests_share_the_second_run,
    scopes_have_groups_of_their_own,
    values_are_in_the_groups_that_they_name,
    values_that_are_set_are_in_their_groups,
    an_explanation_names_the_groups_of_the_response,
);

async fn the_second_response_that_names_a_group_is_stored(store: Store) {
    let client = client(store, &Shown::of([1, 2])).await;
    assert_eq!(asked(&client, "/pages/1").await, answer("MISS", "run 0"));
    assert_eq!(asked(&client, "/pages/1").await, answer("MISS", "run 1"));
    assert_eq!(asked(&client, "/pages/1").await, answer("HIT", "run 1"));
}

async fn changing_an_item_drops_exactly_the_pages_that_show_it(store: Store) {
    let shown = Shown::of([1, 2]);
    let client = client(store, &shown).await;
    stored(&client, "/pages/1").await;
    shown.show(&[2, 3]);
    stored(&client, "/pages/2").await;
    change(&client, 4).await;
    assert!(is_stored(&client, "/pages/1").await && is_stored(&client, "/pages/2").await);
    change(&client, 1).await;
    assert!(!is_stored(&client, "/pages/1").await && is_stored(&client, "/pages/2").await);
    change(&client, 2).await;
    assert!(!is_stored(&client, "/pages/2").await);
    // The groups are known, so the next response is stored at once.
    assert_eq!(client.get("/pages/2").await.outcome(), "MISS");
    assert!(is_stored(&client, "/pages/2").await);
}

async fn a_response_in_more_groups_than_before_is_stored_the_next_time(store: Store) {
    let shown = Shown::of([1]);
    let client = client(store, &shown).await;
    stored(&client, "/pages/1").await;
    shown.show(&[1, 2]);
    change(&client, 1).await;
    for (outcome, is_stored_now) in [("MISS", false), ("MISS", true), ("HIT", true)] {
        assert_eq!(client.get("/pages/1").await.outcome(), outcome);
        assert_eq!(is_stored(&client, "/pages/1").await, is_stored_now);
    }
    change(&client, 2).await;
    assert!(!is_stored(&client, "/pages/1").await);
}

async fn an_item_that_left_a_page_does_not_drop_it(store: Store) {
    let shown = Shown::of([1, 2]);
    let client = client(store, &shown).await;
    stored(&client, "/pages/1").await;
    shown.show(&[2]);
    change(&client, 1).await;
    assert_eq!(client.get("/pages/1").await.outcome(), "MISS");
    change(&client, 1).await;
    assert!(is_stored(&client, "/pages/1").await);
    // Item 2 comes back: the cache still remembers its group.
    shown.show(&[1, 2]);
    change(&client, 2).await;
    assert_eq!(client.get("/pages/1").await.outcome(), "MISS");
    assert!(is_stored(&client, "/pages/1").await);
    change(&client, 1).await;
    assert!(!is_stored(&client, "/pages/1").await);
}

async fn an_eviction_during_the_run_is_not_forgotten(store: Store) {
    // The group is new in the first run, and known in the second one.
    for gated in [0, 1] {
        let gate = Gate::new();
        let waiting = gate.clone();
        let app = App::new(store.cache(), move |run| {
            let gate = waiting.clone();
            async move {
                if run == gated {
                    gate.pass().await;
                }
                (Groups::from(["item:1"]), format!("run {run}"))
            }
        });
        let client = serve(router(app)).await;
        for run in 0..gated {
            let expected = answer("MISS", &format!("run {run}"));
            assert_eq!(asked(&client, "/pages/1").await, expected);
        }
        let under_way = tokio::spawn(async move { asked(&client, "/pages/1").await });
        gate.entered().await;
        change(&client, 1).await;
        gate.open();
        assert_eq!(
            under_way.await.unwrap(),
            answer("MISS", &format!("run {gated}"))
        );
        assert!(!is_stored(&client, "/pages/1").await);
        let next = format!("run {}", gated + 1);
        assert_eq!(asked(&client, "/pages/1").await, answer("MISS", &next));
        assert_eq!(asked(&client, "/pages/1").await, answer("HIT", &next));
    }
}

async fn an_eviction_just_before_the_run_costs_no_second_run(store: Store) {
    let client = client(store, &Shown::of([1])).await;
    assert_eq!(asked(&client, "/pages/1").await, answer("MISS", "run 0"));
    change(&client, 1).await;
    assert_eq!(asked(&client, "/pages/1").await, answer("MISS", "run 1"));
    assert_eq!(asked(&client, "/pages/1").await, answer("HIT", "run 1"));
}

async fn groups_are_not_sent_to_clients(store: Store) {
    let settings = settings().cache_status(true).cache_groups(true);
    let app = Shown::of([1]).app(store.cache_with(settings));
    let client = serve(router(app)).await;
    for (method, path) in [
        ("GET", "/pages/1"),
        ("GET", "/pages/1"),
        ("GET", "/pages/1"),
        ("HEAD", "/pages/1"),
        ("PUT", "/pages/1"),
        ("GET", "/uncached"),
    ] {
        let reply = client.send(method, path, &[]).await;
        assert!(reply.status.is_success());
        assert!(
            !format!("{:?}", reply.headers).contains("item"),
            "{method} {path}"
        );
    }
}

async fn two_parts_with_groups_are_united(store: Store) {
    let app = App::new(store.cache(), |_| async {
        let parts = (Groups::from(["item:1", "item:2"]), Groups::from(["item:3"]));
        (parts.0, parts.1, "text")
    });
    let client = serve(router(app)).await;
    for id in [1, 2, 3] {
        stored(&client, "/pages/1").await;
        change(&client, id).await;
        assert!(!is_stored(&client, "/pages/1").await, "{id}");
    }
}

async fn values_are_spelled_as_in_templates(store: Store) {
    for (brand, encoded) in [
        ("acme", "acme"),
        ("caf\u{e9}", "caf%C3%A9"),
        ("a/b:c%", "a%2Fb:c%25"),
        ("~", "~"),
    ] {
        let app = App::new(store.cache(), move |run| async move {
            (Groups::each("brand:", [brand]), format!("run {run}"))
        });
        let client = serve(router(app)).await;
        stored(&client, "/pages/1").await;
        let path = format!("/brands/{encoded}");
        let reply = client.send("POST", &path, &[]).await;
        assert_eq!(reply.outcome(), "EVICTED");
        assert!(!is_stored(&client, "/pages/1").await, "{brand:?}");
    }
}

async fn a_response_in_too_many_groups_is_not_stored(store: Store) {
    for count in [257, 10_000] {
        let client = client(store, &Shown::of(0..count)).await;
        for run in 0..3 {
            let expected = answer("BYPASS", &format!("run {run}"));
            assert_eq!(asked(&client, "/pages/1").await, expected);
        }
    }
}

async fn many_groups_are_kept(store: Store) {
    for count in [1, 10, 100, 256] {
        let client = client(store, &Shown::of(0..count)).await;
        for id in [0, count / 2, count - 1] {
            stored(&client, "/pages/1").await;
            change(&client, id).await;
            assert!(!is_stored(&client, "/pages/1").await, "{id} of {count}");
        }
    }
}

async fn a_write_stores_its_response_in_its_groups(store: Store) {
    let client = client(store, &Shown::of([1])).await;
    let put = async || {
        client
            .send("PUT", "/pages/1", &[])
            .await
            .outcome()
            .to_owned()
    };
    assert_eq!(put().await, "EVICTED");
    assert_eq!(put().await, "STORED");
    assert_eq!(asked(&client, "/pages/1").await, answer("HIT", "written"));
    change(&client, 1).await;
    assert_eq!(asked(&client, "/pages/1").await, answer("MISS", "run 0"));
    assert_eq!(put().await, "STORED");
    assert_eq!(asked(&client, "/pages/1").await, answer("HIT", "written"));
}

async fn evicting_the_key_drops_a_response_in_groups(store: Store) {
    let client = client(store, &Shown::of([1])).await;
    stored(&client, "/pages/1").await;
    let reply = client.send("DELETE", "/pages/1", &[]).await;
    assert_eq!(reply.outcome(), "EVICTED");
    assert_eq!(client.get("/pages/1").await.outcome(), "MISS");
    assert!(
        is_stored(&client, "/pages/1").await,
        "the groups are still known"
    );
}

async fn an_eviction_of_a_group_that_is_not_named_any_more_costs_nothing(store: Store) {
    let shown = Shown::of([1, 2]);
    let gate = Gate::new();
    let (waiting, items) = (gate.clone(), shown.clone());
    let app = App::new(store.cache(), move |run| {
        let (gate, groups) = (waiting.clone(), items.groups());
        async move {
            if run == 2 {
                gate.pass().await;
            }
            (groups, format!("run {run}"))
        }
    });
    let (client, arrivals) = serve_counted(router(app.clone())).await;
    stored(&client, "/pages/1").await;
    shown.show(&[2]);
    change(&client, 2).await;
    let leader = tokio::spawn(async move { asked(&client, "/pages/1").await });
    gate.entered().await;
    let ask = || tokio::spawn(async move { asked(&client, "/pages/1").await });
    let follower = arrivals.arrival_of(ask).await;
    change(&client, 1).await;
    gate.open();
    assert_eq!(leader.await.unwrap(), answer("MISS", "run 2"));
    assert_eq!(follower.await.unwrap(), answer("HIT", "run 2"));
    assert_eq!(app.runs(), 3);
}

async fn a_forced_run_in_a_new_group_keeps_the_stored_response(store: Store) {
    let shown = Shown::of([1]);
    let client = client(store, &shown).await;
    stored(&client, "/pages/1").await;
    shown.show(&[1, 2]);
    let force = async || {
        client
            .get_with("/pages/1", &[("cache-control", "no-cache")])
            .await
    };
    assert_eq!(force().await.text(), "run 2");
    assert_eq!(asked(&client, "/pages/1").await, answer("HIT", "run 1"));
    assert_eq!(force().await.text(), "run 3");
    assert_eq!(asked(&client, "/pages/1").await, answer("HIT", "run 3"));
}

async fn variants_have_groups_of_their_own(store: Store) {
    let shown = Shown::of([1]);
    let client = client(store, &shown).await;
    stored(&client, "/varied/1").await;
    shown.show(&[2]);
    stored(&client, "/varied/2").await;
    change(&client, 1).await;
    assert!(!is_stored(&client, "/varied/1").await && is_stored(&client, "/varied/2").await);
}

async fn streams_are_stored_in_their_groups(store: Store) {
    let app = App::new(store.cache(), |run| async move {
        let pieces = [
            Ok::<_, std::io::Error>("run "),
            Ok(if run == 0 { "0" } else { "1" }),
        ];
        let later = stream::once(async {
            tokio::task::yield_now().await;
            Ok("")
        });
        let body = futures_util::StreamExt::chain(later, stream::iter(pieces));
        (Groups::from(["item:1"]), Body::from_stream(body))
    });
    let client = serve(router(app)).await;
    stored(&client, "/pages/1").await;
    change(&client, 1).await;
    assert!(!is_stored(&client, "/pages/1").await);
}

async fn a_stale_response_is_not_served_after_its_group_was_evicted(store: Store) {
    let app = App::new(store.cache(), |run| async move {
        if run > 1 {
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
        (Groups::from(["item:1"]), format!("run {run}")).into_response()
    });
    let client = serve(router(app)).await;
    assert_eq!(asked(&client, "/lasting").await, answer("MISS", "run 0"));
    assert_eq!(asked(&client, "/lasting").await, answer("MISS", "run 1"));
    become_stale().await;
    assert_eq!(asked(&client, "/lasting").await, answer("STALE", "run 1"));
    change(&client, 1).await;
    assert_eq!(client.get("/lasting").await.status.as_u16(), 500);
}

async fn a_stale_response_is_served_until_one_in_a_new_group_is_stored(store: Store) {
    let shown = Shown::of([1]);
    let app = shown.app(store.cache());
    let client = serve(router(app.clone())).await;
    assert_eq!(asked(&client, "/lasting").await, answer("MISS", "run 0"));
    assert_eq!(asked(&client, "/lasting").await, answer("MISS", "run 1"));
    shown.show(&[1, 2]);
    become_stale().await;
    // The first refresh finds the new group, the second one stores the response.
    until("a new response", async || {
        let reply = client.get("/lasting").await;
        let is_old = reply.text() == "run 1";
        assert!(!is_old || reply.outcome() == "STALE", "{}", reply.outcome());
        assert!(is_old || reply.outcome() != "MISS");
        !is_old
    })
    .await;
    assert!(app.runs() > 3);
}

async fn concurrent_requests_share_the_second_run(store: Store) {
    let app = App::new(store.cache(), |run| async move {
        tokio::time::sleep(Duration::from_millis(50)).await;
        (Groups::from(["item:1"]), format!("run {run}"))
    });
    let client = serve(router(app.clone())).await;
    let replies = join_all((0..20).map(|_| client.get("/pages/1"))).await;
    let texts: BTreeSet<_> = replies
        .iter()
        .map(|reply| reply.text().to_owned())
        .collect();
    assert!(
        texts.iter().all(|text| text == "run 0" || text == "run 1"),
        "{texts:?}"
    );
    assert_eq!(app.runs(), 2);
}

async fn scopes_have_groups_of_their_own(store: Store) {
    let cache = store.cache();
    let shown = Shown::of([1]);
    let german = serve(router(shown.app(cache.scoped("de")))).await;
    let french = serve(router(shown.app(cache.scoped("fr")))).await;
    stored(&german, "/pages/1").await;
    stored(&french, "/pages/1").await;
    change(&german, 1).await;
    assert!(!is_stored(&german, "/pages/1").await && is_stored(&french, "/pages/1").await);
}

async fn values_are_in_the_groups_that_they_name(store: Store) {
    let cache = store.cache();
    let values = cache.group("menus").ttl(30);
    let menu = async |text: &'static str| {
        let make = async || (Groups::from(["item:1"]), text.to_owned());
        values.get_or_insert_with_groups("menu", make).await
    };
    assert_eq!(menu("first").await, "first");
    assert_eq!(menu("second").await, "second");
    assert_eq!(menu("third").await, "second");
    cache.delete_group("item:2").await;
    assert_eq!(menu("third").await, "second");
    cache.delete_group("item:1").await;
    assert_eq!(menu("fourth").await, "fourth");
    assert_eq!(menu("fifth").await, "fourth");
    let failing = async || Err::<(Groups, String), _>("error");
    cache.delete_group("item:1").await;
    let failed = values.get_or_try_insert_with_groups("menu", failing).await;
    assert_eq!(failed, Err("error"));
}

async fn values_that_are_set_are_in_their_groups(store: Store) {
    let cache = store.cache();
    let values = cache.ttl(30);
    let groups = Groups::from_iter(["item:1", "item:2"]);
    for evicted in ["item:1", "item:2"] {
        values.set_with_groups("key", &1, &groups).await;
        cache.delete_group("item:3").await;
        assert_eq!(values.get("key").await, Some(1));
        cache.delete_group(evicted).await;
        assert_eq!(values.get::<u32>("key").await, None);
    }
    let too_many: Groups = (0..257).map(|id| format!("item:{id}")).collect();
    values.set_with_groups("key", &1, &too_many).await;
    assert_eq!(values.get::<u32>("key").await, None);
}

async fn an_explanation_names_the_groups_of_the_response(store: Store) {
    let shown = Shown::of([1, 2]);
    let app = shown.app(store.cache());
    let router = router(app);
    let client = serve(router.clone()).await;
    let explain = async || {
        let request = request("GET", "/pages/1", &[]);
        Explanation::of(router.clone(), request).await.unwrap()
    };
    assert_eq!(client.get("/pages/1").await.outcome(), "MISS");
    assert!(
        explain()
            .await
            .reason
            .contains("named groups for the first time")
    );
    stored(&client, "/pages/1").await;
    assert_eq!(explain().await.groups, ["item:1", "item:2"]);
    change(&client, 2).await;
    let evicted = explain().await.entry.unwrap().evicted;
    assert_eq!(evicted, ["item:2"]);
}

/// Returns two processes with the same store. The second process has not seen a response yet.
async fn two_processes(settings: Settings) -> (Client, Client) {
    let shown = Shown::of(1..=40);
    let process = async || {
        let cache = Cache::connect(settings.clone()).unwrap();
        serve(router(shown.app(cache))).await
    };
    (process().await, process().await)
}

async fn is_coherent(settings: Settings) {
    let (first, second) = two_processes(settings).await;
    stored(&first, "/pages/1").await;
    assert_eq!(second.get("/pages/1").await.outcome(), "HIT");
    for (evicting, asking) in [(&first, &second), (&second, &first)] {
        for id in [1, 20, 40] {
            stored(asking, "/pages/1").await;
            stored(asking, "/pages/1").await;
            change(evicting, id).await;
            assert_eq!(asking.get("/pages/1").await.outcome(), "MISS", "{id}");
        }
    }
}

#[tokio::test]
async fn processes_learn_groups_from_the_responses_of_others() {
    is_coherent(settings()).await;
}

#[tokio::test]
async fn processes_of_a_cluster_learn_groups_from_the_responses_of_others() {
    let settings = Settings::from_url(RedisCluster::shared().url()).unwrap();
    let settings = settings
        .socket_timeout(Duration::from_secs(10))
        .cluster(true);
    is_coherent(settings.prefix(RedisServer::unique_prefix()).unwrap()).await;
}

#[tokio::test]
async fn near_caches_are_coherent_about_the_groups_of_responses() {
    let settings = settings().near_cache_bytes(1 << 24).unwrap();
    let window = Duration::from_secs(1);
    is_coherent(settings.near_cache_window(window).unwrap()).await;
}

#[tokio::test]
async fn near_caches_keep_entries_whose_groups_were_not_known() {
    let redis = RedisServer::start();
    let near = || {
        let settings = patient(&redis).near_cache_bytes(1 << 24).unwrap();
        Cache::connect(settings.near_cache_window(Duration::from_secs(1)).unwrap()).unwrap()
    };
    let (first, second) = (near(), near());
    let groups = Groups::from(["item:1", "item:2"]);
    first.ttl(30).set_with_groups("key", &1, &groups).await;
    assert_eq!(second.get("key").await, Some(1));
    until("a HIT in the near cache", async || {
        let before = redis.command_count("mget");
        assert_eq!(second.get("key").await, Some(1));
        redis.command_count("mget") == before
    })
    .await;
    first.delete_group("item:2").await;
    assert_eq!(second.get::<u32>("key").await, None);
}

/// Another process stores its response between the lookup and the lease of this process.
#[tokio::test]
async fn the_first_response_in_new_groups_does_not_replace_one_that_is_stored() {
    let settings = settings();
    let gate = Gate::new();
    let waiting = gate.clone();
    let slow = App::new(Cache::connect(settings.clone()).unwrap(), move |run| {
        let gate = waiting.clone();
        async move {
            gate.pass().await;
            (Groups::from(["item:1"]), format!("slow {run}"))
        }
    });
    let shown = Shown::of([1]);
    let quick = shown.app(Cache::connect(settings).unwrap());
    let (slow, quick) = (serve(router(slow)).await, serve(router(quick)).await);
    let forced = [("cache-control", "no-cache")];
    let under_way = tokio::spawn(async move { slow.get_with("/lasting", &forced).await });
    gate.entered().await;
    gate.open();
    assert_eq!(under_way.await.unwrap().outcome(), "MISS");
    assert_eq!(asked(&quick, "/lasting").await, answer("MISS", "run 0"));
    assert_eq!(asked(&quick, "/lasting").await, answer("HIT", "run 0"));
    let reply = slow
        .get_with("/lasting", &[("cache-control", "only-if-cached")])
        .await;
    assert_eq!((reply.outcome(), reply.text()), ("HIT", "run 0"));
}

#[tokio::test]
async fn a_process_that_starts_learns_the_groups_of_an_evicted_response() {
    let (first, second) = two_processes(settings()).await;
    stored(&first, "/pages/1").await;
    change(&first, 1).await;
    assert_eq!(second.get("/pages/1").await.outcome(), "MISS");
    assert!(is_stored(&second, "/pages/1").await);
}

#[tokio::test]
async fn a_response_that_is_not_stored_leaves_no_names_of_its_groups() {
    let settings = settings();
    let prefix = RedisServer::unique_prefix();
    let cache = Cache::connect(settings.prefix(prefix.clone()).unwrap()).unwrap();
    let shown = Shown::of(0..1000);
    let client = serve(router(shown.app(cache))).await;
    let names = || {
        let mut connection = RedisServer::shared().connection();
        let names = redis::cmd("KEYS")
            .arg(format!("{prefix}:*item*"))
            .query(&mut connection);
        let names: Vec<String> = names.unwrap();
        names
    };
    client.get("/pages/1").await;
    shown.show(&[1, 2]);
    assert_eq!(client.get("/pages/1").await.outcome(), "MISS");
    assert_eq!(names(), [""; 0]);
    stored(&client, "/pages/1").await;
    assert_eq!(names().len(), 2);
}
