//! Values of many types in keys: what methods return, what crates bring, and a type of the user.

use std::net::IpAddr;

use axum::Extension;
use axum::extract::Path;
use axum::routing::get;
use axum_redis_cache::{Cache, KeyPart, cache_evict, cached};
use chrono::NaiveDate;
use serde::Deserialize;

#[derive(Clone)]
struct Auth {
    id: u64,
    name: String,
}

impl Auth {
    fn user_id(&self) -> u64 {
        self.id
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn tenant(&self) -> Option<String> {
        None
    }
}

#[cached(ttl = 60, vary_by(auth.user_id(), auth.name(), auth.tenant(), auth.name().len()))]
async fn account(Extension(auth): Extension<Auth>) -> String {
    auth.name
}

#[cached(ttl = 60, key = "{day}", group = "day:{day}")]
async fn on_day(Path(day): Path<NaiveDate>) -> String {
    day.to_string()
}

#[cached(ttl = 60, key = "{address}")]
async fn of_address(Path(address): Path<IpAddr>) -> String {
    address.to_string()
}

#[cached(ttl = 60, key = "{numbers}")]
async fn of_numbers(Path(numbers): Path<Vec<u64>>) -> String {
    format!("{numbers:?}")
}

#[derive(Clone, Copy, Debug, Deserialize, KeyPart)]
enum Kind {
    Book,
    Film,
}

#[cached(ttl = 60, key = "{kind}")]
async fn of_kind(Path(kind): Path<Kind>) -> String {
    format!("{kind:?}")
}

#[cache_evict(
    on_day(day),
    of_address(IpAddr::from([127, 0, 0, 1])),
    of_numbers(vec![1_u64, 2]),
    of_kind(Kind::Film),
    group = "day:{day}"
)]
async fn change(Path(day): Path<NaiveDate>) -> String {
    format!("{:?} {day}", Kind::Book)
}

fn main() {
    let _ = axum::Router::<Cache>::new()
        .route("/account", get(account))
        .route("/days/{day}", get(on_day).delete(change))
        .route("/addresses/{address}", get(of_address))
        .route("/numbers/{numbers}", get(of_numbers))
        .route("/kinds/{kind}", get(of_kind));
}
