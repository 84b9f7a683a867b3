//! The annotated function: its signature as syntax, its body as tokens.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, format_ident};
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::visit::Visit;
use syn::{Attribute, FnArg, GenericParam, Pat, Signature, Token, Type, Visibility};

/// A body that does not parse yet is passed on, so that the compiler reports it where it stands.
pub(crate) struct Handler {
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) visibility: Visibility,
    pub(crate) signature: Signature,
    pub(crate) body: TokenStream,
}

/// An argument of the function that axum calls.
pub(crate) struct Argument<'a> {
    pub(crate) name: Ident,
    pub(crate) ty: &'a Type,
}

impl Parse for Handler {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        Ok(Self {
            attributes: input.call(Attribute::parse_outer)?,
            visibility: input.parse()?,
            signature: input.parse()?,
            body: input.parse()?,
        })
    }
}

impl Handler {
    /// Refuses what cannot be a handler, or cannot be wrapped.
    pub(crate) fn check(&self) -> darling::Result<()> {
        let signature = &self.signature;
        let mut errors = darling::Error::accumulator();
        let mut refuse = |tokens: &dyn ToTokens, message: &str| {
            errors.push(darling::Error::custom(message).with_span(&tokens.to_token_stream()));
        };
        if signature.asyncness.is_none() {
            refuse(
                &signature.fn_token,
                "a handler is an `async fn`: write `async` before `fn`",
            );
        }
        if let Some(constness) = &signature.constness {
            refuse(constness, "a handler cannot be `const`: remove it");
        }
        if let Some(abi) = &signature.abi {
            refuse(abi, "a handler has no ABI of its own: remove `extern`");
        }
        if let Some(variadic) = &signature.variadic {
            refuse(variadic, "a handler takes extractors only: remove `...`");
        }
        if let Some(FnArg::Receiver(receiver)) = signature.inputs.first() {
            let message = "a handler is a free function: move it out of the `impl` block, and \
                           take the state with `State`";
            refuse(receiver, message);
        }
        errors.finish()
    }

    /// The arguments, by the one name that each binds, so that attributes below this one can
    /// mention it. One that binds several or none gets a name of its own.
    pub(crate) fn arguments(&self) -> Vec<Argument<'_>> {
        let typed = self
            .signature
            .inputs
            .iter()
            .filter_map(|input| match input {
                FnArg::Typed(typed) => Some(typed),
                FnArg::Receiver(_) => None,
            });
        let named = typed.enumerate().map(|(position, typed)| {
            // A name that says it is not used is not used by the generated call either.
            let usable = |name: &&Ident| {
                **name != self.signature.ident && !name.to_string().starts_with('_')
            };
            let name = only_name(&typed.pat).filter(usable);
            Argument {
                name: name.cloned().unwrap_or_else(|| positional(position)),
                ty: &typed.ty,
            }
        });
        named.collect()
    }

    /// `::<T, N>` for the generic parameters, so that one which no argument mentions is passed on.
    /// There is none when an argument is `impl Trait`, where the compiler allows none.
    pub(crate) fn turbofish(&self) -> TokenStream {
        let mut impl_trait = HasImplTrait(false);
        self.signature
            .inputs
            .iter()
            .for_each(|input| impl_trait.visit_fn_arg(input));
        let names = self
            .signature
            .generics
            .params
            .iter()
            .filter_map(|param| match param {
                GenericParam::Type(param) => Some(&param.ident),
                GenericParam::Const(param) => Some(&param.ident),
                GenericParam::Lifetime(_) => None,
            });
        let names: Punctuated<&Ident, Token![,]> = names.collect();
        if impl_trait.0 || names.is_empty() {
            return TokenStream::new();
        }
        quote::quote!(::<#names>)
    }
}

/// A name that the user's code cannot spell.
pub(crate) fn positional(position: usize) -> Ident {
    format_ident!("argument_{position}", span = Span::mixed_site())
}

/// The name in `name`, `mut name` or `State(name)`.
fn only_name(pat: &Pat) -> Option<&Ident> {
    match pat {
        Pat::Ident(pat) if pat.subpat.is_none() => Some(&pat.ident),
        Pat::TupleStruct(pat) if pat.elems.len() == 1 => pat.elems.first().and_then(only_name),
        _ => None,
    }
}

struct HasImplTrait(bool);

impl Visit<'_> for HasImplTrait {
    fn visit_type_impl_trait(&mut self, _: &syn::TypeImplTrait) {
        self.0 = true;
    }
}
