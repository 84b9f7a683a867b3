//! Refuses functions that cannot be handlers, or that cannot be wrapped.

use proc_macro2::{Delimiter, Ident, TokenStream, TokenTree};
use quote::ToTokens;
use syn::visit::Visit;
use syn::{Attribute, FnArg, Meta, Safety, TypeImplTrait, TypePath};

use crate::handler::{Handler, is_named};

/// The most arguments for which axum implements `Handler`.
const MAX_ARGUMENTS: usize = 16;

/// Reports every fault of a function. `in_block`: the function is most likely in an `impl` block.
pub(crate) fn check(handler: &Handler, in_block: bool) -> darling::Result<()> {
    let mut errors = darling::Error::accumulator();
    let mut refuse = |tokens: &dyn ToTokens, message: &str| {
        errors.push(darling::Error::custom(message).with_span(&tokens.to_token_stream()));
    };
    signature(handler, &mut refuse);
    block(handler, in_block, &mut refuse);
    let mut impl_traits = ImplTraits(Vec::new());
    let inputs = &handler.signature.inputs;
    inputs
        .iter()
        .for_each(|input| impl_traits.visit_fn_arg(input));
    for impl_trait in impl_traits.0 {
        let message = "axum cannot infer which type this is: make it a type parameter";
        refuse(&impl_trait, message);
    }
    attributes(handler, &mut refuse);
    errors.finish()
}

type Refuse<'a> = dyn FnMut(&dyn ToTokens, &str) + 'a;

fn signature(handler: &Handler, refuse: &mut Refuse<'_>) {
    let signature = &handler.signature;
    if signature.asyncness.is_none() {
        refuse(
            &signature.fn_token,
            "a handler is an `async fn`: write `async` before `fn`",
        );
    }
    if let Some(constness) = &signature.constness {
        refuse(constness, "a handler cannot be `const`: remove it");
    }
    if let Safety::Unsafe(unsafety) = &signature.safety {
        refuse(unsafety, "a handler cannot be `unsafe`: remove it");
    }
    if let Some(abi) = &signature.abi {
        refuse(abi, "a handler has no ABI of its own: remove `extern`");
    }
    if let Some(variadic) = &signature.variadic {
        refuse(variadic, "a handler takes extractors only: remove `...`");
    }
    if let Some(argument) = signature.inputs.iter().nth(MAX_ARGUMENTS) {
        let message = "axum calls functions of up to 16 arguments: take several in a tuple, or \
                       derive `FromRequestParts` for a struct of them";
        refuse(argument, message);
    }
}

/// Refuses a function that needs the `impl` block around it: it is moved elsewhere.
fn block(handler: &Handler, in_block: bool, refuse: &mut Refuse<'_>) {
    let signature = &handler.signature;
    if let Some(FnArg::Receiver(receiver)) = signature.inputs.first() {
        let message = "a handler takes no `self`: take the state with `State`";
        refuse(receiver, message);
    } else if let Some(word) =
        find_self(signature.to_token_stream()).or_else(|| find_self(handler.body.clone()))
    {
        let message = "`Self` has no meaning where the function is put: write the type out";
        refuse(&word, message);
    }
    if !in_block {
        return;
    }
    for name in names_like_parameters(handler) {
        let message = format!(
            "a handler cannot use the type parameters of the `impl` block around it, such as `{name}`: \
             move it out of the block, and declare them on the function, `async fn {}<{name}>`; if \
             `{name}` is a type, write `self::{name}`",
            signature.ident
        );
        refuse(&name, &message);
    }
}

fn attributes(handler: &Handler, refuse: &mut Refuse<'_>) {
    let find = |is: fn(&Attribute) -> bool| handler.attributes.iter().find(|it| is(it));
    if let Some(attribute) = find(is_utoipa_path) {
        let message = "below the attribute that caches, this one would document the generated function: \
                       put it above";
        refuse(attribute.path(), message);
    }
    if let Some(attribute) = find(is_instrument_of_inside) {
        let message = "`err` and `fields` see the generated function here, not the `Result` or the \
                       arguments of yours: put this attribute above the one that caches";
        refuse(attribute.path(), message);
    }
}

/// Returns the types of the signature that look like type parameters, a single letter, and are none of
/// the function. A message about the block is better than the compiler's, which is about generated
/// items.
fn names_like_parameters(handler: &Handler) -> Vec<Ident> {
    let mut names = FirstNames(Vec::new());
    names.visit_signature(&handler.signature);
    let own = handler.generic_names();
    let is_letter = |name: &Ident| {
        let name = name.to_string();
        let mut chars = name.chars();
        chars.next().is_some_and(|c| c.is_ascii_uppercase()) && chars.all(|c| c.is_ascii_digit())
    };
    let mut found: Vec<Ident> = Vec::new();
    for name in names.0 {
        let is_own = own.iter().any(|own| name == own);
        if is_letter(&name) && !is_own && !found.contains(&name) {
            found.push(name);
        }
    }
    found
}

/// Returns the first `Self` whose meaning comes from the block around the function.
fn find_self(tokens: TokenStream) -> Option<Ident> {
    let mut in_item = false;
    for token in tokens {
        match token {
            TokenTree::Ident(word) if word == "Self" && !in_item => return Some(word),
            TokenTree::Ident(word) => {
                in_item |= ["impl", "trait", "struct", "enum", "union"]
                    .iter()
                    .any(|item| word == item);
            }
            TokenTree::Group(group) => {
                let found = if in_item {
                    None
                } else {
                    find_self(group.stream())
                };
                if found.is_some() {
                    return found;
                }
                in_item &= group.delimiter() != Delimiter::Brace;
            }
            TokenTree::Punct(punct) => in_item &= punct.as_char() != ';',
            TokenTree::Literal(_) => {}
        }
    }
    None
}

/// Returns a `#[utoipa::path(..)]`, which reads the signature of the function below it.
fn is_utoipa_path(attribute: &Attribute) -> bool {
    is_named(attribute, "path") && matches!(attribute.meta, Meta::List(_))
}

/// Returns an `#[instrument]` whose arguments need the body of the user's function.
fn is_instrument_of_inside(attribute: &Attribute) -> bool {
    let Meta::List(list) = &attribute.meta else {
        return false;
    };
    let mut words = list.tokens.clone().into_iter();
    is_named(attribute, "instrument")
        && words.any(
            |token| matches!(token, TokenTree::Ident(word) if word == "err" || word == "fields"),
        )
}

struct ImplTraits(Vec<TypeImplTrait>);

impl Visit<'_> for ImplTraits {
    fn visit_type_impl_trait(&mut self, ty: &TypeImplTrait) {
        self.0.push(ty.clone());
    }
}

/// Returns the first names of the paths of types.
struct FirstNames(Vec<Ident>);

impl Visit<'_> for FirstNames {
    fn visit_type_path(&mut self, ty: &TypePath) {
        if ty.path.leading_colon.is_none() {
            self.0
                .extend(ty.path.segments.first().map(|first| first.ident.clone()));
        }
        syn::visit::visit_type_path(self, ty);
    }
}
