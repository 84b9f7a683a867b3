//! The companion of a handler: a type of the same name, with what others need of it.

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::Visibility;

use super::{at, attributes, path_at, private, route, select};
use crate::handler::{Argument, Handler};
use crate::model::{Key, Route};
use crate::pattern;
use crate::template::{Template, Value, word};

/// Where no companion can stand, it is an item inside of the function.
pub(super) struct Companion<'a> {
    handler: &'a Handler,
    pub(super) private: TokenStream,
    pub(super) name: Ident,
    pub(super) is_beside: bool,
}

impl<'a> Companion<'a> {
    pub(super) fn new(handler: &'a Handler, krate: &TokenStream, is_beside: bool) -> Self {
        let name = if is_beside {
            handler.signature.ident.clone()
        } else {
            format_ident!("__AxumRedisCacheHandler")
        };
        Self {
            handler,
            private: private(krate),
            name,
            is_beside,
        }
    }

    fn visibility(&self) -> Option<&Visibility> {
        self.is_beside.then_some(&self.handler.visibility)
    }

    /// The type, with the user's function as it is written, and what a reading handler has.
    pub(super) fn items(&self, own: &Own) -> TokenStream {
        let Own {
            functions,
            implementation,
        } = own;
        let (name, visibility) = (&self.name, self.visibility());
        let mut signature = self.handler.signature.clone();
        signature.ident = Ident::new("uncached", signature.ident.span());
        let body = &self.handler.body;
        let lints = attributes::of_uncached(self.handler);
        let cfg: Vec<_> = attributes::of_companion(self.handler).collect();
        quote! {
            #(#cfg)*
            #[doc(hidden)]
            #[allow(dead_code, non_camel_case_types, unreachable_pub)]
            #visibility struct #name {}
            #(#cfg)*
            #[doc(hidden)]
            #[allow(clippy::unused_async, dead_code, private_interfaces, unreachable_pub)]
            impl #name {
                #(#lints)*
                #visibility #signature #body
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
    let (ty, functions) = match &route.key {
        Key::Template(template) => (
            quote!(OfValues),
            template_key(companion, arguments, route, template),
        ),
        Key::Default(_) | Key::Path(_) | Key::Function(_) => {
            (quote!(OfRequest), text_key(companion))
        }
    };
    let vary_by = (!route.vary_by.is_empty()).then(|| {
        let count = route.vary_by.len();
        quote!(const VARY_BY: usize = #count;)
    });
    let groups = (!route.groups_by_key()).then(|| {
        quote!(
            const GROUPS_BY_KEY: bool = false;
        )
    });
    let declared = route::declared(handler, arguments, route);
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
        functions,
        implementation,
    }
}

/// `key` of a handler whose key is a text that is no template.
fn text_key(companion: &Companion<'_>) -> TokenStream {
    let (private, visibility) = (&companion.private, companion.visibility());
    quote! {
        #visibility fn key(text: impl #private::KeyText) -> #private::CacheKey {
            <Self as #private::Handler>::route().key_of(&text)
        }
    }
}

/// `key` of a handler whose key is a template, with a parameter for each value.
fn template_key(
    companion: &Companion<'_>,
    arguments: &[Argument<'_>],
    route: &Route,
    template: &Template,
) -> TokenStream {
    let (private, visibility) = (&companion.private, companion.visibility());
    let values = select::distinct(template);
    let names = parameters(&values);
    let mut kinds = TokenStream::new();
    let mut types = Vec::new();
    for (number, value) in values.iter().enumerate() {
        let argument = &arguments[value.argument];
        if argument.is_generic {
            types.push(quote!(#private::Any));
            continue;
        }
        let kind = format_ident!("KIND_{number}");
        let (pattern, ty) = (pattern::by_reference(argument.pattern), argument.ty);
        let (taken, span) = (select::reference(value), at(value.root.span()));
        let kind_of = path_at(private, span);
        let kind_of = quote_spanned! {span=>
            #kind_of::kind_of(&|#pattern: &#ty| -> &_ { #taken })
        };
        kinds.extend(quote! {
            #[allow(non_snake_case, unused_variables)]
            const #kind: u8 = #kind_of;
        });
        let name = &companion.name;
        types.push(quote!(<#private::Kind<{ #name::#kind }> as #private::KindType>::Type));
    }
    let parameter = |value: &Value| {
        let position = values.iter().position(|other| other == value);
        let name = position.map(|position| &names[position]);
        quote!(&#name)
    };
    let key = select::text(private, template, &parameter);
    let has_groups = route.fixed_groups().is_none() && route.groups_by_key();
    let groups = has_groups.then(|| {
        let groups = route
            .groups
            .iter()
            .map(|group| select::text(private, group, &parameter));
        quote!(.in_groups([#(#groups),*]))
    });
    let parameters: Vec<_> = names
        .iter()
        .zip(&types)
        .map(|(name, ty)| quote!(#name: impl #private::Part<#ty>))
        .collect();
    quote! {
        #kinds
        #[allow(non_snake_case)]
        #visibility fn key(#(#parameters),*) -> #private::CacheKey {
            #key.into_key() #groups
        }
    }
}

/// Names for parameters: like the values, and different from each other.
fn parameters(values: &[Value]) -> Vec<Ident> {
    let mut names: Vec<Ident> = Vec::new();
    for (number, value) in values.iter().enumerate() {
        let mut name = word(&value.flat_name());
        if names.contains(&name) {
            name = format_ident!("value_{number}");
        }
        name.set_span(value.root.span());
        names.push(name);
    }
    names
}
