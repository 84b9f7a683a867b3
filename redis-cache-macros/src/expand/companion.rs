//! The companion of a handler: a type of the same name, by which other attributes refer to it.

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};
use syn::{FnArg, Visibility, parse_quote};

use super::{at, attributes};
use crate::handler::Handler;
use crate::runtime::Runtime;

/// The companion of a handler. Where it cannot stand beside the function, it is an item inside of it.
pub(super) struct Companion<'a> {
    handler: &'a Handler,
    pub(super) runtime: &'a Runtime,
    pub(super) name: Ident,
    pub(super) is_beside: bool,
}

impl<'a> Companion<'a> {
    pub(super) fn new(handler: &'a Handler, runtime: &'a Runtime, is_beside: bool) -> Self {
        let mut name = if is_beside {
            handler.signature.ident.clone()
        } else {
            format_ident!("__AxumRedisCacheHandler")
        };
        // Lints that the user may have forbidden cannot be allowed here. They ignore items whose first
        // token and whose name come from an expansion.
        name.set_span(at(name.span()));
        Self {
            handler,
            runtime,
            name,
            is_beside,
        }
    }

    /// Returns the visibility of its items.
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

    /// Returns the type, with the user's function as it is written and the items of a reading handler.
    /// An argument that only the attribute uses counts as used.
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

/// The items that only the companion of a `#[cached]` handler has.
#[derive(Default)]
pub(super) struct Own {
    pub(super) functions: TokenStream,
    pub(super) implementation: TokenStream,
}

/// Returns the name of the static of a handler that writes.
pub(super) fn writer() -> TokenStream {
    quote!(__AXUM_REDIS_CACHE_WRITER)
}
