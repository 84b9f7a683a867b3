async fn search(
    headers: ::axum_redis_cache::__private::Head<
        HeaderMap,
        search,
        { ::axum_redis_cache::__private::PARTS },
    >,
    search: Query<Search>,
) -> ::axum_redis_cache::__private::Response {
    use ::axum_redis_cache::__private::InPlace as _;
    let ::axum_redis_cache::__private::Head {
        request: request,
        extracted: headers,
        ..
    } = headers;
    let lookup = ::axum_redis_cache::__private::read_through(
        request,
        <search as ::axum_redis_cache::__private::Handler>::route(),
        ::axum_redis_cache::__private::Selected::new(),
    );
    ::axum_redis_cache::__private::Run::new(search::uncached(headers, search))
        .unless_found(lookup)
        .await
}
#[doc(hidden)]
struct search {}
#[doc(hidden)]
#[allow(clippy::unused_async)]
impl search {
    async fn uncached(
        headers: HeaderMap,
        Query(search): Query<Search>,
    ) -> Json<Vec<Hit>> {
        Json(search.run(&headers).await)
    }
    fn key(
        text: impl ::axum_redis_cache::__private::KeyText,
    ) -> ::axum_redis_cache::__private::CacheKey {
        <Self as ::axum_redis_cache::__private::Handler>::route()
            .key_of_text(::axum_redis_cache::__private::KeyText::as_str(&text))
    }
}
impl ::axum_redis_cache::__private::Handler for search {
    type Key = ::axum_redis_cache::__private::OfRequest;
    fn route() -> &'static ::axum_redis_cache::__private::Route {
        static __AXUM_REDIS_CACHE_ROUTE: ::axum_redis_cache::__private::Route = {
            use ::axum_redis_cache::__private::NotIdentifying as _;
            ::axum_redis_cache::__private::Route::new(::core::any::type_name::<search>)
                .key_by(|parts| ::axum_redis_cache::__private::KeyResult::into_future(
                    keys::of_search(parts),
                ))
                .reads_early({
                    use ::axum_redis_cache::__private::MayReadEarly as _;
                    use ::axum_redis_cache::__private::NotDetermined as _;
                    ::axum_redis_cache::__private::Probe::<HeaderMap>::BY.is_none()
                        && ::axum_redis_cache::__private::Probe::<
                            HeaderMap,
                        >::MAY_READ_EARLY
                        || ::axum_redis_cache::__private::Probe::<Query<Search>>::BY
                            .is_none()
                            && ::axum_redis_cache::__private::Probe::<
                                Query<Search>,
                            >::MAY_READ_EARLY
                })
                .ttl(
                    ::axum_redis_cache::__private::Declared::Fixed(
                        ::axum_redis_cache::__private::Duration::new(60u64, 0u32),
                    ),
                )
                .groups(&["searches"])
        };
        &__AXUM_REDIS_CACHE_ROUTE
    }
}
