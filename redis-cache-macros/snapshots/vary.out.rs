async fn terms(
    page: ::axum_redis_cache::__private::Head<
        Path<String>,
        terms,
        { ::axum_redis_cache::__private::ALL_FIELDS },
    >,
) -> ::axum_redis_cache::__private::Response {
    use ::axum_redis_cache::__private::InPlace as _;
    struct __AxumRedisCacheChecked(
        ::axum_redis_cache::__private::IsDetermined<Path<String>>,
    );
    let ::axum_redis_cache::__private::Head { request: request, extracted: page, .. } = page;
    let lookup = ::axum_redis_cache::__private::read_through(
        request,
        <terms as ::axum_redis_cache::__private::Handler>::route(),
        ::axum_redis_cache::__private::Selected::new(),
    );
    ::axum_redis_cache::__private::Run::new(terms::uncached(page))
        .unless_found(lookup)
        .await
}
#[doc(hidden)]
struct terms {}
#[doc(hidden)]
#[allow(clippy::unused_async)]
impl terms {
    async fn uncached(Path(page): Path<String>) -> String {
        page
    }
    #[allow(non_snake_case)]
    fn key(
        page: impl ::axum_redis_cache::__private::ValueOf<Path<String>>,
    ) -> ::axum_redis_cache::__private::CacheKey {
        <Self as ::axum_redis_cache::__private::Handler>::route()
            .key_of_values()
            .part(
                <Path<String> as ::axum_redis_cache::__private::UrlPart>::IS_OF_PATH,
                &::axum_redis_cache::__private::Text::new().value(&page),
            )
            .into_key()
    }
}
impl ::axum_redis_cache::__private::Handler for terms {
    type Key = ::axum_redis_cache::__private::OfRequest;
    fn route() -> &'static ::axum_redis_cache::__private::Route {
        static __AXUM_REDIS_CACHE_ROUTE: ::axum_redis_cache::__private::Route = {
            use ::axum_redis_cache::__private::NotIdentifying as _;
            ::axum_redis_cache::__private::Route::new(::core::any::type_name::<terms>)
                .reads({
                    fn read(url: &mut ::axum_redis_cache::__private::UrlReader<'_>) {
                        use ::axum_redis_cache::__private::read::ByType as _;
                        use ::axum_redis_cache::__private::read::ByValue as _;
                        use ::axum_redis_cache::__private::read::Nothing as _;
                        (&&&::axum_redis_cache::__private::Probe::<Path<String>>::new())
                            .read(url);
                    }
                    read
                })
                .ttl(
                    ::axum_redis_cache::__private::Declared::Fixed(
                        ::axum_redis_cache::__private::Duration::new(60u64, 0u32),
                    ),
                )
                .vary({
                    static __AXUM_REDIS_CACHE_FIELDS: [::axum_redis_cache::__private::HeaderName; 2usize] = [
                        ::axum_redis_cache::__private::HeaderName::from_static("accept"),
                        ::axum_redis_cache::__private::HeaderName::from_static(
                            "accept-language",
                        ),
                    ];
                    &__AXUM_REDIS_CACHE_FIELDS
                })
                .public()
        };
        &__AXUM_REDIS_CACHE_ROUTE
    }
}
