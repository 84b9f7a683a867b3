//! The annotated function: its signature as syntax, its body as tokens.

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{
    Attribute, FnArg, GenericParam, Generics, Meta, Pat, PatType, PathArguments, ReturnType,
    Signature, Token, Type, Visibility, WherePredicate, parse_quote,
};

use crate::pattern;
use crate::span::at;

/// The annotated function. A body that does not parse yet is passed on, so that the compiler reports it
/// at its place.
#[derive(Clone)]
pub(crate) struct Handler {
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) visibility: Visibility,
    pub(crate) signature: Signature,
    pub(crate) body: TokenStream,
    /// The return type of the function documents the response. Only aide needs this documentation.
    pub(crate) is_documented: bool,
}

/// An argument of the function.
pub(crate) struct Argument<'a> {
    /// Its name in the generated function.
    pub(crate) name: Ident,
    pub(crate) pattern: &'a syn::Pat,
    pub(crate) ty: &'a Type,
    /// The names that its pattern binds.
    pub(crate) bindings: Vec<Ident>,
    /// Its type mentions generics of the function, so it cannot be named outside.
    pub(crate) is_generic: bool,
}

impl Parse for Handler {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        Ok(Self {
            attributes: input.call(Attribute::parse_outer)?,
            visibility: input.parse()?,
            signature: input.parse()?,
            body: input.parse()?,
            is_documented: false,
        })
    }
}

impl ToTokens for Handler {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        self.attributes
            .iter()
            .for_each(|attribute| attribute.to_tokens(tokens));
        self.visibility.to_tokens(tokens);
        self.signature.to_tokens(tokens);
        self.body.to_tokens(tokens);
    }
}

impl Handler {
    /// Returns the arguments in order.
    pub(crate) fn arguments(&self) -> Vec<Argument<'_>> {
        let generics = self.generic_names();
        let typed = self
            .signature
            .inputs
            .iter()
            .filter_map(|input| match input {
                FnArg::Typed(typed) => Some(typed),
                FnArg::Receiver(_) => None,
            });
        typed
            .enumerate()
            .map(|(position, typed)| argument(position, typed, &generics))
            .collect()
    }

    /// Returns `::<T, N>` for the generic parameters, so that parameters that no argument mentions are
    /// passed on, too.
    pub(crate) fn turbofish(&self) -> TokenStream {
        let params = self.signature.generics.params.iter();
        let names = params.filter_map(|param| match param {
            GenericParam::Type(param) => Some(&param.ident),
            GenericParam::Const(param) => Some(&param.ident),
            GenericParam::Lifetime(_) => None,
        });
        let names: Punctuated<&Ident, Token![,]> = names.collect();
        if names.is_empty() {
            return TokenStream::new();
        }
        quote!(::<#names>)
    }

    /// Returns whether the function is generic over types or constants.
    pub(crate) fn is_generic(&self) -> bool {
        let mut params = self.signature.generics.params.iter();
        params.any(|param| !matches!(param, GenericParam::Lifetime(_)))
    }

    /// Returns a type with the generic parameters of a handler as its parameters. It is declared in the
    /// body of the generated function.
    pub(crate) fn types(&self) -> TokenStream {
        let turbofish = self.turbofish();
        quote!(__AxumRedisCacheTypes #turbofish)
    }

    /// Returns the item that declares the type of [`types`](Self::types).
    pub(crate) fn types_item(&self) -> Option<TokenStream> {
        let params = self.signature.generics.params.iter();
        let (mut declared, mut used) = (Vec::new(), Vec::new());
        for param in params {
            match param {
                GenericParam::Type(param) => {
                    let name = &param.ident;
                    declared.push(quote!(#name: ?::core::marker::Sized));
                    used.push(quote!(*const #name));
                }
                GenericParam::Const(param) => {
                    let (name, ty) = (&param.ident, &param.ty);
                    declared.push(quote!(const #name: #ty));
                }
                GenericParam::Lifetime(_) => {}
            }
        }
        self.is_generic().then(|| {
            quote!(struct __AxumRedisCacheTypes<#(#declared),*>(::core::marker::PhantomData<(#(#used,)*)>);)
        })
    }

    /// Returns the generics with the bound `'static` on each type, because axum requires types that do
    /// not borrow. The bound stands next to the other bounds of the type, which may be in the `where`
    /// clause.
    pub(crate) fn owned_generics(&self) -> Generics {
        let mut generics = self.signature.generics.clone();
        let Generics {
            params,
            where_clause,
            ..
        } = &mut generics;
        for param in params {
            let GenericParam::Type(param) = param else {
                continue;
            };
            let name = &param.ident;
            let predicates = where_clause.iter_mut().flat_map(|it| &mut it.predicates);
            let bounds = predicates.into_iter().find_map(|it| match it {
                WherePredicate::Type(it) if is_type(&it.bounded_ty, name) => Some(&mut it.bounds),
                _ => None,
            });
            let bounds = bounds.unwrap_or(&mut param.bounds);
            bounds.push(parse_quote!('static));
        }
        generics
    }

    /// Returns the type that documents the response; `None` if nothing needs it, or if it has no name.
    pub(crate) fn documentation(&self) -> Option<TokenStream> {
        let ty = match &self.signature.output {
            ReturnType::Default => quote!(()),
            ReturnType::Type(_, ty) => ty.to_token_stream(),
        };
        let has_name = find_ident(ty.clone(), &|word| word == "impl").is_none();
        (self.is_documented && has_name).then_some(ty)
    }

    pub(crate) fn has_lifetimes(&self) -> bool {
        self.signature.generics.lifetimes().next().is_some()
    }

    pub(crate) fn generic_names(&self) -> Vec<String> {
        let params = self.signature.generics.params.iter();
        let names = params.map(|param| match param {
            GenericParam::Type(param) => param.ident.to_string(),
            GenericParam::Const(param) => param.ident.to_string(),
            GenericParam::Lifetime(param) => param.lifetime.ident.to_string(),
        });
        names.collect()
    }

    /// Returns the position of the argument whose type is wrapped in `Head`; `None`: a new first
    /// argument has the type `Head`.
    ///
    /// `#[debug_handler]` finds the type of the state in an argument that is spelled `State<..>`, so
    /// such an argument is wrapped only if there is no other. `#[debug_handler]` also counts the
    /// arguments. If it does not stand below this attribute, it may stand above it. So, without a
    /// `#[debug_handler]` below, an argument is added only to a function without arguments.
    pub(crate) fn wrapped(&self, arguments: &[Argument<'_>]) -> Option<usize> {
        let is_state = |argument: &Argument<'_>| match argument.ty {
            Type::Path(path) => path.path.segments.last().is_some_and(|last| {
                last.ident == "State" && matches!(last.arguments, PathArguments::AngleBracketed(_))
            }),
            _ => false,
        };
        let debug_handler_below = || {
            let mut attributes = self.attributes.iter();
            attributes.any(|attribute| is_named(attribute, "debug_handler"))
        };
        match arguments.iter().position(|argument| !is_state(argument)) {
            None if arguments.is_empty() || debug_handler_below() => None,
            None => Some(0),
            other => other,
        }
    }

    /// Splits a function at the first `#[cfg]` on a parameter: the function where the condition holds,
    /// and where it does not; `None` if there is no such parameter.
    pub(crate) fn split_by_cfg(&self) -> Option<[(TokenStream, Self); 2]> {
        let is_cfg = |attribute: &Attribute| attribute.path().is_ident("cfg");
        let attributes = |input: &FnArg| match input {
            FnArg::Typed(typed) => typed.attrs.clone(),
            FnArg::Receiver(receiver) => receiver.attrs.clone(),
        };
        let inputs = &self.signature.inputs;
        let position = inputs
            .iter()
            .position(|input| attributes(input).iter().any(is_cfg))?;
        let (mut with, mut without) = (self.clone(), self.clone());
        without.signature.inputs = inputs
            .iter()
            .enumerate()
            .filter(|(at, _)| *at != position)
            .map(|(_, input)| input.clone())
            .collect();
        let FnArg::Typed(typed) = &mut with.signature.inputs[position] else {
            return None;
        };
        let first = typed.attrs.iter().position(is_cfg)?;
        let Meta::List(cfg) = typed.attrs.remove(first).meta else {
            return None;
        };
        let predicate = cfg.tokens;
        Some([
            (quote!(#[cfg(#predicate)]), with),
            (quote!(#[cfg(not(#predicate))]), without),
        ])
    }
}

impl<'a> Argument<'a> {
    /// Returns the extractors of a tuple, each as an argument of its own; otherwise the argument.
    pub(crate) fn elements(&self) -> Vec<Argument<'a>> {
        let element = |pattern, ty, bindings| Argument {
            name: self.name.clone(),
            pattern,
            ty,
            bindings,
            is_generic: self.is_generic,
        };
        match (self.pattern, self.ty) {
            (Pat::Tuple(patterns), Type::Tuple(types))
                if patterns.elems.len() == types.elems.len()
                    && !patterns.elems.iter().any(|it| matches!(it, Pat::Rest(_))) =>
            {
                let elements = patterns.elems.iter().zip(&types.elems);
                elements
                    .flat_map(|(it, ty)| element(it, ty, pattern::bindings(it)).elements())
                    .collect()
            }
            (pattern, ty) => vec![element(pattern, ty, self.bindings.clone())],
        }
    }
}

fn argument<'a>(position: usize, typed: &'a PatType, generics: &[String]) -> Argument<'a> {
    let bindings = pattern::bindings(&typed.pat);
    // The generated call must not use a name that begins with an underscore, and an upper-case name may
    // be a constant. The generated function has other names for such arguments.
    let is_plain = |name: &Ident| {
        !name
            .to_string()
            .starts_with(|c: char| c == '_' || c.is_uppercase())
    };
    let name = match &*bindings {
        [only] if is_plain(only) => Some(only),
        _ => None,
    };
    let is_generic_name = |word: &Ident| generics.iter().any(|name| word == name);
    Argument {
        name: name.map_or_else(|| positional(position), from_an_expansion),
        pattern: &typed.pat,
        ty: &typed.ty,
        is_generic: find_ident(typed.ty.to_token_stream(), &is_generic_name).is_some(),
        bindings,
    }
}

/// Returns the first word that meets a condition, however deep it stands.
pub(crate) fn find_ident(tokens: TokenStream, wanted: &dyn Fn(&Ident) -> bool) -> Option<Ident> {
    tokens.into_iter().find_map(|token| match token {
        TokenTree::Ident(word) => Some(word).filter(|word| wanted(word)),
        TokenTree::Group(group) => find_ident(group.stream(), wanted),
        _ => None,
    })
}

/// Returns whether an attribute has a name, whatever path leads to it.
pub(crate) fn is_named(attribute: &Attribute, name: &str) -> bool {
    let last = attribute.path().segments.last();
    last.is_some_and(|last| last.ident.unraw() == name)
}

/// Returns a name with the span of generated code, so that lints ignore the argument: `debug_handler`
/// repeats the arguments in code that does not use them.
fn from_an_expansion(name: &Ident) -> Ident {
    let mut name = name.clone();
    name.set_span(at(name.span()));
    name
}

/// Returns a name that the user's code cannot spell.
pub(crate) fn positional(position: usize) -> Ident {
    format_ident!("argument_{position}", span = Span::mixed_site())
}

fn is_type(ty: &Type, name: &Ident) -> bool {
    matches!(ty, Type::Path(ty) if ty.path.is_ident(name))
}
