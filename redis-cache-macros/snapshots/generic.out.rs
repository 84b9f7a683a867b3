async fn list<R: Repository>(
    db: State<R>,
    headers: ::axum_redis_cache::__private::Head<
        HeaderMap,
        { 0 | ::axum_redis_cache::__private::TARGET },
    >,
) -> ::axum_redis_cache::__private::Response {
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
        {
            #[diagnostic::on_unimplemented(
                message = "the response may depend on the argument `db`, which the key does not hold",
                label = "not determined by the URL or by the application",
                note = "if it does, say on what: `vary_by(db.field)`, or a placeholder in `key`",
                note = "if it does not, or if `vary(\"field-name\")` covers it: `ignore(db)`",
                note = "if nothing but the URL or the application can change it: implement `Determined` for its type"
            )]
            trait __Accounted {}
            #[diagnostic::do_not_recommend]
            impl<T: ::axum_redis_cache::__private::Determined> __Accounted for T {}
            fn __check<T: __Accounted>() {}
            __check::<State<R>>();
        }
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
            step_0
                .finish(__AxumRedisCacheHandler::uncached::<R>(db, headers).await)
                .await
        }
    }
}
