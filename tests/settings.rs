//! The errors and warnings about settings when an application starts.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use axum_redis_cache::{Cache, Settings};
use test_support::Certificates;
use test_support::{RedisServer, TempDir};

/// Says that a process is one of those below.
const CHILD: &str = "SETTINGS_TEST_CHILD";

/// Reads its environment and connects, in a process of its own, and prints what comes of it.
#[test]
fn child() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    tracing_subscriber::fmt()
        .with_ansi(false)
        .without_time()
        .with_writer(std::io::stdout)
        .init();
    let settings = match Settings::from_env() {
        Ok(settings) => settings,
        Err(error) => return println!("refused: {error}"),
    };
    println!("read: {settings:?}");
    match Cache::connect(settings) {
        Ok(cache) => {
            println!("connected: {cache:?}");
            let runtime = tokio::runtime::Runtime::new().unwrap();
            println!("ping: {:?}", runtime.block_on(cache.ping()));
        }
        Err(error) => println!("not connected: {error}"),
    }
}

/// Returns the output of the child, with these variables and the files of the directory.
fn start_in(directory: &Path, variables: &[(&str, &str)]) -> String {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .current_dir(directory)
        .env_clear()
        .env(CHILD, "1")
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    String::from_utf8(child.stdout).unwrap()
}

fn start(variables: &[(&str, &str)]) -> String {
    start_in(&std::env::temp_dir(), variables)
}

#[test]
fn wrong_variables_are_refused_in_one_line() {
    let tls = "refused: REDIS_SSL_CA_CERTS=/no/ca.pem: expected a file of PEM certificates: \
               No such file or directory (os error 2)";
    for (variables, line) in [
        (
            &[("REDIS_PORT", "70000")][..],
            "refused: REDIS_PORT=70000: expected a port number from 1 to 65535",
        ),
        (
            &[("REDIS_URL", "http://x")],
            "refused: REDIS_URL=http://…: expected redis://[user[:password]@]host[:port][/db], \
             rediss://… for TLS, or unix:///path[?db=0]",
        ),
        (
            &[("REDIS_DEFAULT_TTL", "-1")],
            "refused: REDIS_DEFAULT_TTL=-1: expected a whole number of seconds; 0 means no expiry",
        ),
        (
            &[("REDIS_SOCKET_TIMEOUT", "1e19")],
            "refused: REDIS_SOCKET_TIMEOUT=1e19: expected a number of seconds greater than 0, \
             such as 0.25, and at most 86400",
        ),
        (
            &[("REDIS_URL", "redis://h?timeout=5")],
            "refused: REDIS_URL=redis://…: expected no parameter `timeout`, only `db` and `protocol`",
        ),
        (
            &[("REDIS_CLUSTER", "true"), ("REDIS_SENTINEL", "true")],
            "refused: REDIS_SENTINEL=true: expected false, because REDIS_CLUSTER is true",
        ),
        (
            &[("REDIS_SSL", "true"), ("REDIS_SSL_CA_CERTS", "/no/ca.pem")],
            tls,
        ),
    ] {
        let output = start(variables);
        assert!(output.lines().any(|printed| printed == line), "{output}");
    }
}

#[test]
fn the_environment_wins_over_the_file() {
    let directory = TempDir::new();
    let file = "REDIS_PREFIX=file\nREDIS_DB=3\nREDIS_PASSWORD=hunter2\n";
    std::fs::write(directory.path().join(".env"), file).unwrap();
    let output = start_in(directory.path(), &[("redis_prefix", "process")]);
    assert!(output.contains("prefix: \"process\""), "{output}");
    assert!(output.contains("db: Some(3)"), "{output}");
    assert!(output.contains("connected: "), "{output}");
    assert!(!output.contains("hunter2"), "{output}");

    std::fs::write(directory.path().join(".env"), "REDIS_PASSWORD='hunter2").unwrap();
    let output = start_in(directory.path(), &[]);
    assert!(
        output.contains("refused: .env cannot be read: "),
        "{output}"
    );
    assert!(!output.contains("hunter2"), "{output}");
}

#[test]
fn a_dollar_in_a_password_is_a_dollar_and_lines_of_others_do_not_matter() {
    let redis = RedisServer::start_with(&["--requirepass", "p4$sw0rd"]);
    let directory = TempDir::new();
    let file = format!(
        "APP_TITLE=My Shop\nAPP_MOTTO=Don't panic\n\nREDIS_PORT={}\nREDIS_PASSWORD=p4$sw0rd\n",
        redis.address().port()
    );
    std::fs::write(
        directory.path().join(".env"),
        [file.as_bytes(), b"APP=Caf\xe9\n"].concat(),
    )
    .unwrap();
    let output = start_in(directory.path(), &[("REDIS_HOST", "127.0.0.1")]);
    assert!(output.contains("ping: Ok(())"), "{output}");
}

#[test]
fn the_port_that_an_orchestrator_sets_is_understood() {
    let redis = RedisServer::start();
    let address = redis.address().to_string();
    let port = ("REDIS_PORT", &*format!("tcp://{address}"));
    for variables in [&[port][..], &[port, ("REDIS_HOST", "127.0.0.1")]] {
        let output = start(variables);
        assert!(output.contains("ping: Ok(())"), "{output}");
    }
    let nodes = ("REDIS_SENTINEL_NODES", "127.0.0.1:1");
    let output = start(&[port, ("REDIS_SENTINEL", "true"), nodes]);
    assert!(output.contains("connected: "), "{output}");
    assert!(!output.contains(" is ignored"), "{output}");
}

#[test]
fn a_server_decides_how_many_databases_it_has() {
    let redis = RedisServer::start_with(&["--databases", "64"]);
    let (address, url) = (redis.address(), redis.url());
    let port = address.port().to_string();
    let fields = |db| {
        [
            ("REDIS_HOST", "127.0.0.1"),
            ("REDIS_PORT", &*port),
            ("REDIS_DB", db),
        ]
    };
    let output = start(&fields("63"));
    assert!(output.contains("ping: Ok(())"), "{output}");
    for url in [format!("{url}/63"), format!("{url}?db=63")] {
        let output = start(&[("REDIS_URL", &url)]);
        assert!(output.contains("ping: Ok(())"), "{output}");
    }
    let refused =
        "Redis refused to switch to the database of the settings: DB index is out of range";
    let by_parameter = format!("{url}?db=64");
    for variables in [&fields("64")[..], &[("REDIS_URL", &*by_parameter)]] {
        let output = start(variables);
        assert!(!output.contains("ping: Ok(())"), "{output}");
        assert!(output.contains(refused), "{output}");
    }
}

#[test]
fn the_log_says_why_tls_fails() {
    let certificates = Certificates::new();
    let redis = RedisServer::start_with_tls(&certificates, &["--tls-auth-clients", "yes"]);
    let ca = certificates.ca();
    let unrelated = certificates.unrelated_ca();
    let by_address = format!("rediss://{}", redis.address());
    for (url, ca, reason) in [
        (
            &redis.url(),
            &unrelated,
            "certificate: UnknownIssuer, see REDIS_SSL_CA_CERTS",
        ),
        (&by_address, &ca, "certificate not valid for name"),
        (&redis.url(), &ca, "CertificateRequired"),
    ] {
        let variables = [
            ("REDIS_URL", &**url),
            ("REDIS_SSL_CA_CERTS", ca.to_str().unwrap()),
        ];
        let output = start(&variables);
        let named = "cause=TLS with Redis failed: ";
        assert!(
            output.contains(named) && output.contains(reason),
            "{reason}: {output}"
        );
    }
}

#[test]
fn the_log_warns_of_certificates_that_are_not_verified() {
    let certificates = Certificates::new();
    let redis = RedisServer::start_with_tls(&certificates, &[]);
    let none = ("REDIS_SSL_CERT_REQS", "none");
    let output = start(&[("REDIS_URL", &redis.url()), none]);
    assert!(
        output.contains("WARN") && output.contains("is not verified"),
        "{output}"
    );
    assert!(output.contains("ping: Ok(())"), "{output}");
    let output = start(&[("REDIS_URL", "redis://localhost"), none]);
    assert!(
        output.contains("the setting ssl_cert_reqs is ignored"),
        "{output}"
    );
    assert!(!output.contains("is not verified"), "{output}");
}

#[test]
fn the_log_names_settings_without_effect() {
    let output = start(&[
        ("REDIS_URL", "redis://:hunter2@localhost"),
        ("REDIS_PORT", "6380"),
        ("REDIS_PASSWORD", "hunter2"),
        ("REDIS_SSL_CA_CERTS", "/no/ca.pem"),
    ]);
    for line in [
        "REDIS_PORT is ignored, because REDIS_URL is set",
        "REDIS_PASSWORD is ignored, because REDIS_URL is set",
        "the setting ssl_ca_certs is ignored, because neither ssl nor the url asks for TLS",
        "connected: ",
    ] {
        assert!(output.contains(line), "{output}");
    }
    assert!(!output.contains("REDIS_HOST"), "{output}");
    assert!(!output.contains("hunter2"), "{output}");
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_not_unicode_is_refused_without_its_value() {
    use std::os::unix::ffi::OsStrExt;

    let mut child = Command::new(std::env::current_exe().unwrap());
    child
        .args(["--exact", "child", "--nocapture"])
        .env(CHILD, "1");
    let value = std::ffi::OsStr::from_bytes(b"hunter2\xff");
    let output = child.env("REDIS_PASSWORD", value).output().unwrap();
    let output = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.contains("refused: the environment cannot be read"),
        "{output}"
    );
    assert!(!output.contains("hunter2"), "{output}");
}

#[test]
fn settings_in_code_that_contradict_each_other_do_not_connect() {
    let refusal = |settings| Cache::connect(settings).unwrap_err().to_string();
    let both = Settings::default().cluster(true).sentinel(true);
    assert_eq!(
        refusal(both),
        "sentinel=true: expected false, because cluster is true"
    );
    let nodes = Settings::from_url("redis://:hunter2@a,b").unwrap();
    assert_eq!(
        refusal(nodes),
        "url=redis://…: expected one host, because cluster is false"
    );
    let error = Settings::default().port(0).unwrap_err().to_string();
    assert_eq!(error, "port=0: expected a port number from 1 to 65535");
    let error = refusal(Settings::default().ssl(true).ssl_ca_certs("/no/ca.pem"));
    assert!(
        error.starts_with("ssl_ca_certs=/no/ca.pem: expected "),
        "{error}"
    );
}

#[tokio::test]
async fn durations_that_never_end_are_refused_or_shortened() {
    let limits = [
        Settings::default().socket_timeout(Duration::MAX),
        Settings::default().socket_connect_timeout(Duration::MAX),
        Settings::default().lease_ttl(Duration::MAX),
    ];
    for settings in limits {
        let error = Cache::connect(settings.clone()).unwrap_err().to_string();
        assert!(error.contains("at most 86400"), "{error}");
        // Without a server there is nothing to refuse.
        let cache = Cache::in_memory_with(settings);
        assert_eq!(cache.get_or_insert_with("key", async || 1).await, 1);
        assert_eq!(cache.get("key").await, Some(1));
    }
}
