async fn rename(
    name: ::axum_redis_cache::__private::Head<
        Path<String>,
        ::axum_redis_cache::__private::WholeUrl,
        {
            ::axum_redis_cache::__private::ALL_FIELDS
                | ::axum_redis_cache::__private::PARTS
                | ::axum_redis_cache::__private::WRITE
                | ::axum_redis_cache::__private::proof_if({
                    use ::axum_redis_cache::__private::MayReadEarly as _;
                    use ::axum_redis_cache::__private::NotDetermined as _;
                    ::axum_redis_cache::__private::Probe::<Path<String>>::BY.is_none()
                        && ::axum_redis_cache::__private::Probe::<
                            Path<String>,
                        >::MAY_READ_EARLY
                        || ::axum_redis_cache::__private::Probe::<Json<Repo>>::BY
                            .is_none()
                            && ::axum_redis_cache::__private::Probe::<
                                Json<Repo>,
                            >::MAY_READ_EARLY
                })
        },
    >,
    repo: Json<Repo>,
) -> ::axum_redis_cache::__private::Response {
    use ::axum_redis_cache::__private::InPlace as _;
    static __AXUM_REDIS_CACHE_WRITER: ::axum_redis_cache::__private::Writer = ::axum_redis_cache::__private::Writer::new(
        ::core::any::type_name::<rename>,
    );
    const _: () = {
        use ::axum_redis_cache::__private::NotDetermined as _;
        #[allow(unused_imports)]
        use cache_put as _;
        const _: () = ::core::assert!(
            < repos::list as ::axum_redis_cache::__private::Handler > ::VARY_BY ==
            0usize,
            "the handler has `vary_by`: repeat it here, with as many values in the same order"
        );
        const _: () = ::core::assert!(
            < repos::list as ::axum_redis_cache::__private::Handler > ::GROUPS_BY_KEY,
            "the handler's groups hold values that its key does not: name the groups here too, `group = \"..\"`"
        );
    };
    let ::axum_redis_cache::__private::Head { request: request, extracted: name, .. } = name;
    let step_0 = ::axum_redis_cache::__private::evict(
            ::core::clone::Clone::clone(&request),
            {
                #[allow(non_snake_case, unused_variables)]
                let Path(name) = &name;
                #[allow(non_snake_case, unused_variables)]
                let Json(repo) = &repo;
                ::axum_redis_cache::__private::Evictions::of(&__AXUM_REDIS_CACHE_WRITER)
                    .key(<get_repo>::key(&repo.owner, &name))
                    .group(::axum_redis_cache::__private::Text::new().literal("repos"))
            },
        )
        .await;
    let step_1 = ::axum_redis_cache::__private::write_through(
            request,
            ::axum_redis_cache::__private::named_alone::<
                <repos::list as ::axum_redis_cache::__private::Handler>::Key,
            >(<repos::list as ::axum_redis_cache::__private::Handler>::route()),
            &__AXUM_REDIS_CACHE_WRITER,
            ::axum_redis_cache::__private::Selected::new(),
        )
        .await;
    ::axum_redis_cache::__private::Run::new(
            ::axum_redis_cache::__private::Run::named(
                    __AXUM_REDIS_CACHE_WRITER.name(),
                    rename::uncached(name, repo),
                )
                .within(step_1),
        )
        .within(step_0)
        .await
}
#[doc(hidden)]
struct rename {}
#[doc(hidden)]
#[allow(clippy::unused_async)]
impl rename {
    async fn uncached(
        #[allow(unused_variables)]
        Path(name): Path<String>,
        #[allow(unused_variables)]
        Json(repo): Json<Repo>,
    ) -> Json<Repo> {
        Json(repo.renamed(name))
    }
}
