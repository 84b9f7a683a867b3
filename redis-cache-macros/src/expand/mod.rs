//! Generated code: the function that axum calls, which is one call into the runtime, and the
//! companion type of the same name, which holds the user's function.
//!
//! ```text
//! // Input
//! #[cached(ttl = 300, key = "product:{id}")]
//! pub async fn get(Path(id): Path<u64>, State(db): State<Db>) -> Json<Product> { body }
//!
//! // Output, without the paths and attributes that `snapshots/template.out.rs` shows
//! pub async fn get(id: Head<Path<u64>, get>, db: State<Db>) -> Response {
//!     let Head { request, extracted: id, .. } = id;
//!     let lookup = read_through(request, <get as Handler>::route(), {
//!         let Path(id) = &id;
//!         Selected::new().key(get::key(id))
//!     });
//!     Run::new(get::uncached(id, db)).unless_found(lookup).await
//! }
//! pub struct get {}
//! impl get {
//!     pub async fn uncached(Path(id): Path<u64>, State(db): State<Db>) -> Json<Product> { body }
//!     const KIND_0: u8 = kind_of(&|Path(id): &Path<u64>| -> &_ { id });
//!     pub fn key(id: impl Part<<Kind<{ get::KIND_0 }> as KindType>::Type>) -> CacheKey {
//!         <Self as Handler>::route()
//!             .key_of_template(&Text::new().literal("product:").value(&id))
//!     }
//! }
//! impl Handler for get {
//!     type Key = OfValues;
//!     fn route() -> &'static Route {
//!         static ROUTE: Route = Route::new(type_name::<get>).reads(..).key_by_template().ttl(..);
//!         &ROUTE
//!     }
//! }
//! ```
//!
//! The function keeps its number of arguments, because attributes around this one count them.

mod accounting;
mod attributes;
mod cached;
mod companion;
mod key;
mod route;
mod select;
mod url;
mod wrapper;

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::Path;

use crate::handler::{Argument, Handler};
use crate::model::{Cached, Evict, Eviction, Key, Put};
use crate::runtime::Runtime;
use crate::span::at;
use accounting::Checks;
use companion::{Companion, Own};
use select::Bound;
use wrapper::{Keep, Layer, RuntimeFunction, wrapper};

/// One attribute of a write.
pub(crate) enum Write {
    Put(Put),
    Evict(Evict),
}

impl Write {
    fn krate(&self) -> &Path {
        match self {
            Self::Put(put) => &put.krate,
            Self::Evict(evict) => &evict.krate,
        }
    }

    fn has_companion(&self) -> bool {
        match self {
            Self::Put(put) => put.companion,
            Self::Evict(evict) => evict.companion,
        }
    }
}

/// Expands `#[cached]`.
pub(crate) fn read(handler: &Handler, arguments: &[Argument<'_>], cached: &Cached) -> TokenStream {
    let runtime = &Runtime::new(&cached.krate);
    let Runtime {
        Handler, WholeUrl, ..
    } = runtime;
    let companion = Companion::new(handler, runtime, cached.companion);
    let name = &companion.name;
    let selected = select::read(handler, arguments, &companion, cached);
    let (url, proof) = if companion.is_beside && !handler.is_generic() {
        (quote!(#name), None)
    } else {
        let proof = route::any_reads_early(runtime, arguments);
        (quote!(#WholeUrl), proof)
    };
    let layer = Layer {
        url: Some(url),
        function: RuntimeFunction::ReadThrough,
        keep: keep(cached),
        proof,
        runtime,
        arguments: vec![
            Bound::constant(quote!(<#name as #Handler>::route())),
            Bound::new(selected, arguments),
        ],
    };
    let own = cached::items(handler, &companion, arguments, cached);
    let checks = accounting::checks(runtime, arguments, cached);
    let role = Role::Reader;
    wrapper(
        handler,
        arguments,
        &companion,
        &own,
        &checks,
        &role,
        &[layer],
    )
}

/// Expands `#[cache_put]` and `#[cache_evict]`. A handler may have several of them; the first is the
/// outermost. The generated code imports `others`, the paths of all attributes except the first, so
/// that the compiler does not report the user's imports of them as unused.
pub(crate) fn writes(
    handler: &Handler,
    arguments: &[Argument<'_>],
    writes: &[Write],
    others: &[Path],
) -> TokenStream {
    let runtimes = writes.iter().map(|write| Runtime::new(write.krate()));
    let runtimes: Vec<_> = runtimes.collect();
    let Some(runtime) = runtimes.first() else {
        return TokenStream::new();
    };
    let has_companion = writes.iter().all(Write::has_companion);
    let companion = Companion::new(handler, runtime, has_companion);
    let mut checks = Checks {
        items: quote!(#(#[allow(unused_imports)] use #others as _;)*),
        ..Checks::default()
    };
    let layers = writes.iter().zip(&runtimes);
    let layers = layers.map(|(write, runtime)| match write {
        Write::Put(it) => {
            checks.items.extend(accounting::inherited(runtime, it));
            put(runtime, arguments, it)
        }
        Write::Evict(it) => evict(runtime, arguments, it),
    });
    let layers: Vec<_> = layers.collect();
    let (own, role) = (Own::default(), Role::Writer);
    wrapper(
        handler, arguments, &companion, &own, &checks, &role, &layers,
    )
}

/// The kind of work that the generated function does before and after the user's function.
enum Role {
    /// Answers from the cache.
    Reader,
    Writer,
}

fn put<'a>(runtime: &'a Runtime, arguments: &[Argument<'_>], put: &Put) -> Layer<'a> {
    let Runtime { WholeUrl, .. } = runtime;
    let path = &put.handler.path;
    let of = if put.handler.values.is_none() {
        select::named_alone(runtime, path)
    } else {
        let span = at(last_span(path));
        let Runtime { Handler, .. } = &runtime.at(span);
        quote_spanned!(span=> <#path as #Handler>::route())
    };
    let writer = companion::writer();
    Layer {
        url: Some(quote!(#WholeUrl)),
        function: RuntimeFunction::WriteThrough,
        // The named handler may have a key function or a `bypass` function. Both take the `Parts`.
        keep: vec![Keep::Write, Keep::Parts, Keep::AllFields],
        proof: route::any_reads_early(runtime, arguments),
        runtime,
        arguments: vec![
            Bound::constant(of),
            Bound::constant(quote!(&#writer)),
            Bound::new(select::put(runtime, put), arguments),
        ],
    }
}

fn evict<'a>(runtime: &'a Runtime, arguments: &[Argument<'_>], evict: &Evict) -> Layer<'a> {
    let Runtime { WholeUrl, .. } = runtime;
    let of_request = |eviction: &Eviction| match eviction {
        Eviction::Handler(handler) => handler.values.is_none(),
        Eviction::Group(_) | Eviction::All => false,
    };
    let is_of_request = evict.evictions.iter().any(of_request);
    let keep = if is_of_request {
        vec![Keep::Write, Keep::Parts]
    } else {
        vec![Keep::Write]
    };
    Layer {
        url: is_of_request.then(|| quote!(#WholeUrl)),
        function: RuntimeFunction::Evict,
        keep,
        proof: None,
        runtime,
        arguments: vec![Bound::new(select::evictions(runtime, evict), arguments)],
    }
}

/// Returns the parts of a request that a route needs.
fn keep(cached: &Cached) -> Vec<Keep> {
    let has_function = matches!(cached.key, Key::Function(_)) || cached.bypass.is_some();
    let function = has_function.then_some(Keep::Parts);
    let fields = (!cached.vary.is_empty()).then_some(Keep::AllFields);
    function.into_iter().chain(fields).collect()
}

fn first_span(tokens: &impl ToTokens) -> Span {
    let first = tokens.to_token_stream().into_iter().next();
    first.map_or_else(Span::call_site, |token| token.span())
}

fn last_span(tokens: &impl ToTokens) -> Span {
    let last = tokens.to_token_stream().into_iter().last();
    last.map_or_else(Span::call_site, |token| token.span())
}
