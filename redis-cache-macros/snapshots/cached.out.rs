#[debug_handler]
pub(crate) async fn get_product(
    id: ::axum_redis_cache::__private::Head<
        Path<u64>,
        { 0 | ::axum_redis_cache::__private::TARGET },
    >,
    db: State<Db>,
) -> ::axum_redis_cache::__private::Response {
    #[allow(unused_imports)]
    use ::axum_redis_cache::__private::InPlace as _;
    #[allow(dead_code)]
    const _: () = {
        #[allow(unused_imports)]
        use ::axum_redis_cache::__private::NotDetermined as _;
        {
            struct __Checked(::axum_redis_cache::__private::IsDetermined<Path<u64>>);
        }
        {
            struct __Checked(::axum_redis_cache::__private::IsDetermined<State<Db>>);
        }
    };
    let (request, id) = id.split();
    match ::axum_redis_cache::__private::read_through(
            request,
            <get_product as ::axum_redis_cache::__private::Handler>::route(),
            ::axum_redis_cache::__private::Selected::new(),
        )
        .await
    {
        ::core::result::Result::Ok(response) => response,
        ::core::result::Result::Err(step_0) => {
            ::axum_redis_cache::__private::Run::new(get_product::uncached(id, db))
                .of(
                    ::core::concat!(
                        ::core::module_path!(), "::", ::core::stringify!(get_product)
                    ),
                )
                .within(step_0)
                .await
        }
    }
}
#[doc(hidden)]
#[allow(dead_code, non_camel_case_types, unreachable_pub)]
pub(crate) struct get_product {}
#[doc(hidden)]
#[allow(clippy::unused_async, dead_code, private_interfaces, unreachable_pub)]
impl get_product {
    pub(crate) async fn uncached(
        Path(id): Path<u64>,
        State(db): State<Db>,
    ) -> Result<Json<Product>, AppError> {
        db.find(id).await.map(Json)
    }
    pub(crate) fn key(
        text: impl ::axum_redis_cache::__private::KeyText,
    ) -> ::axum_redis_cache::__private::CacheKey {
        <Self as ::axum_redis_cache::__private::Handler>::route().key_of(&text)
    }
}
impl ::axum_redis_cache::__private::Handler for get_product {
    type Key = ::axum_redis_cache::__private::OfRequest;
    fn route() -> &'static ::axum_redis_cache::__private::Route {
        static __AXUM_REDIS_CACHE_ROUTE: ::axum_redis_cache::__private::Route = {
            #[allow(unused_imports)]
            use ::axum_redis_cache::__private::NotDetermined as _;
            ::axum_redis_cache::__private::Route::new(
                    ::core::concat!(
                        ::core::module_path!(), "::", ::core::stringify!(get_product)
                    ),
                )
                .query(
                    ::axum_redis_cache::__private::QueryRule::of(
                        &[
                            ::axum_redis_cache::__private::Probe::<Path<u64>>::BY,
                            ::axum_redis_cache::__private::Probe::<State<Db>>::BY,
                        ],
                    ),
                )
                .ttl(
                    ::axum_redis_cache::__private::Declared::Fixed(
                        ::axum_redis_cache::__private::Duration::new(300u64, 0u32),
                    ),
                )
                .groups(&["products"])
        };
        &__AXUM_REDIS_CACHE_ROUTE
    }
}
