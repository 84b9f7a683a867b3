//! Checks that compile only if the key holds everything that a response may depend on.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{LitStr, Type};

use super::key::is_spelled;
use super::{at, first_span, last_span};
use crate::handler::Argument;
use crate::model::{Cached, Key, Put, Query};
use crate::runtime::Runtime;

/// The checks, as generated code. The compiler evaluates types and items once. If the type of an
/// argument mentions generics, its checks are statements, which the compiler evaluates for each
/// instance of the function.
#[derive(Default)]
pub(super) struct Checks {
    /// Types that are well-formed only if their checks pass. The generated code declares one struct
    /// with a field of each type. Most handlers have no other checks.
    pub(super) types: Vec<TokenStream>,
    pub(super) items: TokenStream,
    pub(super) statements: TokenStream,
}

impl Checks {
    /// Adds an assertion about a constant expression.
    fn assert(
        &mut self,
        argument: &Argument<'_>,
        span: Span,
        condition: &TokenStream,
        message: &TokenStream,
    ) {
        let assert = quote_spanned!(span=> ::core::assert!(#condition, #message));
        if argument.is_generic {
            self.statements
                .extend(quote_spanned!(span=> const { #assert };));
        } else {
            self.items
                .extend(quote_spanned!(span=> const _: () = #assert;));
        }
    }

    /// Returns the tokens. The items come before the statements, because the user may have turned on a
    /// lint that requires this order.
    pub(super) fn tokens(&self, runtime: &Runtime) -> TokenStream {
        let Runtime { NotDetermined, .. } = runtime;
        let Self {
            types,
            items,
            statements,
        } = self;
        let scope = quote!(use #NotDetermined as _;);
        let types =
            (!types.is_empty()).then(|| quote!(struct __AxumRedisCacheChecked(#(#types),*);));
        let items = (!items.is_empty()).then(|| quote!(const _: () = { #scope #items };));
        let statements = (!statements.is_empty()).then(|| quote!({ #scope #statements }));
        quote!(#types #items #statements)
    }
}

/// Returns the checks of all arguments of a `#[cached]` handler.
pub(super) fn checks(runtime: &Runtime, arguments: &[Argument<'_>], cached: &Cached) -> Checks {
    let mut checks = Checks::default();
    // A key function sees all parts of the request, and makes the whole key.
    if matches!(cached.key, Key::Function(_)) {
        return checks;
    }
    for argument in &arguments
        .iter()
        .flat_map(Argument::elements)
        .collect::<Vec<_>>()
    {
        let Some(left) = left(argument, cached) else {
            continue;
        };
        accounted(&mut checks, runtime, argument, left.first().copied());
        match &cached.key {
            Key::Template(_) => {
                for name in left {
                    in_template(&mut checks, runtime, argument, name);
                }
            }
            Key::Default(Query::Only(names)) => {
                query_is_complete(&mut checks, runtime, argument, names);
            }
            Key::Default(_) | Key::Function(_) => {}
        }
    }
    checks
}

/// Returns an expression for the source of an argument: the URL or the application, as the type of the
/// argument declares, or neither. The expression needs `NotDetermined` in scope.
pub(super) fn probe(runtime: &Runtime, argument: &Argument<'_>) -> TokenStream {
    let (Runtime { Probe, .. }, ty) = (runtime, argument.ty);
    quote!(#Probe::<#ty>::BY)
}

/// Returns the names of an argument that the attribute does not mention. `None`: the argument binds
/// names, and the attribute mentions all of them.
fn left<'a>(argument: &'a Argument<'_>, cached: &Cached) -> Option<Vec<&'a Ident>> {
    let is_used = |name: &Ident| cached.used().any(|value| value.uses(name));
    let is_ignored = |name: &Ident| cached.ignored.contains(&name.unraw().to_string());
    let names = argument.bindings.iter();
    let left: Vec<_> = names
        .filter(|name| !is_used(name) && !is_ignored(name))
        .collect();
    (argument.bindings.is_empty() || !left.is_empty()).then_some(left)
}

/// Returns whether the generated code checks that the type of an argument declares its source, and the
/// check most likely passes.
pub(super) fn is_determined(argument: &Argument<'_>, cached: &Cached) -> bool {
    !matches!(cached.key, Key::Function(_))
        && left(argument, cached).is_some()
        && is_spelled_like_a_determined_one(argument.ty)
}

/// Checks that the type of an argument declares its source, so that the attribute does not have to
/// mention the argument. A trait is generated for the check, so that the error message can name the
/// argument.
fn accounted(
    checks: &mut Checks,
    runtime: &Runtime,
    argument: &Argument<'_>,
    name: Option<&Ident>,
) {
    let ty = argument.ty;
    if is_spelled_like_a_determined_one(ty) {
        let (first, last) = (at(first_span(ty)), at(last_span(ty)));
        let Runtime { IsDetermined, .. } = &runtime.at(first);
        let open = quote_spanned!(first=> #IsDetermined<);
        let close = quote_spanned!(last=> >);
        if argument.is_generic {
            let check = quote!(let _ = ::core::option::Option::None::<#open #ty #close>;);
            checks.statements.extend(check);
        } else {
            checks.types.push(quote!(#open #ty #close));
        }
        return;
    }
    let (called, name, hint) = match name {
        Some(name) => (
            format!("the argument `{name}`"),
            name.unraw().to_string(),
            "",
        ),
        None => (
            "this argument".to_owned(),
            "_name".to_owned(),
            "give it a name, and ",
        ),
    };
    let message = format!("the response may depend on {called}, which the key does not hold");
    let notes = [
        format!(
            "if the response depends on {called}, {hint}say on which value: \
             `vary_by({name}.field)`, or a placeholder in `key`"
        ),
        format!(
            "if it does not, {hint}write `ignore({name})`; the compiler does not check this: with \
             `vary(\"field-name\")`, the handler must read no other field of `{name}`"
        ),
        "if nothing but the URL or the application can change it: implement `Determined` for its \
         type"
            .to_owned(),
    ];
    // The check uses a constant of the trait. If the check used a bound instead, the compiler would
    // quote the bound in the error.
    let (first, last) = (at(first_span(ty)), at(last_span(ty)));
    let open = quote_spanned!(first=> <);
    let close = quote_spanned!(last=> as __Accounted>::YES);
    let check = if argument.is_generic {
        quote!(let () = #open #ty #close;)
    } else {
        quote!(const _: () = #open #ty #close;)
    };
    let Runtime { Determined, .. } = runtime;
    let check = quote!({
        #[diagnostic::on_unimplemented(
            message = #message,
            label = "not determined by the URL or by the application",
            #(note = #notes),*
        )]
        trait __Accounted {
            const YES: () = ();
        }
        #[diagnostic::do_not_recommend]
        impl<T: #Determined> __Accounted for T {}
        #check
    });
    if argument.is_generic {
        checks.statements.extend(check);
    } else {
        checks.items.extend(check);
    }
}

/// Returns whether a type most likely passes the check. The compiler still checks the type, but its
/// message does not name the argument: a trait for each argument would cost several milliseconds of
/// compile time.
fn is_spelled_like_a_determined_one(ty: &Type) -> bool {
    let known = [
        "State",
        "Path",
        "Query",
        "Cache",
        "Method",
        "RawQuery",
        "OriginalUri",
    ];
    let last = match ty {
        Type::Path(path) => path.path.segments.last(),
        _ => None,
    };
    last.is_some_and(|last| known.iter().any(|name| last.ident == name))
}

/// Checks that the values from the URL are in the template. If one name is bound to everything that an
/// argument reads, its type may be a struct. A template can contain a struct only if the struct is a
/// `KeyPart`.
fn in_template(checks: &mut Checks, runtime: &Runtime, argument: &Argument<'_>, name: &Ident) {
    let by = probe(runtime, argument);
    let name = name.unraw();
    let left_out = format!("`{name}` is left out of the key: ");
    let ignore = format!("or, if the response does not depend on it, `ignore({name})`");
    let whole = format!("{left_out}write `{{{name}}}` in the template, {ignore}");
    let span = at(name.span());
    let message = if argument.bindings.len() == 1
        && is_spelled(argument.ty, &["Path", "Query", "Form"])
    {
        let (
            Runtime {
                NotAValue, Probe, ..
            },
            ty,
        ) = (runtime, argument.ty);
        let fields = format!(
            "{left_out}write a field of it in the template, such as `{{{name}.field}}`, after which the \
             other fields join the key; {ignore}"
        );
        quote_spanned! {span=> "{}", {
            use #NotAValue as _;
            if #Probe::<#ty>::IS_VALUE { #whole } else { #fields }
        }}
    } else {
        quote!("{}", #whole)
    };
    let Runtime { is_by_url, .. } = runtime;
    let holds = quote!(!#is_by_url(#by));
    checks.assert(argument, span, &holds, &message);
}

/// Checks that the response depends on the named parameters only: the attribute must ignore an argument
/// that can see other parameters.
fn query_is_complete(
    checks: &mut Checks,
    runtime: &Runtime,
    argument: &Argument<'_>,
    names: &[LitStr],
) {
    let by = probe(runtime, argument);
    let Runtime { sees_query, .. } = runtime;
    let called = argument
        .bindings
        .first()
        .map(|name| name.unraw().to_string());
    let cure = match &called {
        Some(name) => format!("write `ignore({name})`"),
        None => "give the argument a name and ignore that".to_owned(),
    };
    let message = format!(
        "an argument can see more of the query than `query(..)` puts into the key: remove `query`, \
         which lets the key hold what the argument reads, or, if the response depends on nothing \
         else, {cure}"
    );
    let span = at(names
        .first()
        .map_or_else(|| argument.ty.span(), LitStr::span));
    checks.assert(
        argument,
        span,
        &quote!(!#sees_query(#by)),
        &message.into_token_stream(),
    );
}

/// Checks the options that a `#[cache_put]` must repeat, because the named handler cannot supply them.
pub(super) fn inherited(runtime: &Runtime, put: &Put) -> TokenStream {
    let path = &put.handler.path;
    let span = at(last_span(path));
    let Runtime { Handler, .. } = &runtime.at(span);
    let count = put.vary_by.len();
    let vary_by =
        "the handler has `vary_by`: repeat it here, with as many values in the same order";
    let vary_by = quote_spanned!(span=>
        const _: () = ::core::assert!(<#path as #Handler>::VARY_BY == #count, #vary_by);
    );
    let groups = put.groups.is_empty().then(|| {
        let groups = "the handler's groups hold values that its key does not: name the groups here \
                      too, `group = \"..\"`";
        quote_spanned!(span=>
            const _: () = ::core::assert!(<#path as #Handler>::GROUPS_BY_KEY, #groups);
        )
    });
    quote!(#vary_by #groups)
}
