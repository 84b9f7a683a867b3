//! Requests to a router without a server, and what is logged meanwhile.

use std::sync::OnceLock;

use axum::Router;
use axum::extract::Request;
use axum::http::Version;
use test_support::{Log, Reply};
use tower::ServiceExt;

use crate::support::request;

/// A request as it comes by HTTP/2: with an absolute URI.
pub(crate) fn http_2(method: &str, target: &str) -> Request {
    let mut request = request(method, &format!("http://test{target}"), &[]);
    *request.version_mut() = Version::HTTP_2;
    request
}

/// Sends a request; returns what `X-Redis-Cache` says, and the body, with a space between them.
pub(crate) async fn send(router: &Router, request: Request) -> String {
    let response = router.clone().oneshot(request).await.unwrap();
    let reply = Reply::of(response).await;
    format!(
        "{} {}",
        reply.outcome(),
        String::from_utf8_lossy(&reply.body)
    )
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
