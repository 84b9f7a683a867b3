//! The items that only the companion of a `#[cached]` handler has: its key and its route.

use quote::quote;

use super::companion::{Companion, Own};
use super::{attributes, key, route};
use crate::handler::{Argument, Handler};
use crate::model::{Key, Route};

/// Returns the key function and the implementation of `Handler`.
pub(super) fn items(
    handler: &Handler,
    companion: &Companion<'_>,
    arguments: &[Argument<'_>],
    route: &Route,
) -> Own {
    let (private, name) = (&companion.private, &companion.name);
    let ty = match &route.key {
        _ if handler.is_generic() => quote!(OfTypes),
        Key::Template(_) => quote!(OfValues),
        Key::Default(_) | Key::Function(_) => quote!(OfRequest),
    };
    let functions = (!handler.is_generic()).then(|| key::function(companion, arguments, route));
    let vary_by = (!route.vary_by.is_empty()).then(|| {
        let count = route.vary_by.len();
        quote!(const VARY_BY: ::core::primitive::usize = #count;)
    });
    let groups = (!route.groups_by_key()).then(|| {
        quote!(
            const GROUPS_BY_KEY: ::core::primitive::bool = false;
        )
    });
    let declared = route::declared(handler, companion, arguments, route);
    let cfg: Vec<_> = attributes::of_companion(handler).collect();
    let implementation = quote! {
        #(#cfg)*
        impl #private::Handler for #name {
            type Key = #private::#ty;
            #vary_by
            #groups
            fn route() -> &'static #private::Route {
                static __AXUM_REDIS_CACHE_ROUTE: #private::Route = #declared;
                &__AXUM_REDIS_CACHE_ROUTE
            }
        }
    };
    Own {
        functions: functions.unwrap_or_default(),
        implementation,
    }
}
