//! The attributes below ours: those of the function that axum calls, and those that the user's own
//! function has, too.

use quote::ToTokens;
use syn::punctuated::Punctuated;
use syn::{Attribute, Meta, Path, Token, parse_quote};

use crate::handler::Handler;

/// Returns the attributes that are about the function as others see it: its name, visibility and docs.
const OF_THE_OUTSIDE: [&str; 5] = [
    "dead_code",
    "missing_docs",
    "non_snake_case",
    "unreachable_pub",
    "private_interfaces",
];

/// Drops expectations about the signature of a documented function, because the generated one has
/// another signature, or no docs.
const NOT_RAISED: [&str; 3] = [
    "clippy::missing_errors_doc",
    "clippy::missing_panics_doc",
    "clippy::must_use_candidate",
];

/// Returns all attributes in order. Lints that the user expects are allowed here.
pub(super) fn of_wrapper(handler: &Handler) -> Vec<Attribute> {
    let attributes = handler.attributes.iter().flat_map(|attribute| {
        let Some(lints) = expected(attribute) else {
            return vec![attribute.clone()];
        };
        let (outside, inside): (Vec<_>, Vec<_>) = lints
            .iter()
            .partition(|lint| is_one_of(lint, &OF_THE_OUTSIDE));
        let mut out = Vec::new();
        if !outside.is_empty() {
            out.push(parse_quote!(#[expect(#(#outside),*)]));
        }
        if !inside.is_empty() {
            out.push(parse_quote!(#[allow(#(#inside),*)]));
        }
        out
    });
    attributes.collect()
}

/// Returns the lint levels for the user's function.
pub(super) fn of_uncached(handler: &Handler) -> Vec<Attribute> {
    let attributes = handler.attributes.iter().filter_map(|attribute| {
        let Some(lints) = expected(attribute) else {
            let levels = ["allow", "warn", "deny", "forbid"];
            let is_level = levels.iter().any(|level| attribute.path().is_ident(level));
            return is_level.then(|| attribute.clone());
        };
        let inside: Vec<&Meta> = lints
            .iter()
            .filter(|lint| !is_one_of(lint, &OF_THE_OUTSIDE) && !is_one_of(lint, &NOT_RAISED))
            .collect();
        (!inside.is_empty()).then(|| parse_quote!(#[expect(#(#inside),*)]))
    });
    attributes.collect()
}

/// Returns the attributes that hold for everything that is generated beside the function.
pub(super) fn of_companion(handler: &Handler) -> impl Iterator<Item = &Attribute> {
    let attributes = handler.attributes.iter();
    attributes.filter(|attribute| attribute.path().is_ident("cfg"))
}

/// Returns the lints of an `#[expect(..)]`, without its reason.
fn expected(attribute: &Attribute) -> Option<Vec<Meta>> {
    if !attribute.path().is_ident("expect") {
        return None;
    }
    let parser = Punctuated::<Meta, Token![,]>::parse_terminated;
    let lints = attribute.parse_args_with(parser).ok()?;
    Some(
        lints
            .into_iter()
            .filter(|lint| matches!(lint, Meta::Path(_)))
            .collect(),
    )
}

fn is_one_of(lint: &Meta, names: &[&str]) -> bool {
    let spelled = |path: &Path| path.to_token_stream().to_string().replace(' ', "");
    let lint = spelled(lint.path());
    names.iter().any(|name| *name == lint)
}
