//! The function that reads a URL as the arguments of a handler do.

use proc_macro2::{Ident, TokenStream};
use quote::{quote, quote_spanned};
use syn::ext::IdentExt;

use super::at;
use crate::handler::{Argument, Handler};
use crate::model::{Cached, Key};
use crate::pattern;
use crate::runtime::Runtime;
use crate::template::Template;

/// Returns the `.reads(..)` of a route. It is a function: a closure needs another function to be called
/// by pointer.
///
/// ```text
/// // Input
/// Path(id): Path<u64>, Query(page): Query<Page>
///
/// // Output
/// .reads({
///     fn read(url: &mut UrlReader<'_>) {
///         (&&&Probe::<Path<u64>>::new()).read(url);
///         (&&&Probe::<Query<Page>>::new()).read(url);
///     }
///     read
/// })
/// ```
pub(super) fn reads(
    runtime: &Runtime,
    arguments: &[Argument<'_>],
    cached: &Cached,
) -> Option<TokenStream> {
    let reading = reading(runtime, arguments, cached)?;
    let Runtime { UrlReader, .. } = runtime;
    Some(quote!(.reads({
        fn read(url: &mut #UrlReader<'_>) { #reading }
        read
    })))
}

/// Returns the instance of a generic handler, with the function that reads a URL for it: another
/// function could not name its types.
pub(super) fn of_types(
    runtime: &Runtime,
    handler: &Handler,
    arguments: &[Argument<'_>],
    cached: &Cached,
) -> TokenStream {
    let types = handler.types();
    let reading = if let Some(reading) = reading(runtime, arguments, cached) {
        quote!(|url| { #reading })
    } else {
        quote!(|_| {})
    };
    let Runtime { Selected, .. } = runtime;
    quote!(#Selected::of_types::<#types>(#reading))
}

fn reading(runtime: &Runtime, arguments: &[Argument<'_>], cached: &Cached) -> Option<TokenStream> {
    // A key function sees all parts of the request, and decides on the key alone.
    if matches!(cached.key, Key::Function(_)) {
        return None;
    }
    let elements = arguments.iter().flat_map(Argument::elements);
    let reads: Vec<_> = elements
        .map(|argument| one(runtime, &argument, cached))
        .collect();
    let Runtime {
        ByType,
        ByValue,
        Nothing,
        ..
    } = runtime;
    (!reads.is_empty()).then(|| {
        quote! {
            use #ByType as _;
            use #ByValue as _;
            use #Nothing as _;
            #(#reads)*
        }
    })
}

/// Returns the statement that reads one argument. Values that a template holds are read and not
/// written, so that unread parameters of the path are known.
fn one(runtime: &Runtime, argument: &Argument<'_>, cached: &Cached) -> TokenStream {
    let ty = argument.ty;
    let span = at(syn::spanned::Spanned::span(ty));
    let Runtime { Probe, .. } = runtime;
    let probe = quote_spanned!(span=> (&&&#Probe::<#ty>::new()));
    let bindings = &argument.bindings;
    let ignored = |name: &Ident| cached.ignored.contains(&name.unraw().to_string());
    let template = match &cached.key {
        Key::Template(template) => Some(template),
        Key::Default(_) | Key::Function(_) => None,
    };
    let in_template = |name: &Ident| {
        let mut values = template.into_iter().flat_map(Template::values);
        values.any(|value| value.is_all_of(name))
    };
    let has_names = !bindings.is_empty() && pattern::binds_all(argument.pattern);
    let is_held = |name: &Ident| ignored(name) || in_template(name);
    if has_names && bindings.iter().all(is_held) {
        quote!(url.silently(|url| #probe.read(url));)
    } else if template.is_some() {
        // The template has a part of the value; the other parts join the key.
        quote!(url.beside(|url| #probe.read(url));)
    } else {
        quote!(#probe.read(url);)
    }
}
