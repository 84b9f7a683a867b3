//! The attributes of `axum-redis-cache`, and `#[derive(KeyPart)]`. Depend on that crate instead: it re-exports them.
//!
//! An attribute is parsed (`options`, `parse`) to the options as they are written, lowered (`model`) to
//! decisions, and expanded (`expand`) to one call into the runtime.
#![allow(
    non_snake_case,
    reason = "templates of `quote!` name items of the runtime as it does"
)]

mod attribute_kind;
mod check;
mod duration;
mod expand;
mod handler;
mod key_part;
mod model;
mod options;
mod parse;
mod pattern;
mod runtime;
#[cfg(test)]
mod snapshots;
mod span;
mod suggest;
mod template;
mod value;

use darling::{Error, Result};
use proc_macro2::{TokenStream, TokenTree};
use quote::{format_ident, quote};
use syn::{Attribute, Meta};

use attribute_kind::AttributeKind;
use handler::Handler;

#[allow(missing_docs, reason = "the reference is where it is exported from")]
#[proc_macro_attribute]
pub fn cached(
    args: proc_macro::TokenStream,
    item: proc_macro::TokenStream,
) -> proc_macro::TokenStream {
    attribute(AttributeKind::Cached, args, item)
}

#[allow(missing_docs, reason = "the reference is where it is exported from")]
#[proc_macro_attribute]
pub fn cache_evict(
    args: proc_macro::TokenStream,
    item: proc_macro::TokenStream,
) -> proc_macro::TokenStream {
    attribute(AttributeKind::CacheEvict, args, item)
}

#[allow(missing_docs, reason = "the reference is where it is exported from")]
#[proc_macro_attribute]
pub fn cache_put(
    args: proc_macro::TokenStream,
    item: proc_macro::TokenStream,
) -> proc_macro::TokenStream {
    attribute(AttributeKind::CachePut, args, item)
}

#[allow(missing_docs, reason = "the reference is where it is exported from")]
#[proc_macro_derive(KeyPart, attributes(key_part))]
pub fn key_part(item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let expanded = syn::parse(item)
        .map_err(Error::from)
        .and_then(|input| key_part::derive(&input));
    expanded.unwrap_or_else(Error::write_errors).into()
}

/// Returns the function even after an error, so that its uses do not fail too.
fn attribute(
    kind: AttributeKind,
    args: proc_macro::TokenStream,
    item: proc_macro::TokenStream,
) -> proc_macro::TokenStream {
    let item = TokenStream::from(item);
    let expanded =
        syn::parse2(item.clone())
            .map_err(Error::from)
            .and_then(|mut handler: Handler| {
                handler.is_documented = cfg!(feature = "aide");
                expand(kind, args.into(), handler)
            });
    let tokens = expanded.unwrap_or_else(|errors| {
        let errors = errors.write_errors();
        quote!(#item #errors)
    });
    tokens.into()
}

/// Checks the options and the signature, so that the errors of both are reported.
fn expand(kind: AttributeKind, args: TokenStream, mut handler: Handler) -> Result<TokenStream> {
    if let Some(handlers) = handler.split_by_cfg() {
        return Ok(again(kind, &args, &handlers));
    }
    let mut attributes = vec![(kind, args)];
    let mut merged = Vec::new();
    let mut errors = Error::accumulator();
    for (other, attribute) in take_siblings(&mut handler) {
        if kind == AttributeKind::Cached || other == AttributeKind::Cached {
            let message = if kind == other {
                "`#[cached]` occurs twice: remove one"
            } else {
                "a handler is `#[cached]` or it writes: only `#[cache_evict]` and `#[cache_put]` can \
                 stand together"
            };
            errors.push(Error::custom(message).with_span(attribute.path()));
            continue;
        }
        merged.push(attribute.path().clone());
        let args = match attribute.meta {
            Meta::List(list) => list.tokens,
            Meta::Path(_) | Meta::NameValue(_) => TokenStream::new(),
        };
        attributes.push((other, args));
    }
    let in_block = attributes.iter().any(|(_, args)| is_in_block(args));
    errors.handle(check::check(&handler, in_block));
    let arguments = handler.arguments();
    if kind == AttributeKind::Cached {
        let (_, args) = attributes.swap_remove(0);
        let cached = parse::cached(args).and_then(|args| model::Cached::lower(args, &arguments));
        let cached = errors.handle(cached);
        errors.finish()?;
        return Ok(cached.map_or_else(TokenStream::new, |cached| {
            expand::read(&handler, &arguments, &cached)
        }));
    }
    let writes = attributes.into_iter().map(|(kind, args)| match kind {
        AttributeKind::CachePut => {
            let put = parse::put(args).and_then(|args| model::Put::lower(args, &arguments));
            put.map(expand::Write::Put)
        }
        AttributeKind::CacheEvict | AttributeKind::Cached => {
            let evict = parse::evict(args).and_then(|args| model::Evict::lower(args, &arguments));
            evict.map(expand::Write::Evict)
        }
    });
    let writes: Vec<_> = writes.filter_map(|write| errors.handle(write)).collect();
    errors.finish()?;
    Ok(expand::writes(&handler, &arguments, &writes, &merged))
}

/// Returns whether the handler is most likely in an `impl` block, where no companion can stand.
fn is_in_block(args: &TokenStream) -> bool {
    let mut args = args.clone().into_iter();
    args.any(|token| matches!(token, TokenTree::Ident(word) if word == "no_companion"))
}

/// Returns the other attributes of this crate below this one, which is the outermost.
fn take_siblings(handler: &mut Handler) -> Vec<(AttributeKind, Attribute)> {
    let attributes = std::mem::take(&mut handler.attributes);
    let mut siblings = Vec::new();
    for attribute in attributes {
        match AttributeKind::of(&attribute) {
            Some(kind) => siblings.push((kind, attribute)),
            None => handler.attributes.push(attribute),
        }
    }
    siblings
}

/// Returns the same attribute on both functions that a `#[cfg]` on a parameter makes of one.
fn again(
    kind: AttributeKind,
    args: &TokenStream,
    handlers: &[(TokenStream, Handler); 2],
) -> TokenStream {
    let krate = parse::krate(args);
    let name = format_ident!("{}", kind.name());
    let handlers = handlers
        .iter()
        .map(|(cfg, handler)| quote!(#cfg #[#krate::#name(#args)] #handler));
    quote!(#(#handlers)*)
}
