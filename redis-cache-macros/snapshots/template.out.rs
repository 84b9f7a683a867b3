async fn get_repo(
    argument_0: ::axum_redis_cache::__private::Head<Path<(String, String)>, get_repo>,
    user: User,
) -> ::axum_redis_cache::__private::Response {
    use ::axum_redis_cache::__private::InPlace as _;
    let ::axum_redis_cache::__private::Head {
        request: request,
        extracted: argument_0,
        ..
    } = argument_0;
    let lookup = ::axum_redis_cache::__private::read_through(
        request,
        <get_repo as ::axum_redis_cache::__private::Handler>::route(),
        {
            #[allow(non_snake_case, unused_variables)]
            let Path((owner, name)) = &argument_0;
            #[allow(non_snake_case, unused_variables)]
            let user = &user;
            ::axum_redis_cache::__private::Selected::new()
                .key(get_repo::key(owner, name))
                .vary_by(
                    ::axum_redis_cache::__private::Text::new()
                        .value(&user.id)
                        .literal(";"),
                )
        },
    );
    ::axum_redis_cache::__private::Run::new(get_repo::uncached(argument_0, user))
        .unless_found(lookup)
        .await
}
#[doc(hidden)]
struct get_repo {}
#[doc(hidden)]
#[allow(clippy::unused_async)]
impl get_repo {
    async fn uncached(
        #[allow(unused_variables)]
        Path((owner, mut name)): Path<(String, String)>,
        #[allow(unused_variables)]
        user: User,
    ) -> String {
        name.push_str(&owner);
        name
    }
    #[allow(non_snake_case, unused_variables)]
    const KIND_0: ::core::primitive::u8 = ::axum_redis_cache::__private::kind_of(
        &|Path((owner, name)): &Path<(String, String)>| -> &_ { owner },
    );
    #[allow(non_snake_case, unused_variables)]
    const KIND_1: ::core::primitive::u8 = ::axum_redis_cache::__private::kind_of(
        &|Path((owner, name)): &Path<(String, String)>| -> &_ { name },
    );
    #[allow(non_snake_case)]
    fn key(
        owner: impl ::axum_redis_cache::__private::Part<
            <::axum_redis_cache::__private::Kind<
                { get_repo::KIND_0 },
            > as ::axum_redis_cache::__private::KindType>::Type,
        >,
        name: impl ::axum_redis_cache::__private::Part<
            <::axum_redis_cache::__private::Kind<
                { get_repo::KIND_1 },
            > as ::axum_redis_cache::__private::KindType>::Type,
        >,
    ) -> ::axum_redis_cache::__private::CacheKey {
        <Self as ::axum_redis_cache::__private::Handler>::route()
            .key_of_template(
                &::axum_redis_cache::__private::Text::new()
                    .literal("repo:")
                    .value(&owner)
                    .literal("/")
                    .value(&name),
            )
            .in_groups([
                ::axum_redis_cache::__private::Text::new().literal("repos"),
                ::axum_redis_cache::__private::Text::new()
                    .literal("owner:")
                    .value(&owner),
            ])
    }
}
impl ::axum_redis_cache::__private::Handler for get_repo {
    type Key = ::axum_redis_cache::__private::OfValues;
    const VARY_BY: ::core::primitive::usize = 1usize;
    fn route() -> &'static ::axum_redis_cache::__private::Route {
        static __AXUM_REDIS_CACHE_ROUTE: ::axum_redis_cache::__private::Route = {
            use ::axum_redis_cache::__private::NotIdentifying as _;
            ::axum_redis_cache::__private::Route::new(::core::any::type_name::<get_repo>)
                .reads({
                    fn read(url: &mut ::axum_redis_cache::__private::UrlReader<'_>) {
                        use ::axum_redis_cache::__private::read::ByType as _;
                        use ::axum_redis_cache::__private::read::ByValue as _;
                        use ::axum_redis_cache::__private::read::Nothing as _;
                        url.silently(|url| {
                            (&&&::axum_redis_cache::__private::Probe::<
                                Path<(String, String)>,
                            >::new())
                                .read(url)
                        });
                        url.beside(|url| {
                            (&&&::axum_redis_cache::__private::Probe::<User>::new())
                                .read(url)
                        });
                    }
                    read
                })
                .key_by_template()
                .identified(
                    ::axum_redis_cache::__private::Probe::<
                        Path<(String, String)>,
                    >::IDENTIFIES
                        || ::axum_redis_cache::__private::Probe::<User>::IDENTIFIES,
                )
                .selected_unseen({
                    use ::axum_redis_cache::__private::NotDetermined as _;
                    ::axum_redis_cache::__private::Probe::<Path<(String, String)>>::BY
                        .is_none()
                        || ::axum_redis_cache::__private::Probe::<User>::BY.is_none()
                })
                .reads_early({
                    use ::axum_redis_cache::__private::MayReadEarly as _;
                    use ::axum_redis_cache::__private::NotDetermined as _;
                    ::axum_redis_cache::__private::Probe::<Path<(String, String)>>::BY
                        .is_none()
                        && ::axum_redis_cache::__private::Probe::<
                            Path<(String, String)>,
                        >::MAY_READ_EARLY
                        || ::axum_redis_cache::__private::Probe::<User>::BY.is_none()
                            && ::axum_redis_cache::__private::Probe::<
                                User,
                            >::MAY_READ_EARLY
                })
                .ttl(
                    ::axum_redis_cache::__private::Declared::Lazy({
                        static __AXUM_REDIS_CACHE_DECLARED: ::axum_redis_cache::__private::LazyLock<
                            ::axum_redis_cache::__private::Duration,
                        > = ::axum_redis_cache::__private::LazyLock::new(|| TTL);
                        &__AXUM_REDIS_CACHE_DECLARED
                    }),
                )
                .declares(&["repos", "owner:\0"])
        };
        &__AXUM_REDIS_CACHE_ROUTE
    }
}
