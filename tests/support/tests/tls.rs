//! Certificates are made so that each of the checks of TLS can fail.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs::read;
use std::path::Path;

use redis::{Client, ClientTlsConfig, RedisResult, TlsCertificates};
use test_support::{Certificates, RedisServer};

fn ping(url: &str, ca: &Path, certificates: Option<&Certificates>) -> RedisResult<String> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let certificates = TlsCertificates {
        client_tls: certificates.map(|certificates| ClientTlsConfig {
            client_cert: read(certificates.client()).unwrap(),
            client_key: read(certificates.client_key()).unwrap(),
        }),
        root_cert: Some(read(ca).unwrap()),
    };
    let client = Client::build_with_tls(url, certificates)?;
    redis::cmd("PING").query(&mut client.get_connection()?)
}

#[test]
fn a_client_that_trusts_the_ca_reaches_localhost_only() {
    let certificates = Certificates::new();
    let server = RedisServer::start_with_tls(&certificates, &[]);
    let (url, ca) = (server.url(), certificates.ca());
    assert_eq!(ping(&url, &ca, None).unwrap(), "PONG");
    assert_eq!(ping(&url, &ca, Some(&certificates)).unwrap(), "PONG");
    let refused = ping(&url, &certificates.unrelated_ca(), None).unwrap_err();
    assert!(refused.to_string().contains("UnknownIssuer"), "{refused}");
    let elsewhere = format!("rediss://{}", server.address());
    let refused = ping(&elsewhere, &ca, None).unwrap_err();
    assert!(refused.to_string().contains("127.0.0.1"), "{refused}");
    let plain = format!("redis://{}", server.address());
    assert!(ping(&plain, &ca, None).is_err());
}

#[test]
fn a_client_without_a_certificate_is_refused_when_one_is_required() {
    let certificates = Certificates::new();
    let mut server = RedisServer::start_with_tls(&certificates, &["--tls-auth-clients", "yes"]);
    let (url, ca) = (server.url(), certificates.ca());
    assert!(ping(&url, &ca, None).is_err());
    let others = Certificates::new();
    assert!(ping(&url, &ca, Some(&others)).is_err());
    assert_eq!(ping(&url, &ca, Some(&certificates)).unwrap(), "PONG");
    server.kill();
    server.start_again();
    assert_eq!(ping(&url, &ca, Some(&certificates)).unwrap(), "PONG");
    assert!(!server.command_counts().is_empty());
}
