//! Generated code: the user's function inside one that axum calls, and one call into the runtime.
//!
//! ```text
//! // Input
//! #[cached(ttl = 300)]
//! pub async fn get(Path(id): Path<u64>, State(db): State<Db>) -> Json<Product> { body }
//!
//! // Output
//! pub async fn get(id: Read<Path<u64>>, db: State<Db>) -> Response {
//!     async fn get(Path(id): Path<u64>, State(db): State<Db>) -> Json<Product> { body }
//!     read_through(
//!         id,
//!         { static ROUTE: LazyLock<Route> = LazyLock::new(|| Route::new("get").ttl(..)); &ROUTE },
//!         move |id| get(id, db),
//!     )
//!     .await
//! }
//! ```
//!
//! The function keeps its number of arguments, because attributes around this one count them.

use proc_macro2::{Delimiter, Group, Ident, TokenStream};
use quote::{format_ident, quote};
use syn::spanned::Spanned;

use crate::handler::{Argument, Handler, positional};
use crate::model::{Evict, Route, Target, Visibility};

pub(crate) fn read(handler: &Handler, route: &Route) -> TokenStream {
    on_route(handler, route, "read_through", ["Read", "ReadAllFields"])
}

pub(crate) fn write(handler: &Handler, route: &Route) -> TokenStream {
    on_route(handler, route, "write_through", ["Write", "WriteAllFields"])
}

/// A call with a route; the second head type is for one that nominates request fields.
fn on_route(
    handler: &Handler,
    route: &Route,
    function: &str,
    [plain, all_fields]: [&str; 2],
) -> TokenStream {
    let head_type = if route.vary.is_empty() {
        plain
    } else {
        all_fields
    };
    let declared = declared_route(handler, route);
    Call {
        krate: &route.krate,
        function,
        head_type,
        ty: "Route",
        declared,
    }
    .wrap(handler)
}

pub(crate) fn evict(handler: &Handler, evict: &Evict) -> TokenStream {
    let krate = &evict.krate;
    let targets = evict.targets.iter().map(|target| match target {
        Target::RequestKey => quote!(.request_key()),
        Target::Key(key) => quote!(.key(#key)),
        Target::Group(group) => quote!(.group(#group)),
        Target::All => quote!(.all()),
    });
    let always = evict.always.then(|| quote!(.always()));
    let declared = quote!(#krate::__private::Evict::new() #(#targets)* #always);
    Call {
        krate,
        function: "evict",
        head_type: "Write",
        ty: "Evict",
        declared,
    }
    .wrap(handler)
}

fn declared_route(handler: &Handler, route: &Route) -> TokenStream {
    let Route {
        krate,
        groups,
        vary,
        ..
    } = route;
    let name = &handler.signature.ident;
    let ttl = route.ttl.as_ref().map(|ttl| quote!(.ttl(#ttl)));
    let max_age = route
        .max_age
        .as_ref()
        .map(|max_age| quote!(.max_age(#max_age)));
    let groups = (!groups.is_empty()).then(|| quote!(.groups(&[#(#groups),*])));
    let vary = (!vary.is_empty()).then(|| quote!(.vary(&[#(#vary),*])));
    let statuses = route
        .statuses
        .as_ref()
        .map(|list| quote!(.statuses(&[#(#list),*])));
    let visibility = route.visibility.map(|visibility| match visibility {
        Visibility::Private => quote!(.private()),
        Visibility::Public => quote!(.public()),
    });
    let no_store = route.no_store.then(|| quote!(.no_store()));
    let unless = route.unless.as_ref().map(|unless| quote!(.unless(#unless)));
    quote! {
        #krate::__private::Route::new(
            ::core::concat!(::core::module_path!(), "::", ::core::stringify!(#name))
        )
        #ttl #max_age #groups #vary #statuses #visibility #no_store #unless
    }
}

/// The call into the runtime that a handler becomes.
struct Call<'a> {
    krate: &'a TokenStream,
    function: &'a str,
    /// The extractor that wraps the first argument.
    head_type: &'a str,
    /// What the attribute declared, and an expression of it.
    ty: &'a str,
    declared: TokenStream,
}

impl Call<'_> {
    fn wrap(self, handler: &Handler) -> TokenStream {
        let Handler {
            attributes,
            visibility,
            signature,
            body,
        } = handler;
        let Self {
            krate, declared, ..
        } = self;
        let [function, head_type, ty] =
            [self.function, self.head_type, self.ty].map(|s| format_ident!("{s}"));
        // With the user's own tokens at both ends the compiler warns of a handler that is not used.
        let (asyncness, fn_token) = (&signature.asyncness, &signature.fn_token);
        let (name, generics) = (&signature.ident, &signature.generics);
        let where_clause = &generics.where_clause;
        let private = quote!(#krate::__private);
        let (inputs, first, others) = arguments(handler, &private, &head_type);
        let turbofish = handler.turbofish();
        let head = handler
            .arguments()
            .into_iter()
            .next()
            .map_or(positional(0), |first| first.name);
        let block = quote! {
            #signature #body
            #private::#function(
                #head,
                {
                    static __AXUM_REDIS_CACHE_ROUTE: #private::LazyLock<#private::#ty> =
                        #private::LazyLock::new(|| #declared);
                    &__AXUM_REDIS_CACHE_ROUTE
                },
                move |#first| #name #turbofish (#others),
            )
            .await
        };
        let mut block = Group::new(Delimiter::Brace, block);
        block.set_span(body.span());
        quote! {
            #(#attributes)*
            #visibility #asyncness #fn_token #name #generics (#inputs) -> #private::Response
            #where_clause #block
        }
    }
}

/// The arguments of the wrapper, what it passes to its closure, and what that passes on.
fn arguments(
    handler: &Handler,
    private: &TokenStream,
    head_type: &Ident,
) -> (TokenStream, TokenStream, TokenStream) {
    let arguments = handler.arguments();
    let Some((first, others)) = arguments.split_first() else {
        let head = positional(0);
        return (
            quote!(#head: #private::#head_type<()>),
            quote!(()),
            quote!(),
        );
    };
    let (head, first) = (&first.name, first.ty);
    let names: Vec<_> = others.iter().map(|Argument { name, .. }| name).collect();
    let types = others.iter().map(|Argument { ty, .. }| ty);
    (
        quote!(#head: #private::#head_type<#first> #(, #names: #types)*),
        quote!(#head),
        quote!(#head #(, #names)*),
    )
}
