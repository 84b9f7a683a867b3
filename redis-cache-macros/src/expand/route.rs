//! What an attribute declared, as a constant expression of `Route`.

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::ext::IdentExt;

use super::{at, full_name, last_span, path_at, private};
use crate::handler::{Argument, Handler};
use crate::model::{Key, Query, Route, Visibility};

pub(super) fn declared(
    handler: &Handler,
    arguments: &[Argument<'_>],
    route: &Route,
) -> TokenStream {
    let private = private(&route.krate);
    let name = full_name(handler);
    let Route { vary, .. } = route;
    let key = match &route.key {
        Key::Default(_) => {
            let query = query_rule(&private, arguments, route);
            Some(quote!(.query(#query)))
        }
        Key::Function(path) => {
            let span = at(last_span(&path.path));
            let private = path_at(&private, span);
            let key = quote_spanned!(span=> #private::KeyResult::into_future(#path(parts)));
            Some(quote!(.key_by(|parts| #key)))
        }
        Key::Template(_) | Key::Path(_) => None,
    };
    let identified = identified(&private, arguments, route);
    let ttl = route.ttl.as_ref().map(|ttl| quote!(.ttl(#ttl)));
    let max_age = route
        .max_age
        .as_ref()
        .map(|max_age| quote!(.max_age(#max_age)));
    let windows = [
        ("stale_while_revalidate", &route.stale_while_revalidate),
        ("stale_if_error", &route.stale_if_error),
    ];
    let windows = windows.into_iter().filter_map(|(name, window)| {
        let (name, window) = (format_ident!("{name}"), window.as_ref()?);
        Some(quote!(.#name(#window)))
    });
    let groups = route.fixed_groups().filter(|groups| !groups.is_empty());
    let groups = groups.map(|groups| quote!(.groups(&[#(#groups),*])));
    let vary = (!vary.is_empty()).then(|| {
        let count = vary.len();
        quote!(.vary({
            static __AXUM_REDIS_CACHE_VARY: [#private::HeaderName; #count] =
                [#(#private::HeaderName::from_static(#vary)),*];
            &__AXUM_REDIS_CACHE_VARY
        }))
    });
    let statuses = route
        .statuses
        .as_ref()
        .map(|list| quote!(.statuses(&[#(#list),*])));
    let visibility = route.visibility.map(|visibility| match visibility {
        Visibility::Private => quote!(.private()),
        Visibility::Public => quote!(.public()),
    });
    let no_store = route.no_store.then(|| quote!(.no_store()));
    let unless = route.unless.as_ref().map(|unless| quote!(.unless(#unless)));
    quote!({
        #[allow(unused_imports)]
        use #private::NotDetermined as _;
        #private::Route::new(#name)
        #key #identified #ttl #max_age #(#windows)* #groups #vary #statuses #visibility #no_store #unless
    })
}

/// How much of the query is in the default key: a constant expression of `QueryRule`.
pub(super) fn query_rule(
    private: &TokenStream,
    arguments: &[Argument<'_>],
    route: &Route,
) -> TokenStream {
    let all = quote!(#private::QueryRule::All);
    match &route.key {
        Key::Default(Query::Only(names)) => quote!(#private::QueryRule::Only(&[#(#names),*])),
        Key::Default(Query::IfSeen) => {
            let is_ignored = |argument: &Argument<'_>| {
                let mut bindings = argument.bindings.iter();
                !argument.bindings.is_empty()
                    && bindings.all(|name| route.ignored.contains(&name.unraw().to_string()))
            };
            // Of a type that mentions generics nothing is known here; that it does not see the
            // query is checked where they are known.
            let elements = arguments.iter().flat_map(Argument::elements);
            let seen = elements.filter(|it| !it.is_generic && !is_ignored(it));
            let by = seen.map(|argument| probe(private, &argument));
            quote!(#private::QueryRule::of(&[#(#by),*]))
        }
        Key::Default(Query::All) | Key::Template(_) | Key::Path(_) | Key::Function(_) => all,
    }
}

/// What determines an argument, as far as its type says it; with `NotDetermined` in scope.
pub(super) fn probe(private: &TokenStream, argument: &Argument<'_>) -> TokenStream {
    let ty = argument.ty;
    quote!(#private::Probe::<#ty>::BY)
}

/// The key accounts for who asks if it holds a value that the URL does not determine.
fn identified(
    private: &TokenStream,
    arguments: &[Argument<'_>],
    route: &Route,
) -> Option<TokenStream> {
    let is_used = |argument: &Argument<'_>| {
        let mut roots = route.used().map(|value| value.root.unraw());
        roots.any(|root| argument.bindings.iter().any(|name| name.unraw() == root))
    };
    let elements = arguments.iter().flat_map(Argument::elements);
    let used = elements.filter(|argument| !argument.is_generic && is_used(argument));
    let by: Vec<_> = used.map(|argument| probe(private, &argument)).collect();
    (!by.is_empty()).then(|| quote!(.identified(#(#by.is_none())||*)))
}
