//! The function that axum calls.

use proc_macro2::{Delimiter, Group, Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::ReturnType;
use syn::spanned::Spanned;

use super::accounting::Checks;
use super::companion::{Companion, Own, writer};
use super::select::Bound;
use super::{Role, at, attributes};
use crate::handler::{Argument, Handler};
use crate::pattern;
use crate::runtime::{Item, Runtime};

/// The work of the runtime for one attribute, before and after the handler.
pub(super) struct Layer<'a> {
    pub(super) runtime: &'a Runtime,
    pub(super) function: RuntimeFunction,
    /// The part of the URL that the function needs, if any.
    pub(super) url: Option<TokenStream>,
    /// The parts of the request that the function needs.
    pub(super) keep: Vec<Keep>,
    /// A constant expression: true if the runtime has to prove that nothing was evicted since the
    /// extractors ran.
    pub(super) proof: Option<TokenStream>,
    /// The arguments of the function, after the request.
    pub(super) arguments: Vec<Bound>,
}

/// The function of the runtime that begins the work of an attribute.
#[derive(Clone, Copy)]
pub(super) enum RuntimeFunction {
    ReadThrough,
    WriteThrough,
    Evict,
}

impl RuntimeFunction {
    fn item(self, runtime: &Runtime) -> &Item {
        match self {
            Self::ReadThrough => &runtime.read_through,
            Self::WriteThrough => &runtime.write_through,
            Self::Evict => &runtime.evict,
        }
    }
}

/// A flag for a part of the request that the runtime keeps, in the order of generated code.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Keep {
    AllFields,
    Parts,
    Write,
}

impl Keep {
    fn item(self, runtime: &Runtime) -> &Item {
        match self {
            Self::AllFields => &runtime.ALL_FIELDS,
            Self::Parts => &runtime.PARTS,
            Self::Write => &runtime.WRITE,
        }
    }
}

/// Returns the generated function and the companion. `own` has the items of a `#[cached]` companion,
/// `checks` stand before all other statements.
pub(super) fn wrapper(
    handler: &Handler,
    arguments: &[Argument<'_>],
    companion: &Companion<'_>,
    own: &Own,
    checks: &Checks,
    role: &Role,
    layers: &[Layer<'_>],
) -> TokenStream {
    let Handler {
        visibility,
        signature,
        body,
        ..
    } = handler;
    let runtime = companion.runtime;
    let Runtime {
        Documented,
        Head,
        InPlace,
        Response,
        Writer,
        ..
    } = runtime;
    let wrapped = handler.wrapped(arguments);
    let (head, extracted) = match wrapped {
        None => (Ident::new("head", Span::mixed_site()), quote!(_)),
        Some(position) => {
            let name = &arguments[position].name;
            (name.clone(), name.to_token_stream())
        }
    };
    let inputs = inputs(runtime, arguments, wrapped, &head, layers);
    let request = Ident::new("request", Span::mixed_site());
    let begun = layers.iter().enumerate().map(|(number, layer)| {
        let is_last = number + 1 == layers.len();
        begin(layer, arguments, &request, is_last)
    });
    let begun: Vec<_> = begun.collect();
    let answer = answer(handler, arguments, companion, role, &begun);
    let split = quote! {
        let #Head { request: #request, extracted: #extracted, .. } = #head;
    };
    let bound = layers.iter().flat_map(|layer| &layer.arguments);
    let used: Vec<usize> = bound.flat_map(|bound| bound.arguments.clone()).collect();
    let items = companion.items(own, &used);
    let (inside, beside) = if companion.is_beside {
        (None, Some(items))
    } else {
        (Some(items), None)
    };
    let checks = checks.tokens(runtime);
    let in_place = quote!(use #InPlace as _;);
    let writer = matches!(role, Role::Writer).then(|| {
        let (writer, name) = (writer(), &companion.name);
        quote! {
            static #writer: #Writer =
                #Writer::new(::core::any::type_name::<#name>);
        }
    });
    let types = match role {
        Role::Reader => handler.types_item(),
        Role::Writer => None,
    };
    let (response, answer) = match handler.documentation() {
        None => (quote!(#Response), answer),
        Some(ty) => (
            quote!(#Documented<#ty>),
            quote!(#Documented::new({ #answer })),
        ),
    };
    let block = quote!(#in_place #inside #types #writer #checks #split #answer);
    let mut block = Group::new(Delimiter::Brace, block);
    block.set_span(body.span());
    let attributes = attributes::of_wrapper(handler);
    // The function begins and ends with tokens of the user, so that the compiler warns if the handler
    // is unused.
    let (asyncness, fn_token) = (&signature.asyncness, &signature.fn_token);
    let (name, generics) = (&signature.ident, handler.owned_generics());
    let where_clause = &generics.where_clause;
    quote! {
        #(#attributes)*
        #visibility #asyncness #fn_token #name #generics (#inputs) -> #response
        #where_clause #block
        #beside
    }
}

/// Returns the call of the runtime before the handler. If there are several attributes, the call for
/// each of them gets the request.
fn begin(
    layer: &Layer<'_>,
    arguments: &[Argument<'_>],
    request: &Ident,
    is_last: bool,
) -> TokenStream {
    let function = layer.function.item(layer.runtime);
    let request = if is_last {
        quote!(#request)
    } else {
        quote!(::core::clone::Clone::clone(&#request))
    };
    let passed = layer
        .arguments
        .iter()
        .map(|argument| bind(argument, arguments));
    quote!(#function(#request, #(#passed),*))
}

/// Returns the statements from the first call of the runtime to the response.
fn answer(
    handler: &Handler,
    arguments: &[Argument<'_>],
    companion: &Companion<'_>,
    role: &Role,
    begun: &[TokenStream],
) -> TokenStream {
    // Errors about the handler's response point at its type.
    let span = at(match &handler.signature.output {
        ReturnType::Default => handler.signature.ident.span(),
        ReturnType::Type(_, ty) => ty.span(),
    });
    let mut name = companion.name.clone();
    name.set_span(span);
    let (turbofish, names) = (handler.turbofish(), arguments.iter().map(|it| &it.name));
    let uncached = quote_spanned!(span=> #turbofish (#(#names),*));
    let response = quote_spanned!(span=> #name::uncached #uncached);
    let Runtime { InPlace, Run, .. } = &companion.runtime.at(span);
    let call = |run: TokenStream, method: &str, argument: &Ident| {
        let method = Ident::new(method, span);
        if handler.has_lifetimes() {
            // A future that borrows cannot move to another task. Method resolution ignores lifetimes,
            // so the code names the trait whose methods keep the future in its task.
            quote_spanned!(span=> #InPlace::#method(#run, #argument))
        } else {
            quote_spanned!(span=> #run.#method(#argument))
        }
    };
    if let Role::Reader = role {
        let lookup = Ident::new("lookup", Span::mixed_site());
        let run = quote_spanned!(span=> #Run::new(#response));
        let answer = call(run, "unless_found", &lookup);
        return quote!(let #lookup = #(#begun)*; #answer.await);
    }
    let writer = writer();
    let run = quote_spanned!(span=> #Run::named(#writer.name(), #response));
    let steps =
        (0..begun.len()).map(|number| Ident::new(&format!("step_{number}"), Span::mixed_site()));
    let steps: Vec<_> = steps.collect();
    let within_another = |run, step: &Ident| {
        let run = quote_spanned!(span=> #Run::new(#run));
        call(run, "within", step)
    };
    let mut outwards = steps.iter().rev();
    let innermost = outwards.next().map(|step| call(run, "within", step));
    let answer = innermost.map(|answer| outwards.fold(answer, within_another));
    quote!(#(let #steps = #begun.await;)* #answer.await)
}

fn inputs(
    runtime: &Runtime,
    arguments: &[Argument<'_>],
    wrapped: Option<usize>,
    head: &Ident,
    layers: &[Layer<'_>],
) -> TokenStream {
    let mut keep: Vec<_> = layers.iter().flat_map(|layer| &layer.keep).collect();
    keep.sort_unstable();
    keep.dedup();
    let Runtime {
        DebugHandlerBelongsBelow,
        Head,
        NoUrl,
        proof_if,
        ..
    } = runtime;
    let flags = keep.iter().map(|flag| flag.item(runtime).to_token_stream());
    let proof = layers.iter().find_map(|layer| layer.proof.as_ref());
    let proof = proof.map(|proof| quote!(#proof_if(#proof)));
    let flags: Vec<_> = flags.chain(proof).collect();
    // The compiler compiles a constant in a type as one more body, so the constant is omitted if there
    // are no flags.
    let keep = (!flags.is_empty()).then(|| quote!(, { #(#flags)|* }));
    let url = layers.iter().find_map(|layer| layer.url.clone());
    let url = url.unwrap_or_else(|| quote!(#NoUrl));
    let head_of = |inner: TokenStream| quote!(#Head<#inner, #url #keep>);
    let added = wrapped.is_none().then(|| {
        let ty = head_of(quote!(#DebugHandlerBelongsBelow));
        quote!(#head: #ty)
    });
    let own = arguments.iter().enumerate().map(|(position, argument)| {
        let Argument { name, ty, .. } = argument;
        if wrapped == Some(position) {
            let ty = head_of(ty.to_token_stream());
            quote!(#name: #ty)
        } else {
            quote!(#name: #ty)
        }
    });
    let inputs = added.into_iter().chain(own);
    quote!(#(#inputs),*)
}

/// Returns an expression with the names that it uses bound by reference.
fn bind(expression: &Bound, arguments: &[Argument<'_>]) -> TokenStream {
    let tokens = &expression.tokens;
    if expression.arguments.is_empty() {
        return tokens.clone();
    }
    let lets = expression.arguments.iter().map(|position| {
        let Argument { name, pattern, .. } = &arguments[*position];
        let pattern = pattern::by_reference(pattern);
        quote!(#[allow(non_snake_case, unused_variables)] let #pattern = &#name;)
    });
    quote!({ #(#lets)* #tokens })
}
