//! The selection of an entry by arguments: keys, groups, and the values of `vary_by`.

use proc_macro2::{Ident, TokenStream, TokenTree};
use quote::{quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{Expr, Path};

use super::companion::{Companion, writer};
use super::{at, last_span, url};
use crate::handler::{Argument, Handler, find_ident};
use crate::model::{Cached, Evict, Eviction, HandlerKey, Key, Put};
use crate::runtime::Runtime;
use crate::template::{Piece, Template};
use crate::value::Value;

/// An expression, and the arguments whose names it uses.
pub(crate) struct Bound {
    pub(crate) tokens: TokenStream,
    pub(crate) arguments: Vec<usize>,
}

impl Bound {
    /// Wraps an expression that uses no argument.
    pub(crate) fn constant(tokens: TokenStream) -> Self {
        Self {
            tokens,
            arguments: Vec::new(),
        }
    }

    /// Wraps an expression with the arguments that it mentions.
    pub(crate) fn new(tokens: TokenStream, arguments: &[Argument<'_>]) -> Self {
        // The format string of a macro may mention any argument.
        let has_macro = has_exclamation(tokens.clone());
        let mentions = |argument: &Argument<'_>| {
            let bindings = &argument.bindings;
            let is_binding = |word: &Ident| bindings.iter().any(|it| it.unraw() == word.unraw());
            has_macro || find_ident(tokens.clone(), &is_binding).is_some()
        };
        let used = arguments.iter().enumerate();
        let used = used.filter(|(_, argument)| mentions(argument));
        Self {
            arguments: used.map(|(position, _)| position).collect(),
            tokens,
        }
    }
}

fn has_exclamation(tokens: TokenStream) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Punct(punct) => punct.as_char() == '!',
        TokenTree::Group(group) => has_exclamation(group.stream()),
        _ => false,
    })
}

/// Returns the selection of a `#[cached]` handler.
pub(crate) fn read(
    handler: &Handler,
    arguments: &[Argument<'_>],
    companion: &Companion<'_>,
    cached: &Cached,
) -> TokenStream {
    let (runtime, name) = (companion.runtime, &companion.name);
    let Runtime { Selected, .. } = runtime;
    let has_values = cached.has_made_groups();
    let start = if handler.is_generic() {
        url::of_types(runtime, handler, arguments, cached)
    } else {
        quote!(#Selected::new())
    };
    let (key, with_groups) = match &cached.key {
        Key::Template(key) if handler.is_generic() => {
            let text = text(runtime, key, &Value::reference);
            (Some(quote!(.template(#text))), has_values)
        }
        Key::Template(key) => {
            let values = distinct(key);
            let values = values.iter().map(Value::reference);
            (
                Some(quote!(.key(#name::key(#(#values),*)))),
                has_values && !cached.groups_by_key(),
            )
        }
        Key::Default(_) | Key::Function(_) => (None, has_values),
    };
    let groups = with_groups.then(|| groups(runtime, &cached.groups));
    let vary_by = vary_by(runtime, &cached.vary_by);
    quote!(#start #key #groups #vary_by)
}

/// Returns the selection of a `#[cache_put]`.
pub(crate) fn put(runtime: &Runtime, put: &Put) -> TokenStream {
    let Runtime { Selected, .. } = runtime;
    let start = if put.handler.values.is_some() {
        let key = call(&put.handler);
        quote!(#Selected::new().key(#key))
    } else {
        quote!(#Selected::new())
    };
    let groups = (!put.groups.is_empty()).then(|| groups(runtime, &put.groups));
    let vary_by = vary_by(runtime, &put.vary_by);
    quote!(#start #groups #vary_by)
}

/// Returns the evictions of a `#[cache_evict]`.
pub(crate) fn evictions(runtime: &Runtime, evict: &Evict) -> TokenStream {
    let evictions = evict.evictions.iter().map(|eviction| match eviction {
        Eviction::Handler(handler) if handler.values.is_some() => {
            let key = call(handler);
            quote!(.key(#key))
        }
        Eviction::Handler(HandlerKey { path, .. }) => {
            let route = named_alone(runtime, path);
            quote!(.route(#route))
        }
        Eviction::Group(group) => {
            let text = text(runtime, group, &Value::reference);
            quote!(.group(#text))
        }
        Eviction::All => quote!(.all()),
    });
    let always = evict.always.then(|| quote!(.always()));
    let writer = writer();
    let Runtime { Evictions, .. } = runtime;
    quote!(#Evictions::of(&#writer) #(#evictions)* #always)
}

/// Returns the route of a handler that is named without values.
pub(super) fn named_alone(runtime: &Runtime, path: &Path) -> TokenStream {
    let span = at(last_span(path));
    let Runtime {
        Handler,
        named_alone,
        ..
    } = &runtime.at(span);
    quote_spanned! {span=>
        #named_alone::<<#path as #Handler>::Key>(
            <#path as #Handler>::route()
        )
    }
}

/// Returns the key of a handler by the values that the user wrote. A wrong number of values is reported
/// where the handler is named.
fn call(handler: &HandlerKey) -> TokenStream {
    let HandlerKey { path, values } = handler;
    let span = at(last_span(path));
    let values = values.iter().flatten().map(|value| {
        let span = at(value.span());
        match value {
            Expr::Binary(_) | Expr::Cast(_) | Expr::Range(_) => quote_spanned!(span=> &(#value)),
            _ => quote_spanned!(span=> &#value),
        }
    });
    quote_spanned!(span=> <#path>::key(#(#values),*))
}

fn groups(runtime: &Runtime, groups: &[Template]) -> TokenStream {
    let groups = texts(runtime, groups);
    quote!(.groups([#(#groups),*]))
}

/// Returns the texts of groups.
pub(super) fn texts(runtime: &Runtime, groups: &[Template]) -> Vec<TokenStream> {
    let groups = groups.iter();
    groups
        .map(|group| text(runtime, group, &Value::reference))
        .collect()
}

fn vary_by(runtime: &Runtime, values: &[Value]) -> Option<TokenStream> {
    let Runtime { Text, .. } = runtime;
    let values = values.iter().map(Value::reference);
    (values.len() > 0).then(|| quote!(.vary_by(#Text::new() #(.value(#values).literal(";"))*)))
}

/// Fills a template in.
pub(super) fn text(
    runtime: &Runtime,
    template: &Template,
    value: &dyn Fn(&Value) -> TokenStream,
) -> TokenStream {
    let pieces = template.pieces.iter().map(|piece| match piece {
        Piece::Literal(literal) => quote!(.literal(#literal)),
        Piece::Value(it) => {
            let value = value(it);
            quote!(.value(#value))
        }
        Piece::Text(it) => {
            let text = it.tokens();
            quote!(.text(#text))
        }
    });
    let Runtime { Text, .. } = runtime;
    quote!(#Text::new() #(#pieces)*)
}

/// Returns the values of a template, each once.
pub(super) fn distinct(template: &Template) -> Vec<Value> {
    let mut values: Vec<Value> = Vec::new();
    for value in template.values() {
        if !values.contains(value) {
            values.push(value.clone());
        }
    }
    values
}
