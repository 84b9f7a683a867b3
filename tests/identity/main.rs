//! The identity of entries: which requests share one, which never do, and which entries a write evicts.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    unreachable_pub
)]

mod asking;
mod cases;
mod evictions;
mod handlers;
mod mounts;
mod paths;
mod processes;
mod properties;
mod puts;
mod queries;
mod replies;
mod respelled;
mod selected;
#[allow(dead_code, unused_imports)]
#[path = "../http/support.rs"]
mod support;
mod typed_paths;
