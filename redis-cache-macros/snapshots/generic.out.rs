async fn list<R: Repository + 'static>(
    db: State<R>,
    headers: ::axum_redis_cache::__private::Head<
        HeaderMap,
        { 0 | ::axum_redis_cache::__private::TARGET },
    >,
) -> ::axum_redis_cache::__private::Response {
    #[allow(unused_imports)]
    use ::axum_redis_cache::__private::InPlace as _;
    #[doc(hidden)]
    #[allow(dead_code, non_camel_case_types, unreachable_pub)]
    struct __AxumRedisCacheHandler {}
    #[doc(hidden)]
    #[allow(clippy::unused_async, dead_code, private_interfaces, unreachable_pub)]
    impl __AxumRedisCacheHandler {
        async fn uncached<R: Repository>(
            State(db): State<R>,
            headers: HeaderMap,
        ) -> Json<Vec<R::Item>> {
            Json(db.list(headers).await)
        }
        fn key(
            text: impl ::axum_redis_cache::__private::KeyText,
        ) -> ::axum_redis_cache::__private::CacheKey {
            <Self as ::axum_redis_cache::__private::Handler>::route().key_of(&text)
        }
    }
    impl ::axum_redis_cache::__private::Handler for __AxumRedisCacheHandler {
        type Key = ::axum_redis_cache::__private::OfRequest;
        fn route() -> &'static ::axum_redis_cache::__private::Route {
            static __AXUM_REDIS_CACHE_ROUTE: ::axum_redis_cache::__private::Route = {
                #[allow(unused_imports)]
                use ::axum_redis_cache::__private::NotDetermined as _;
                ::axum_redis_cache::__private::Route::new(
                        ::core::concat!(
                            ::core::module_path!(), "::", ::core::stringify!(list)
                        ),
                    )
                    .query(::axum_redis_cache::__private::QueryRule::All)
            };
            &__AXUM_REDIS_CACHE_ROUTE
        }
    }
    {
        #[allow(unused_imports)]
        use ::axum_redis_cache::__private::NotDetermined as _;
        let _ = ::core::option::Option::None::<
            ::axum_redis_cache::__private::IsDetermined<State<R>>,
        >;
    }
    let (request, headers) = headers.split();
    match ::axum_redis_cache::__private::read_through(
            request,
            <__AxumRedisCacheHandler as ::axum_redis_cache::__private::Handler>::route(),
            ::axum_redis_cache::__private::Selected::new(),
        )
        .await
    {
        ::core::result::Result::Ok(response) => response,
        ::core::result::Result::Err(step_0) => {
            ::axum_redis_cache::__private::Run::new(
                    __AxumRedisCacheHandler::uncached::<R>(db, headers),
                )
                .of(
                    ::core::concat!(
                        ::core::module_path!(), "::", ::core::stringify!(list)
                    ),
                )
                .within(step_0)
                .await
        }
    }
}
