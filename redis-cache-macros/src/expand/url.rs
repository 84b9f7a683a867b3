//! Reading the URL as the arguments of a handler do: a function of the runtime's reader.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::ext::IdentExt;

use super::at;
use crate::handler::{Argument, Handler};
use crate::model::{Key, Route};
use crate::pattern;

/// `.reads(..)` of a route.
pub(super) fn reads(
    private: &TokenStream,
    arguments: &[Argument<'_>],
    route: &Route,
) -> Option<TokenStream> {
    let reading = reading(private, arguments, route)?;
    Some(quote!(.reads(#reading)))
}

/// The instance of a generic handler, with what its arguments read.
pub(super) fn of_types(
    private: &TokenStream,
    handler: &Handler,
    arguments: &[Argument<'_>],
    route: &Route,
) -> TokenStream {
    let types = handler.types();
    let reading = reading(private, arguments, route).unwrap_or_else(|| quote!(|_| {}));
    quote!(#private::Selected::of_types::<#types>(#reading))
}

/// ```text
/// // Input
/// Path(id): Path<u64>, Query(page): Query<Page>
///
/// // Output
/// |url| {
///     (&&&Probe::<Path<u64>>::new()).read(url);
///     (&&&Probe::<Query<Page>>::new()).read(url);
/// }
/// ```
fn reading(
    private: &TokenStream,
    arguments: &[Argument<'_>],
    route: &Route,
) -> Option<TokenStream> {
    // The function sees the whole head of the request: what the key holds is up to it.
    if matches!(route.key, Key::Function(_)) {
        return None;
    }
    let elements = arguments.iter().flat_map(Argument::elements);
    let reads: Vec<_> = elements
        .map(|argument| one(private, &argument, route))
        .collect();
    (!reads.is_empty()).then(|| {
        quote!(|url| {
            #[allow(unused_imports)]
            use #private::read::{ByType as _, ByValue as _, Nothing as _};
            #(#reads)*
        })
    })
}

/// The reading of one argument. What a template holds already is read and not written, so that the
/// parameters of the path are known that nobody reads.
fn one(private: &TokenStream, argument: &Argument<'_>, route: &Route) -> TokenStream {
    let ty = argument.ty;
    let span = at(syn::spanned::Spanned::span(ty));
    let probe = quote_spanned!(span=> (&&&#private::Probe::<#ty>::new()));
    let bindings = &argument.bindings;
    let ignored = |name: &&proc_macro2::Ident| route.ignored.contains(&name.unraw().to_string());
    let has_names = !bindings.is_empty() && pattern::binds_all(argument.pattern);
    if has_names && bindings.iter().all(|name| ignored(&name)) {
        return quote!(url.silently(|url| #probe.read(url)););
    }
    let Key::Template(template) = &route.key else {
        return quote!(#probe.read(url););
    };
    let in_template = |name: &&proc_macro2::Ident| {
        let mut values = template.values();
        values.any(|value| value.is_all_of(name))
    };
    let is_held = |name| ignored(&name) || in_template(&name);
    if has_names && bindings.iter().all(is_held) {
        quote!(url.silently(|url| #probe.read(url));)
    } else {
        // A part of it is there: the others join the key.
        quote!(url.beside(|url| #probe.read(url));)
    }
}
