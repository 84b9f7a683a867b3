#![allow(dead_code, unused_imports)]
#[path = "http/early.rs"]
mod early;
#[path = "http/support.rs"]
mod support;
