//! Requests to a router without a server, and what is logged meanwhile.

use std::sync::OnceLock;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::Version;
use http_body_util::BodyExt;
use test_support::Log;
use tower::ServiceExt;

/// A request without a body.
pub(crate) fn request(method: &str, target: &str, fields: &[(&str, &str)]) -> Request {
    let mut request = Request::builder().method(method).uri(target);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(Body::empty()).unwrap()
}

/// A request as it comes by HTTP/2: with an absolute URI.
pub(crate) fn http_2(method: &str, target: &str) -> Request {
    let mut request = request(method, &format!("http://test{target}"), &[]);
    *request.version_mut() = Version::HTTP_2;
    request
}

/// Sends a request; returns what `X-Redis-Cache` says, and the body, with a space between them.
pub(crate) async fn send(router: &Router, request: Request) -> String {
    let (parts, body) = router.clone().oneshot(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let outcome = parts.headers.get("x-redis-cache");
    let outcome = outcome.map_or("none", |outcome| outcome.to_str().unwrap());
    format!("{outcome} {}", String::from_utf8_lossy(&body))
}

/// Sends a request without fields and body.
pub(crate) async fn ask(router: &Router, method: &str, target: &str) -> String {
    send(router, request(method, target, &[])).await
}

/// Sends a GET without fields.
pub(crate) async fn read(router: &Router, target: &str) -> String {
    ask(router, "GET", target).await
}

/// The log from now on, of every test of this process.
pub(crate) fn log() -> Log {
    static LOG: OnceLock<Log> = OnceLock::new();
    let log = LOG.get_or_init(|| {
        let log = Log::default();
        let writer = log.clone();
        tracing_subscriber::fmt()
            .with_max_level(tracing_subscriber::filter::LevelFilter::INFO)
            .with_writer(move || writer.clone())
            .with_ansi(false)
            .init();
        log
    });
    log.clone()
}

/// Counts the lines of the log that have all of these texts.
pub(crate) fn logged(texts: &[&str]) -> usize {
    let log = log().text();
    let has_all = |line: &&str| texts.iter().all(|text| line.contains(text));
    log.lines().filter(has_all).count()
}
