//! The items of the runtime that generated code names: all of them, in one table.

use std::rc::Rc;

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, TokenStreamExt, quote};
use syn::Path;

/// Declares [`Runtime`]: a field for each item, under the modules that it is exported from.
macro_rules! runtime {
    ($(in $modules:tt: $($item:ident)+;)+) => {
        /// The items of the runtime. Each has the name that the runtime gives it, so that a template of
        /// `quote!` reads like the code that it generates.
        pub(crate) struct Runtime {
            $($(pub(crate) $item: Item,)+)+
        }

        impl Runtime {
            /// Returns the items as `krate` exports them.
            pub(crate) fn new(krate: &Path) -> Self {
                let krate = Rc::new(krate.to_token_stream());
                Self {
                    $($($item: Item {
                        krate: Rc::clone(&krate),
                        modules: names!($modules),
                        name: stringify!($item),
                        span: None,
                    },)+)+
                }
            }

            /// Returns the items with a span, so that errors about them point at the user's code at
            /// that span.
            pub(crate) fn at(&self, span: Span) -> Self {
                Self {
                    $($($item: self.$item.at(span),)+)+
                }
            }
        }
    };
}

/// Returns the names in a list.
macro_rules! names {
    ([$($name:ident)*]) => {
        &[$(stringify!($name)),*]
    };
}

runtime! {
    in []: KeyPart KeyWriter;
    in [__private]:
        // The function that axum calls.
        Head NoUrl WholeUrl DebugHandlerBelongsBelow ALL_FIELDS PARTS WRITE proof_if
        Response Documented InPlace Run Writer Evictions
        read_through write_through evict
        // The route of a handler.
        Handler OfRequest OfValues OfTypes named_alone
        Route StorableStatus QueryRule KeyResult HeaderName Declared Duration LazyLock
        // The selection of an entry.
        Selected Text sorted
        // The function `key`.
        CacheKey KeyText ValueOf ElementOf UrlPart Part Any Kind KindType kind_of
        // The sources of arguments.
        Probe Determined IsDetermined NotDetermined NotAValue NotIdentifying MayReadEarly
        UrlReader is_by_url sees_query;
    in [__private read]: ByType ByValue Nothing;
}

/// An item of the runtime, which expands to its path.
pub(crate) struct Item {
    krate: Rc<TokenStream>,
    modules: &'static [&'static str],
    name: &'static str,
    span: Option<Span>,
}

impl Item {
    fn at(&self, span: Span) -> Self {
        Self {
            krate: Rc::clone(&self.krate),
            modules: self.modules,
            name: self.name,
            span: Some(span),
        }
    }
}

impl ToTokens for Item {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        let segments = self.modules.iter().chain([&self.name]);
        let segments = segments.map(|segment| Ident::new(segment, Span::call_site()));
        let krate = &self.krate;
        let path = quote!(#krate #(::#segments)*);
        match self.span {
            None => tokens.append_all(path),
            Some(span) => tokens.append_all(path.into_iter().map(|mut token| {
                token.set_span(token.span().located_at(span));
                token
            })),
        }
    }
}
