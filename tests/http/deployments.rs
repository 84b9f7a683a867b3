//! The attributes, the extractor and the health checks, however Redis is run.

use std::sync::LazyLock;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::{get, post};
use axum_redis_cache::{Cache, CertReqs, ConnectionState, Redis, Settings, cache_evict, cached};
use redis::AsyncCommands;
use test_support::{
    Certificates, Client, Log, Passwords, Proxy, RedisCluster, RedisSentinels, RedisServer, until,
};

use tracing::Level;

use crate::support::{App, serve};

#[cached(ttl = 30, group = ["numbers", "number {id}"])]
async fn number(Path(id): Path<u32>, State(app): State<App>) -> Response {
    let _ = id;
    app.run().await
}

#[cache_evict(group = "numbers")]
async fn evict_group() {}

#[cache_evict(all)]
async fn evict_all() {}

/// Counts in Redis how often it was asked for.
async fn visit(Path(name): Path<String>, mut redis: Redis) -> String {
    let visits: Result<u64, _> = redis.incr(&name, 1).await;
    visits.map_or_else(|error| error.to_string(), |visits| visits.to_string())
}

async fn start(cache: Cache) -> Client {
    let app = App::counting(cache);
    let router = Router::new()
        .route("/numbers/{id}", get(number))
        .route("/numbers/evict", post(evict_group))
        .route("/evict", post(evict_all))
        .route("/visits/{name}", post(visit))
        .with_state(app);
    serve(router).await
}

/// Checks that the log names this cause of faults once.
fn is_named_once(log: &Log, cause: &str) {
    let log = log.text();
    let causes = log.lines().filter(|line| line.contains("cause="));
    let named = causes.filter(|line| line.contains(cause)).count();
    assert_eq!(named, 1, "{log}");
}

/// Checks the promises that hold for every deployment.
async fn keeps_its_promises(settings: Settings) {
    let settings = settings
        .prefix(RedisServer::unique_prefix())
        .unwrap()
        .socket_timeout(Duration::from_secs(10));
    let cache = Cache::connect(settings).unwrap();
    let idle = cache.status();
    assert!(idle.is_connected());
    cache.ping().await.unwrap();
    let servers = cache.status().servers;
    let mut connections = servers.iter().flat_map(|server| &server.connections);
    assert!(connections.any(|state| *state == ConnectionState::Up));
    let client = start(cache.clone()).await;
    let outcomes = async |expected: &str| {
        for id in 0..20 {
            let reply = client.get(&format!("/numbers/{id}")).await;
            assert_eq!(reply.outcome(), expected, "{id}");
        }
    };
    outcomes("MISS").await;
    outcomes("HIT").await;
    client.send("POST", "/numbers/evict", &[]).await;
    outcomes("MISS").await;
    outcomes("HIT").await;
    client.send("POST", "/evict", &[]).await;
    outcomes("MISS").await;
    outcomes("HIT").await;
    let name = RedisServer::unique_prefix();
    for visits in ["1", "2"] {
        for id in 0..5 {
            let path = format!("/visits/{name}:{id}");
            assert_eq!(client.send("POST", &path, &[]).await.text(), visits);
        }
    }
    assert_eq!(cache.faults(), 0);
}

#[tokio::test]
async fn a_standalone_redis() {
    let redis = RedisServer::shared();
    keeps_its_promises(Settings::from_url(redis.url()).unwrap()).await;
}

#[tokio::test]
async fn a_redis_that_does_not_say_who_it_is() {
    let renamed = RedisServer::start_with(&["--rename-command", "INFO", ""]);
    keeps_its_promises(Settings::from_url(renamed.url()).unwrap()).await;

    let forbidden = RedisServer::start();
    let () = redis::cmd("ACL")
        .arg(&[
            "SETUSER", "shop", "on", ">secret", "~*", "&*", "+@all", "-info",
        ])
        .query(&mut forbidden.connection())
        .unwrap();
    let url = format!("redis://shop:secret@{}", forbidden.address());
    keeps_its_promises(Settings::from_url(url).unwrap()).await;
}

/// Some proxies and managed servers refuse these commands.
#[tokio::test]
async fn a_redis_without_some_commands() {
    for refused in [&["CLIENT"][..], &["HELLO"], &["INFO", "CLIENT", "HELLO"]] {
        let options = refused
            .iter()
            .flat_map(|name| ["--rename-command", name, ""]);
        let redis = RedisServer::start_with(&options.collect::<Vec<_>>());
        keeps_its_promises(Settings::from_url(redis.url()).unwrap()).await;
    }
}

#[tokio::test]
async fn the_password_is_not_in_the_log_if_the_login_is_refused() {
    let options = ["--rename-command", "HELLO", "", "--requirepass", "hunter2"];
    let redis = RedisServer::start_with(&options);
    let (log, _capture) = Log::capture(Level::INFO);
    let url = format!("redis://:hunter2@{}/1", redis.address());
    let settings = Settings::from_url(url).unwrap();
    let settings = settings.near_cache_bytes(16 << 20).unwrap();
    keeps_its_promises(settings).await;
    let log = log.text();
    assert!(log.contains("the near cache is off"), "{log}");
    assert!(!log.contains("hunter2"), "{log}");
}

#[tokio::test]
async fn a_redis_without_scripts_stores_nothing_and_the_log_says_so_once() {
    let without = RedisServer::start_with(&["--rename-command", "EVAL", ""]);
    let forbidden = RedisServer::start();
    let rules = ["SETUSER", "shop", "on", ">secret", "~*", "+@all", "-eval"];
    forbidden.command(&[&["ACL"], &rules[..]].concat());
    let forbidden_url = format!("redis://shop:secret@{}", forbidden.address());
    for url in [without.url(), forbidden_url] {
        let (log, _capture) = Log::capture(Level::INFO);
        let client = start(Cache::connect(Settings::from_url(url).unwrap()).unwrap()).await;
        for run in 0..5 {
            let reply = client.get("/numbers/1").await;
            assert_eq!(reply.status.as_u16(), 200);
            assert_eq!(reply.text(), format!("run {run}"));
            assert_eq!(
                client.send("POST", "/evict", &[]).await.outcome(),
                "EVICTED"
            );
        }
        let why = "Redis refuses scripts (EVAL): no response is stored";
        is_named_once(&log, why);
    }
}

#[tokio::test]
async fn another_database_over_several_connections() {
    let address = RedisServer::shared().address();
    let settings = Settings::default()
        .host(address.ip().to_string())
        .and_then(|settings| settings.port(address.port()))
        .and_then(|settings| settings.db(3))
        .and_then(|settings| settings.max_connections(4));
    keeps_its_promises(settings.unwrap()).await;
}

#[tokio::test]
async fn a_unix_socket() {
    let redis = RedisServer::start();
    let url = format!("unix://{}", redis.unix_socket().display());
    keeps_its_promises(Settings::from_url(url).unwrap()).await;
}

#[tokio::test]
async fn a_user_with_a_password() {
    let redis = RedisServer::start_with_user("shop", "p@ss:word");
    let url = format!("redis://shop:p%40ss%3Aword@{}", redis.address());
    keeps_its_promises(Settings::from_url(url).unwrap()).await;
    let address = redis.address();
    let fields = Settings::default()
        .host(address.ip().to_string())
        .and_then(|settings| settings.port(address.port()));
    let fields = fields.unwrap().username("shop");
    keeps_its_promises(fields.clone().password("p@ss:word")).await;
    let cache = Cache::connect(fields.password("wrong")).unwrap();
    let error = cache.ping().await.unwrap_err().to_string();
    assert!(error.starts_with(&address.to_string()), "{error}");
    assert!(!error.contains("wrong"), "{error}");
}

/// Certificates, and a server that only answers clients with one.
static TLS: LazyLock<(Certificates, RedisServer)> = LazyLock::new(|| {
    let certificates = Certificates::new();
    let redis = RedisServer::start_with_tls(&certificates, &["--tls-auth-clients", "yes"]);
    (certificates, redis)
});

#[tokio::test]
async fn tls_with_a_client_certificate() {
    if !RedisServer::has_tls() {
        return;
    }
    let (certificates, redis) = &*TLS;
    let settings = Settings::from_url(redis.url()).unwrap();
    let settings = settings
        .ssl_certfile(certificates.client())
        .ssl_keyfile(certificates.client_key());
    let trusting = settings.clone().ssl_ca_certs(certificates.ca());
    keeps_its_promises(trusting.clone()).await;
    // The certificate is for `localhost`.
    let url = format!("rediss://{}", redis.address());
    let by_address = trusting.url(url).unwrap();
    let cache = Cache::connect(by_address.clone()).unwrap();
    cache.ping().await.unwrap_err();
    keeps_its_promises(by_address.ssl_check_hostname(false)).await;
    let misled = settings.ssl_ca_certs(certificates.unrelated_ca());
    let cache = Cache::connect(misled.ssl_check_hostname(false)).unwrap();
    cache.ping().await.unwrap_err();
}

/// A server with a certificate that it signed itself, which is also one of an authority.
static SELF_SIGNED: LazyLock<(Certificates, RedisServer)> = LazyLock::new(|| {
    let certificates = Certificates::new();
    let files = certificates.self_signed(true);
    let redis = RedisServer::start_with_certificate(&certificates, &files);
    (certificates, redis)
});

/// Checks that a server with a certificate that it signed itself is talked to if that is trusted.
async fn can_be_trusted(redis: &RedisServer, certificates: &Certificates, file: &std::path::Path) {
    let settings = Settings::from_url(redis.url()).unwrap();
    let trusting = settings.clone().ssl_ca_certs(file);
    keeps_its_promises(trusting.clone()).await;
    // The certificate is for `localhost`.
    let url = format!("rediss://{}", redis.address());
    let by_address = trusting.url(url).unwrap();
    assert!(!is_answered(by_address.clone()).await);
    keeps_its_promises(by_address.ssl_check_hostname(false)).await;
    let other = settings.ssl_ca_certs(certificates.ca());
    assert!(!is_answered(other.ssl_check_hostname(false)).await);
}

#[tokio::test]
async fn the_certificate_that_a_server_signed_itself_can_be_trusted() {
    if !RedisServer::has_tls() {
        return;
    }
    let (certificates, redis) = &*SELF_SIGNED;
    can_be_trusted(redis, certificates, &certificates.self_signed(true)[0]).await;
    let files = certificates.self_signed(false);
    let redis = RedisServer::start_with_certificate(certificates, &files);
    can_be_trusted(&redis, certificates, &files[0]).await;
}

async fn is_answered(settings: Settings) -> bool {
    match Cache::connect(settings) {
        Ok(cache) => cache.ping().await.is_ok(),
        Err(_) => false,
    }
}

#[tokio::test]
async fn a_redis_is_talked_to_only_if_a_trusted_authority_vouches_for_it() {
    if !RedisServer::has_tls() {
        return;
    }
    let (files, redis) = &*TLS;
    let port = redis.address().port();
    let plain = Settings::default().port(port).unwrap();
    let tls = plain.clone().ssl(true);
    let with_key = tls.clone();
    let with_key = with_key
        .ssl_certfile(files.client())
        .ssl_keyfile(files.client_key());
    let trusting = with_key.clone().ssl_ca_certs(files.ca());
    let address = trusting.clone().host("127.0.0.1").unwrap();
    let misled = with_key.clone().ssl_ca_certs(files.unrelated_ca());
    let by_url = format!("rediss://localhost:{port}");
    for (settings, succeeds) in [
        (trusting.clone(), true),
        (trusting.clone().ssl(false).url(by_url).unwrap(), true),
        (address.clone(), false),
        (address.ssl_check_hostname(false), true),
        (misled.clone(), false),
        (misled.ssl_check_hostname(false), false),
        (with_key, false),
        (tls.ssl_ca_certs(files.ca()), false),
        (plain, false),
    ] {
        let settings = settings.socket_timeout(Duration::from_secs(10));
        assert_eq!(
            is_answered(settings.clone()).await,
            succeeds,
            "{settings:?}"
        );
    }
}

#[tokio::test]
async fn any_certificate_is_accepted_if_the_settings_say_so() {
    if !RedisServer::has_tls() {
        return;
    }
    let (certificates, redis) = &*SELF_SIGNED;
    let settings = Settings::from_url(format!("rediss://{}", redis.address())).unwrap();
    let settings = settings.ssl_cert_reqs(CertReqs::None);
    keeps_its_promises(settings.clone()).await;
    keeps_its_promises(settings.ssl_ca_certs(certificates.ca())).await;
}

#[tokio::test]
async fn sentinels_talk_tls_or_not_whatever_the_servers_do() {
    if !RedisServer::has_tls() {
        return;
    }
    let (certificates, tls) = &*SELF_SIGNED;
    let plain = RedisServer::shared();
    for (server, server_tls, sentinel_files) in [
        (tls, true, None),
        (plain, false, Some(certificates)),
        (tls, true, Some(certificates)),
    ] {
        let sentinel = RedisServer::start_sentinel_of(server, sentinel_files);
        let settings = Settings::default()
            .sentinel(true)
            .sentinel_nodes([sentinel.address().to_string()])
            .unwrap()
            .ssl(server_tls)
            .ssl_cert_reqs(CertReqs::None);
        let same = server_tls == sentinel_files.is_some();
        if !same {
            let cache = Cache::connect(settings.clone()).unwrap();
            cache.ping().await.unwrap_err();
        }
        let settings = settings.sentinel_ssl(sentinel_files.is_some());
        keeps_its_promises(settings).await;
    }
}

#[tokio::test]
async fn sentinels_may_have_certificates_of_their_own() {
    if !RedisServer::has_tls() {
        return;
    }
    let (files, redis) = &*TLS;
    let of_sentinels = Certificates::new();
    let sentinel = RedisServer::start_sentinel_of(redis, Some(&of_sentinels));
    let settings = Settings::default()
        .sentinel(true)
        .sentinel_nodes([format!("localhost:{}", sentinel.address().port())])
        .unwrap()
        .ssl(true)
        .ssl_ca_certs(files.ca())
        .ssl_certfile(files.client())
        .ssl_keyfile(files.client_key())
        // The Sentinel names the server by its address.
        .ssl_check_hostname(false)
        .sentinel_ssl_check_hostname(true)
        .sentinel_ssl_certfile(of_sentinels.client())
        .sentinel_ssl_keyfile(of_sentinels.client_key());
    assert!(!is_answered(settings.clone()).await);
    keeps_its_promises(settings.sentinel_ssl_ca_certs(of_sentinels.ca())).await;
}

#[tokio::test]
async fn a_cluster_named_by_any_of_its_nodes() {
    let cluster = RedisCluster::shared();
    keeps_its_promises(Settings::from_url(cluster.url()).unwrap().cluster(true)).await;
    for address in cluster.addresses() {
        let url = format!("redis://127.0.0.1:1,{address}");
        keeps_its_promises(Settings::from_url(url).unwrap().cluster(true)).await;
    }
}

#[tokio::test]
async fn a_cluster_over_tls() {
    if !RedisServer::has_tls() {
        return;
    }
    let certificates = Certificates::new();
    let cluster = RedisCluster::start_with_tls(&certificates);
    let nodes = cluster.addresses().into_iter();
    let nodes: Vec<_> = nodes.map(|it| format!("localhost:{}", it.port())).collect();
    let settings = Settings::from_url(format!("rediss://{}", nodes.join(","))).unwrap();
    let settings = settings.cluster(true);
    keeps_its_promises(settings.clone().ssl_ca_certs(certificates.ca())).await;
    assert!(!is_answered(settings.ssl_ca_certs(certificates.unrelated_ca())).await);
}

/// Valkey 9 has several databases in a cluster.
#[tokio::test]
async fn another_database_in_a_cluster() {
    let databases = ["--cluster-databases", "16"];
    let has_databases = RedisServer::has_setting("cluster-databases");
    let cluster = RedisCluster::start_with(if has_databases { &databases } else { &[] });
    let settings = Settings::from_url(format!("{}/3", cluster.url())).unwrap();
    let settings = settings.cluster(true);
    if has_databases {
        return keeps_its_promises(settings).await;
    }
    let (log, _capture) = Log::capture(Level::INFO);
    let client = start(Cache::connect(settings).unwrap()).await;
    for _ in 0..3 {
        assert_eq!(client.get("/numbers/1").await.outcome(), "BYPASS");
    }
    is_named_once(&log, "SELECT is not allowed in cluster mode");
}

#[tokio::test]
async fn in_a_cluster_entries_are_on_every_primary() {
    let cluster = RedisCluster::start();
    let settings = Settings::from_url(cluster.url()).unwrap().cluster(true);
    let client = start(Cache::connect(settings).unwrap()).await;
    for id in 0..60 {
        client.get(&format!("/numbers/{id}")).await;
    }
    for primary in 0..3 {
        let mut connection = cluster.connection(primary);
        let names: Vec<String> = redis::cmd("KEYS")
            .arg("*:cache:e:*")
            .query(&mut connection)
            .unwrap();
        assert!(names.len() > 5, "{primary}: {names:?}");
    }
}

#[tokio::test]
async fn the_primary_that_sentinels_with_passwords_name() {
    let passwords = Passwords {
        servers: Some("of-servers"),
        sentinels: Some("of-sentinels"),
    };
    let servers = RedisSentinels::start_with_passwords(passwords);
    let nodes = servers.sentinel_addresses();
    let mut nodes: Vec<_> = nodes.iter().map(ToString::to_string).collect();
    nodes.insert(0, "127.0.0.1:1".to_owned());
    let settings = Settings::default()
        .password("of-servers")
        .sentinel(true)
        .sentinel_master_name(servers.master_name())
        .and_then(|settings| settings.sentinel_nodes(nodes))
        .unwrap()
        .sentinel_password("of-sentinels");
    keeps_its_promises(settings.clone()).await;
    let unknown = settings.sentinel_master_name("nobody").unwrap();
    let cache = Cache::connect(unknown).unwrap();
    let error = cache.ping().await.unwrap_err().to_string();
    assert_eq!(error, "nobody: Redis is unreachable");
    assert!(!cache.status().is_connected());
}

#[tokio::test]
async fn a_server_that_is_away_is_reported_until_it_is_back() {
    let redis = RedisServer::start();
    let proxy = Proxy::start(redis.address().into()).await;
    let cache = Cache::connect(Settings::from_url(proxy.url()).unwrap()).unwrap();
    let client = start(cache.clone()).await;
    assert_eq!(cache.status().servers[0].name, proxy.address().to_string());
    assert_eq!(
        cache.status().servers[0].connections,
        [ConnectionState::Idle]
    );
    cache.ping().await.unwrap();
    assert_eq!(cache.status().servers[0].connections, [ConnectionState::Up]);
    proxy.hang();
    // Nobody asks for anything, and it is noticed all the same.
    until("it is down", async || !cache.status().is_connected()).await;
    cache.ping().await.unwrap_err();
    let reply = client.send("POST", "/visits/1", &[]).await;
    assert!(reply.text().contains("unreachable"), "{}", reply.text());
    proxy.pass();
    until("it is up", async || {
        cache.status().servers[0].connections == [ConnectionState::Up]
    })
    .await;
    cache.ping().await.unwrap();
}

#[tokio::test]
async fn a_cache_in_memory_is_always_there_and_lends_no_redis() {
    let cache = Cache::in_memory();
    cache.ping().await.unwrap();
    assert!(cache.status().is_connected() && cache.status().servers.is_empty());
    let client = start(cache).await;
    let reply = client.send("POST", "/visits/1", &[]).await;
    assert!(
        reply.text().contains("not kept in Redis"),
        "{}",
        reply.text()
    );
}
