#[debug_handler]
pub(crate) async fn get_product(
    id: ::axum_redis_cache::__private::Head<Path<u64>, get_product>,
    db: State<Db>,
) -> ::axum_redis_cache::__private::Response {
    use ::axum_redis_cache::__private::InPlace as _;
    struct __AxumRedisCacheChecked(
        ::axum_redis_cache::__private::IsDetermined<Path<u64>>,
        ::axum_redis_cache::__private::IsDetermined<State<Db>>,
    );
    let ::axum_redis_cache::__private::Head { request: request, extracted: id, .. } = id;
    let lookup = ::axum_redis_cache::__private::read_through(
        request,
        <get_product as ::axum_redis_cache::__private::Handler>::route(),
        ::axum_redis_cache::__private::Selected::new(),
    );
    ::axum_redis_cache::__private::Run::new(get_product::uncached(id, db))
        .unless_found(lookup)
        .await
}
#[doc(hidden)]
pub(crate) struct get_product {}
#[doc(hidden)]
#[allow(clippy::unused_async)]
impl get_product {
    pub(crate) async fn uncached(
        Path(id): Path<u64>,
        State(db): State<Db>,
    ) -> Result<Json<Product>, AppError> {
        db.find(id).await.map(Json)
    }
    #[allow(non_snake_case)]
    pub(crate) fn key(
        id: impl ::axum_redis_cache::__private::ValueOf<Path<u64>>,
    ) -> ::axum_redis_cache::__private::CacheKey {
        const {
            use ::axum_redis_cache::__private::NotDetermined as _;
            ::core::assert!(
                !
                ::axum_redis_cache::__private::is_by_url(::axum_redis_cache::__private::Probe::
                < State < Db > > ::BY),
                "values in parentheses cannot make the key of this handler, because of the way in which it reads the URL: name it alone in an attribute, or give it a `key` of values"
            );
        }
        <Self as ::axum_redis_cache::__private::Handler>::route()
            .key_of_values()
            .part(
                <Path<u64> as ::axum_redis_cache::__private::UrlPart>::IS_OF_PATH,
                &::axum_redis_cache::__private::Text::new().value(&id),
            )
            .into_key()
    }
}
impl ::axum_redis_cache::__private::Handler for get_product {
    type Key = ::axum_redis_cache::__private::OfRequest;
    fn route() -> &'static ::axum_redis_cache::__private::Route {
        static __AXUM_REDIS_CACHE_ROUTE: ::axum_redis_cache::__private::Route = {
            use ::axum_redis_cache::__private::NotIdentifying as _;
            ::axum_redis_cache::__private::Route::new(
                    ::core::any::type_name::<get_product>,
                )
                .reads({
                    fn read(url: &mut ::axum_redis_cache::__private::UrlReader<'_>) {
                        use ::axum_redis_cache::__private::read::ByType as _;
                        use ::axum_redis_cache::__private::read::ByValue as _;
                        use ::axum_redis_cache::__private::read::Nothing as _;
                        (&&&::axum_redis_cache::__private::Probe::<Path<u64>>::new())
                            .read(url);
                        (&&&::axum_redis_cache::__private::Probe::<State<Db>>::new())
                            .read(url);
                    }
                    read
                })
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
