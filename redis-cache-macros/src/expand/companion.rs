//! The companion of a handler: a type of the same name, with what others need of it.

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};
use syn::{FnArg, Visibility, parse_quote};

use super::{at, attributes, key, private, route};
use crate::handler::{Argument, Handler};
use crate::model::{Key, Route};

/// Where no companion can stand, it is an item inside of the function.
pub(super) struct Companion<'a> {
    handler: &'a Handler,
    pub(super) private: TokenStream,
    pub(super) name: Ident,
    pub(super) is_beside: bool,
}

impl<'a> Companion<'a> {
    pub(super) fn new(handler: &'a Handler, krate: &TokenStream, is_beside: bool) -> Self {
        let mut name = if is_beside {
            handler.signature.ident.clone()
        } else {
            format_ident!("__AxumRedisCacheHandler")
        };
        // Lints that the user may have forbidden cannot be allowed here. They leave items alone whose
        // first token and whose name come from an expansion.
        name.set_span(at(name.span()));
        Self {
            handler,
            private: private(krate),
            name,
            is_beside,
        }
    }

    /// The visibility of everything in it.
    pub(super) fn visibility(&self) -> Option<Visibility> {
        let mut visibility = self.is_beside.then(|| self.handler.visibility.clone())?;
        match &mut visibility {
            Visibility::Public(token) => token.span = at(token.span),
            Visibility::Restricted(restricted) => {
                restricted.pub_token.span = at(restricted.pub_token.span);
            }
            Visibility::Inherited => {}
        }
        Some(visibility)
    }

    /// The type, with the user's function as it is written, and what a reading handler has.
    /// An argument that only the attribute uses is not unused.
    pub(super) fn items(&self, own: &Own, used: &[usize]) -> TokenStream {
        let Own {
            functions,
            implementation,
        } = own;
        let (name, visibility) = (&self.name, self.visibility());
        let mut signature = self.handler.signature.clone();
        signature.ident = Ident::new("uncached", at(signature.ident.span()));
        for (position, input) in signature.inputs.iter_mut().enumerate() {
            if let (true, FnArg::Typed(argument)) = (used.contains(&position), input) {
                argument
                    .attrs
                    .push(parse_quote!(#[allow(unused_variables)]));
            }
        }
        let body = &self.handler.body;
        let own_visibility = self.is_beside.then_some(&self.handler.visibility);
        let lints = attributes::of_uncached(self.handler);
        let cfg: Vec<_> = attributes::of_companion(self.handler).collect();
        quote! {
            #(#cfg)*
            #[doc(hidden)]
            #visibility struct #name {}
            #(#cfg)*
            #[doc(hidden)]
            #[allow(clippy::unused_async)]
            impl #name {
                #(#lints)*
                #own_visibility #signature #body
                #functions
            }
            #implementation
        }
    }
}

/// What the companion of a `#[cached]` handler has more than others.
#[derive(Default)]
pub(super) struct Own {
    functions: TokenStream,
    implementation: TokenStream,
}

/// The companion's key, and what was declared.
pub(super) fn of_cached(
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
