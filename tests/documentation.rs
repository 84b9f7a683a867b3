//! The snippets of the README, the guide and the references, which are compiled or run as tests of this
//! package: their dependencies are more than those of an application.
#![cfg(doctest)]

macro_rules! pages {
    ($($name:ident = $path:literal;)*) => {
        $(
            #[doc = include_str!($path)]
            pub mod $name {}
        )*
    };
}

pages! {
    readme = "../README.md";
    cached = "../docs/cached.md";
    cache_evict = "../docs/cache_evict.md";
    cache_put = "../docs/cache_put.md";
    cdn = "../docs/guide/cdn.md";
    compatibility = "../docs/guide/compatibility.md";
    deployment = "../docs/guide/deployment.md";
    failures = "../docs/guide/failures.md";
    groups = "../docs/guide/groups.md";
    http = "../docs/guide/http.md";
    keys = "../docs/guide/keys.md";
    migrating = "../docs/guide/migrating.md";
    quick_start = "../docs/guide/quick_start.md";
    telemetry = "../docs/guide/telemetry.md";
    testing = "../docs/guide/testing.md";
    users = "../docs/guide/users.md";
    values = "../docs/guide/values.md";
    write_through = "../docs/guide/write_through.md";
}
