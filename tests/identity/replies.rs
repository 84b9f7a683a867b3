//! Replies as one word and a body.

use test_support::Client;

use crate::support::answer;

/// The outcome, and the body.
pub(crate) type Got = (String, String);

/// The handler ran, and its response was stored.
pub(crate) fn miss(body: &str) -> Got {
    answer("MISS", body)
}

/// The response was stored before.
pub(crate) fn hit(body: &str) -> Got {
    answer("HIT", body)
}

/// The handler ran beside the cache.
pub(crate) fn bypass(body: &str) -> Got {
    answer("BYPASS", body)
}

/// Sends a GET.
pub(crate) async fn get(client: &Client, target: &str) -> Got {
    get_with(client, target, &[]).await
}

/// Sends a GET with fields.
pub(crate) async fn get_with(client: &Client, target: &str, fields: &[(&str, &str)]) -> Got {
    let reply = client.get_with(target, fields).await;
    assert_eq!(reply.status.as_u16(), 200, "{target}: {}", reply.text());
    answer(reply.outcome(), reply.text())
}

/// Sends a write, which succeeds.
pub(crate) async fn write(client: &Client, method: &str, target: &str) {
    let reply = client.send(method, target, &[]).await;
    assert!(
        reply.status.is_success(),
        "{method} {target}: {}",
        reply.text()
    );
}
