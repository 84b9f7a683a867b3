#[cfg(feature = "tenants")]
#[::axum_redis_cache::cached(ttl = 60)]
async fn report(Path(year): Path<u16>, tenant: Tenant) -> String {
    year.to_string()
}
#[cfg(not(feature = "tenants"))]
#[::axum_redis_cache::cached(ttl = 60)]
async fn report(Path(year): Path<u16>) -> String {
    year.to_string()
}
