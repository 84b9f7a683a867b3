//! The attributes of `axum-redis-cache`. Depend on that crate instead: it re-exports them.
//!
//! An attribute is parsed (`options`, `parse`) to what was written, lowered (`model`) to what was decided, and
//! expanded (`expand`) to one call into the runtime.

mod expand;
mod handler;
mod model;
mod options;
mod parse;

use proc_macro2::TokenStream;

use handler::Handler;

/// Caches the responses of a GET handler.
///
/// The handler runs only when there is no stored response to reuse. Extractors always run, so
/// authentication is never skipped. The state of the router must hold a `Cache`, which is taken
/// from it by `FromRef`.
///
/// The cache key is the path of the request as the client sent it, with the query sorted.
///
/// | option | meaning | default |
/// | --- | --- | --- |
/// | `ttl = 300`, `ttl = "5m"`, `ttl = TTL` | how long a response stays fresh: seconds, a text such as `"1h 30m"`, or an expression of `Duration`, which is evaluated once; zero: no expiry | `REDIS_DEFAULT_TTL` |
/// | `group = "products"`, `group = ["products", "home"]` | the eviction groups of the responses | none |
/// | `max_age = 60` | what clients are told at most (`Cache-Control: max-age`), written like `ttl` | what is left of the `ttl` |
/// | `private`, `public` | clients are told so; `public` also stores responses to requests with `Authorization` | neither |
/// | `no_store` | clients are told not to store | no |
/// | `vary("accept-language")` | request fields that select the response: part of the key and of `Vary` | none |
/// | `status(200, 404)` | the storable statuses | 200 |
/// | `unless = path::to::function` | a `fn(&Response) -> bool` that says when not to store | |
/// | `crate = path` | where `axum-redis-cache` is, when it was renamed | `::axum_redis_cache` |
///
/// HEAD requests are answered as the GET they stand for: where the handler runs, it sees GET.
///
/// The attribute belongs above others that look at what axum sees, such as `#[debug_handler]`.
#[proc_macro_attribute]
pub fn cached(
    args: proc_macro::TokenStream,
    item: proc_macro::TokenStream,
) -> proc_macro::TokenStream {
    attribute(args, item, |args, handler| {
        Ok(expand::read(
            handler,
            &model::Route::lower(parse::cached(args)?)?,
        ))
    })
}

/// Evicts when the handler succeeded.
///
/// The eviction is done after the handler answered with 2xx or 3xx, and before the response starts:
/// whoever sees the response never reads an old entry afterwards.
///
/// | target | what it evicts |
/// | --- | --- |
/// | `key` | the entry of this request's path and query |
/// | `key = "/products"` | the entry of that path |
/// | `group = "products"`, `group = ["products", "home"]` | every entry of the groups, in constant time |
/// | `all` | everything |
///
/// At least one target is needed. With `always` the eviction is done whatever the handler answers.
/// `crate = path` says where `axum-redis-cache` is, when it was renamed.
#[proc_macro_attribute]
pub fn cache_evict(
    args: proc_macro::TokenStream,
    item: proc_macro::TokenStream,
) -> proc_macro::TokenStream {
    attribute(args, item, |args, handler| {
        Ok(expand::evict(
            handler,
            &model::Evict::lower(parse::evict(args)?)?,
        ))
    })
}

/// Stores the response of a write as what the next GET of the same path gets.
///
/// The handler always runs. A 200, 201 or 203 with a body is stored, and replayed as 200. Another
/// success, or a response that is not storable, evicts the entry; a failure leaves it alone.
///
/// The options are `ttl`, `group`, `max_age`, `private`, `public`, `no_store`, `vary`, `unless` and
/// `crate`, as for `#[cached]`; give them the values that the reading handler has, because a
/// stored response is only found under the same groups.
#[proc_macro_attribute]
pub fn cache_put(
    args: proc_macro::TokenStream,
    item: proc_macro::TokenStream,
) -> proc_macro::TokenStream {
    attribute(args, item, |args, handler| {
        Ok(expand::write(
            handler,
            &model::Route::lower(parse::put(args)?)?,
        ))
    })
}

/// Checks the options and the signature, so that the errors of both are reported, and gives the
/// function back whatever is wrong, so that its uses do not fail too.
fn attribute(
    args: proc_macro::TokenStream,
    item: proc_macro::TokenStream,
    expand: impl FnOnce(TokenStream, &Handler) -> darling::Result<TokenStream>,
) -> proc_macro::TokenStream {
    let item = TokenStream::from(item);
    let expanded = syn::parse2(item.clone())
        .map_err(darling::Error::from)
        .and_then(|handler| {
            let mut errors = darling::Error::accumulator();
            errors.handle(Handler::check(&handler));
            let expanded = errors.handle(expand(args.into(), &handler));
            errors.finish_with(expanded.unwrap_or_default())
        });
    let tokens = expanded.unwrap_or_else(|errors| {
        let errors = errors.write_errors();
        quote::quote!(#item #errors)
    });
    tokens.into()
}
