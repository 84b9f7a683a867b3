//! The items that only the companion of a `#[cached]` handler has: its key and its route.

use quote::quote;

use super::companion::{Companion, Own};
use super::{attributes, key, route};
use crate::handler::{Argument, Handler};
use crate::model::{Cached, Key};
use crate::runtime::Runtime;

/// Returns the key function and the implementation of `Handler`.
pub(super) fn items(
    handler: &Handler,
    companion: &Companion<'_>,
    arguments: &[Argument<'_>],
    cached: &Cached,
) -> Own {
    let name = &companion.name;
    let Runtime {
        Handler,
        OfRequest,
        OfTypes,
        OfValues,
        Route,
        ..
    } = companion.runtime;
    let ty = match &cached.key {
        _ if handler.is_generic() => OfTypes,
        Key::Template(_) => OfValues,
        Key::Default(_) | Key::Function(_) => OfRequest,
    };
    let functions = (!handler.is_generic()).then(|| key::function(companion, arguments, cached));
    let vary_by = (!cached.vary_by.is_empty()).then(|| {
        let count = cached.vary_by.len();
        quote!(const VARY_BY: ::core::primitive::usize = #count;)
    });
    let groups = (!cached.groups_by_key()).then(|| {
        quote!(
            const GROUPS_BY_KEY: ::core::primitive::bool = false;
        )
    });
    let declared = route::declared(handler, companion, arguments, cached);
    let cfg: Vec<_> = attributes::of_companion(handler).collect();
    let implementation = quote! {
        #(#cfg)*
        impl #Handler for #name {
            type Key = #ty;
            #vary_by
            #groups
            fn route() -> &'static #Route {
                static __AXUM_REDIS_CACHE_ROUTE: #Route = #declared;
                &__AXUM_REDIS_CACHE_ROUTE
            }
        }
    };
    Own {
        functions: functions.unwrap_or_default(),
        implementation,
    }
}
