#[cached(ttl = 60)]
async fn report(
    Path(year): Path<u16>,
    #[cfg(feature = "tenants")]
    tenant: Tenant,
) -> String {
    year.to_string()
}
