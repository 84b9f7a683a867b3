//! aide documents a handler with one of the attributes as it documents the function.
#![allow(clippy::unwrap_used)]

use aide::NoApi;
use aide::axum::routing::{get, get_with};
use aide::axum::{ApiRouter, IntoApiResponse};
use aide::openapi::OpenApi;
use axum::Json;
use axum::extract::{Path, Query, State};
use axum_redis_cache::{Cache, cache_evict, cache_put, cached};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A product.
#[derive(Deserialize, JsonSchema, Serialize)]
struct Product {
    id: u64,
    title: String,
}

#[derive(Deserialize, JsonSchema)]
struct Named {
    id: u64,
}

#[derive(Deserialize, JsonSchema)]
struct Paging {
    /// The first is 1.
    page: u32,
}

mod plain {
    use super::*;

    pub(super) async fn show(Path(Named { id }): Path<Named>) -> Result<Json<Product>, String> {
        product(id).map(Json).ok_or_else(|| "none".to_owned())
    }

    pub(super) async fn list(
        State(_cache): State<Cache>,
        Query(paging): Query<Paging>,
    ) -> Json<Vec<Product>> {
        Json(product(paging.page.into()).into_iter().collect())
    }

    pub(super) async fn hello() -> &'static str {
        "hello"
    }

    pub(super) async fn replace(_: Path<Named>, Json(product): Json<Product>) -> Json<Product> {
        Json(product)
    }

    pub(super) async fn remove(Path(_): Path<Named>) {}
}

mod with_attributes {
    use super::*;

    #[cached(ttl = 60)]
    pub(super) async fn show(Path(Named { id }): Path<Named>) -> Result<Json<Product>, String> {
        product(id).map(Json).ok_or_else(|| "none".to_owned())
    }

    #[cached(ttl = 60)]
    pub(super) async fn list(
        State(_cache): State<Cache>,
        Query(paging): Query<Paging>,
    ) -> Json<Vec<Product>> {
        Json(product(paging.page.into()).into_iter().collect())
    }

    #[cached(ttl = 60)]
    pub(super) async fn hello() -> &'static str {
        "hello"
    }

    #[cache_put(show)]
    pub(super) async fn replace(_: Path<Named>, Json(product): Json<Product>) -> Json<Product> {
        Json(product)
    }

    #[cache_evict(show, list)]
    pub(super) async fn remove(Path(_): Path<Named>) {}
}

fn product(id: u64) -> Option<Product> {
    let title = format!("product {id}");
    (id > 0).then_some(Product { id, title })
}

/// The document of the routes.
macro_rules! documented {
    ($handlers:ident) => {{
        let mut document = OpenApi::default();
        let _: axum::Router<Cache> = ApiRouter::new()
            .api_route(
                "/products",
                get_with($handlers::list, |it| it.summary("Lists")),
            )
            .api_route(
                "/products/{id}",
                get($handlers::show)
                    .put($handlers::replace)
                    .delete($handlers::remove),
            )
            .api_route("/hello", get($handlers::hello))
            .finish_api(&mut document);
        serde_json::to_value(&document).unwrap()
    }};
}

#[test]
fn a_handler_is_documented_as_without_the_attributes() {
    let (plain, documented) = (documented!(plain), documented!(with_attributes));
    assert_eq!(documented, plain);
    let responses = &documented["paths"]["/products/{id}"]["get"]["responses"];
    assert!(
        responses["200"]["content"]["application/json"].is_object(),
        "{documented:#}"
    );
}

#[cached(ttl = 60)]
async fn unnamed() -> impl IntoApiResponse {
    Json(1)
}

#[test]
fn a_response_without_a_name_is_documented_as_none() {
    let mut document = OpenApi::default();
    let _: axum::Router<Cache> = ApiRouter::new()
        .api_route("/", get(unnamed))
        .finish_api(&mut document);
    let document = serde_json::to_value(&document).unwrap();
    assert_eq!(document["paths"]["/"]["get"], serde_json::json!({}));
}

#[cached(ttl = 60)]
async fn wrapped(NoApi(Path(id)): NoApi<Path<u64>>) -> NoApi<String> {
    NoApi(id.to_string())
}

#[test]
fn a_wrapped_extractor_is_determined_by_what_it_wraps() {
    let _ = ApiRouter::<Cache>::new().api_route("/{id}", get(wrapped));
}
