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
use crate::model::{Evict, Key, Put, Route, Target};
use crate::span::at;
use accounting::Checks;
use companion::{Companion, Own};
use wrapper::{Keep, Layer, RuntimeFunction, wrapper};

/// One attribute of a write.
pub(crate) enum Write {
    Put(Put),
    Evict(Evict),
}

/// Expands `#[cached]`.
pub(crate) fn read(handler: &Handler, arguments: &[Argument<'_>], route: &Route) -> TokenStream {
    let private = private(&route.krate);
    let companion = Companion::new(handler, &route.krate, route.companion);
    let name = &companion.name;
    let selected = select::read(handler, arguments, &companion, route);
    let (url, proof) = if companion.is_beside && !handler.is_generic() {
        (quote!(#name), None)
    } else {
        let proof = route::any_reads_early(&private, arguments);
        (quote!(#private::WholeUrl), proof)
    };
    let layer = Layer {
        url: Some(url),
        function: RuntimeFunction::ReadThrough,
        keep: keep(route),
        proof,
        private: private.clone(),
        arguments: vec![
            select::place(quote!(<#name as #private::Handler>::route())),
            select::bound(selected, arguments),
        ],
    };
    let own = cached::items(handler, &companion, arguments, route);
    let checks = accounting::checks(&private, arguments, route);
    wrapper(
        handler,
        arguments,
        &companion,
        &own,
        &checks,
        &Role::Reader,
        &[layer],
    )
}

/// Expands `#[cache_put]` and `#[cache_evict]`. A handler may have several of them; the first is the
/// outermost. The paths of the others are mentioned, because the compiler has to see that they are
/// used.
pub(crate) fn writes(
    handler: &Handler,
    arguments: &[Argument<'_>],
    writes: &[Write],
    others: &[Path],
) -> TokenStream {
    let krate = writes
        .first()
        .map_or_else(TokenStream::new, |first| match first {
            Write::Put(put) => put.krate.clone(),
            Write::Evict(evict) => evict.krate.clone(),
        });
    let has_companion = writes.iter().all(|write| match write {
        Write::Put(put) => put.companion,
        Write::Evict(evict) => evict.companion,
    });
    let companion = Companion::new(handler, &krate, has_companion);
    let mut checks = Checks {
        items: quote!(#(#[allow(unused_imports)] use #others as _;)*),
        ..Checks::default()
    };
    let layers = writes.iter().map(|write| match write {
        Write::Put(it) => {
            checks
                .items
                .extend(accounting::inherited(&private(&it.krate), it));
            put(arguments, it)
        }
        Write::Evict(it) => evict(arguments, it),
    });
    let layers: Vec<_> = layers.collect();
    let none = Own::default();
    let role = Role::Writer;
    wrapper(
        handler, arguments, &companion, &none, &checks, &role, &layers,
    )
}

/// The work of the generated function around the user's.
enum Role {
    /// Answers from the cache.
    Reader,
    Writer,
}

fn put(arguments: &[Argument<'_>], put: &Put) -> Layer {
    let private = private(&put.krate);
    let path = &put.handler.path;
    let (of, keep) = match &put.handler.values {
        None => (
            select::named_alone(&private, path),
            vec![Keep::Write, Keep::Parts, Keep::AllFields],
        ),
        Some(_) => (
            quote_spanned!(at(last_span(path))=> <#path as #private::Handler>::route()),
            vec![Keep::Write, Keep::AllFields],
        ),
    };
    Layer {
        url: Some(quote!(#private::WholeUrl)),
        function: RuntimeFunction::WriteThrough,
        keep,
        proof: route::any_reads_early(&private, arguments),
        private: private.clone(),
        arguments: vec![
            select::place(of),
            select::place({
                let writer = companion::writer();
                quote!(&#writer)
            }),
            select::bound(select::put(&private, put), arguments),
        ],
    }
}

fn evict(arguments: &[Argument<'_>], evict: &Evict) -> Layer {
    let private = private(&evict.krate);
    let of_request = |target: &Target| match target {
        Target::Handler(handler) => handler.values.is_none(),
        _ => false,
    };
    let is_of_request = evict.targets.iter().any(of_request);
    let keep = if is_of_request {
        vec![Keep::Write, Keep::Parts]
    } else {
        vec![Keep::Write]
    };
    Layer {
        url: is_of_request.then(|| quote!(#private::WholeUrl)),
        function: RuntimeFunction::Evict,
        keep,
        proof: None,
        private: private.clone(),
        arguments: vec![select::bound(select::evictions(&private, evict), arguments)],
    }
}

/// Returns the parts of a request that a route needs.
fn keep(route: &Route) -> Vec<Keep> {
    let function = matches!(route.key, Key::Function(_)).then_some(Keep::Parts);
    let fields = (!route.vary.is_empty()).then_some(Keep::AllFields);
    function.into_iter().chain(fields).collect()
}

fn private(krate: &TokenStream) -> TokenStream {
    quote!(#krate::__private)
}

/// Returns a path whose errors are about the user's code.
fn path_at(path: &TokenStream, span: Span) -> TokenStream {
    let tokens = path.clone().into_iter().map(|mut token| {
        token.set_span(token.span().located_at(span));
        token
    });
    tokens.collect()
}

fn first_span(tokens: &impl ToTokens) -> Span {
    let first = tokens.to_token_stream().into_iter().next();
    first.map_or_else(Span::call_site, |token| token.span())
}

fn last_span(tokens: &impl ToTokens) -> Span {
    let last = tokens.to_token_stream().into_iter().last();
    last.map_or_else(Span::call_site, |token| token.span())
}
