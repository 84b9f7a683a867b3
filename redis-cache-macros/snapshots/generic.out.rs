async fn list<R: Repository + 'static>(
    db: State<R>,
    headers: ::axum_redis_cache::__private::Head<
        HeaderMap,
        ::axum_redis_cache::__private::WholeUrl,
        { ::axum_redis_cache::__private::proof_if(true) },
    >,
) -> ::axum_redis_cache::__private::Response {
    use ::axum_redis_cache::__private::InPlace as _;
    #[doc(hidden)]
    struct __AxumRedisCacheHandler {}
    #[doc(hidden)]
    #[allow(clippy::unused_async)]
    impl __AxumRedisCacheHandler {
        async fn uncached<R: Repository>(
            State(db): State<R>,
            headers: HeaderMap,
        ) -> Json<Vec<R::Item>> {
            Json(db.list(headers).await)
        }
    }
    impl ::axum_redis_cache::__private::Handler for __AxumRedisCacheHandler {
        type Key = ::axum_redis_cache::__private::OfTypes;
        fn route() -> &'static ::axum_redis_cache::__private::Route {
            static __AXUM_REDIS_CACHE_ROUTE: ::axum_redis_cache::__private::Route = {
                use ::axum_redis_cache::__private::NotIdentifying as _;
                ::axum_redis_cache::__private::Route::new(
                        ::core::any::type_name::<__AxumRedisCacheHandler>,
                    )
                    .query(::axum_redis_cache::__private::QueryRule::All)
                    .reads_early({
                        use ::axum_redis_cache::__private::MayReadEarly as _;
                        use ::axum_redis_cache::__private::NotDetermined as _;
                        ::axum_redis_cache::__private::Probe::<HeaderMap>::BY.is_none()
                            && ::axum_redis_cache::__private::Probe::<
                                HeaderMap,
                            >::MAY_READ_EARLY
                    })
            };
            &__AXUM_REDIS_CACHE_ROUTE
        }
    }
    struct __AxumRedisCacheTypes<R: ?::core::marker::Sized>(
        ::core::marker::PhantomData<(*const R,)>,
    );
    {
        use ::axum_redis_cache::__private::NotDetermined as _;
        let _ = ::core::option::Option::None::<
            ::axum_redis_cache::__private::IsDetermined<State<R>>,
        >;
    }
    let ::axum_redis_cache::__private::Head {
        request: request,
        extracted: headers,
        ..
    } = headers;
    let lookup = ::axum_redis_cache::__private::read_through(
        request,
        <__AxumRedisCacheHandler as ::axum_redis_cache::__private::Handler>::route(),
        ::axum_redis_cache::__private::Selected::of_types::<
            __AxumRedisCacheTypes<R>,
        >(|url| {
            use ::axum_redis_cache::__private::read::ByType as _;
            use ::axum_redis_cache::__private::read::ByValue as _;
            use ::axum_redis_cache::__private::read::Nothing as _;
            (&&&::axum_redis_cache::__private::Probe::<State<R>>::new()).read(url);
            url.silently(|url| {
                (&&&::axum_redis_cache::__private::Probe::<HeaderMap>::new()).read(url)
            });
        }),
    );
    ::axum_redis_cache::__private::Run::new(
            __AxumRedisCacheHandler::uncached::<R>(db, headers),
        )
        .unless_found(lookup)
        .await
}
