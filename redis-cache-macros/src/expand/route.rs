//! The declarations of an attribute, as a constant expression of `Route`.

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};

use super::accounting::probe;
use super::companion::Companion;
use super::{accounting, at, last_span, path_at, select, url};
use crate::handler::{Argument, Handler};
use crate::model::{Key, Query, Route, Visibility};
use crate::template::{Piece, Template};

pub(super) fn declared(
    handler: &Handler,
    companion: &Companion<'_>,
    arguments: &[Argument<'_>],
    route: &Route,
) -> TokenStream {
    let private = &companion.private;
    let name = &companion.name;
    let given = route.name.as_ref().map(|name| quote!(.name_is(#name)));
    let reads = (!handler.is_generic()).then(|| url::reads(private, arguments, route));
    let Route { vary, .. } = route;
    let key = match &route.key {
        Key::Default(Query::Nothing) => None,
        Key::Template(_) => Some(quote!(.key_by_template())),
        Key::Default(Query::All) => Some(quote!(.query(#private::QueryRule::All))),
        Key::Default(Query::Only(names)) => {
            Some(quote!(.query(#private::QueryRule::Only(&[#(#names),*]))))
        }
        Key::Function(path) => {
            let span = at(last_span(&path.path));
            let private = path_at(private, span);
            let key = quote_spanned!(span=> #private::KeyResult::into_future(#path(parts)));
            Some(quote!(.key_by(|parts| #key)))
        }
    };
    let identified = identified(private, arguments, route);
    let unseen = selected_unseen(private, arguments, route);
    let reads_early = reads_early(private, arguments, route);
    let ttl = route.ttl.as_ref().map(|ttl| quote!(.ttl(#ttl)));
    let max_age = route
        .max_age
        .as_ref()
        .map(|max_age| quote!(.max_age(#max_age)));
    let windows = [
        ("stale_while_revalidate", &route.stale_while_revalidate),
        ("stale_if_error", &route.stale_if_error),
    ];
    let windows = windows.into_iter().filter_map(|(name, window)| {
        let (name, window) = (format_ident!("{name}"), window.as_ref()?);
        Some(quote!(.#name(#window)))
    });
    let groups = route.fixed_groups().filter(|groups| !groups.is_empty());
    let groups = groups.map(|groups| quote!(.groups(&[#(#groups),*])));
    let is_made_once = route.fixed_groups().is_none() && !route.has_made_groups();
    let made = is_made_once.then(|| {
        let groups = select::texts(private, &route.groups);
        quote!(.groups_by(|| #private::sorted([#(#groups),*])))
    });
    let patterns: Vec<_> = match route.fixed_groups() {
        Some(_) => Vec::new(),
        None => route.groups.iter().filter_map(pattern_of).collect(),
    };
    let declares = (!patterns.is_empty()).then(|| quote!(.declares(&[#(#patterns),*])));
    let vary = (!vary.is_empty()).then(|| {
        let count = vary.len();
        quote!(.vary({
            static __AXUM_REDIS_CACHE_VARY: [#private::HeaderName; #count] =
                [#(#private::HeaderName::from_static(#vary)),*];
            &__AXUM_REDIS_CACHE_VARY
        }))
    });
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
    quote!({
        use #private::NotIdentifying as _;
        #private::Route::new(::core::any::type_name::<#name>)
        #given #reads #key #identified #unseen #reads_early #ttl #max_age #(#windows)* #groups #made #declares #vary #statuses #visibility #no_store #unless
    })
}

/// Sets that the key identifies the caller, if it holds a value whose extractor identifies the caller,
/// or the credentials themselves.
fn identified(
    private: &TokenStream,
    arguments: &[Argument<'_>],
    route: &Route,
) -> Option<TokenStream> {
    if route.vary.iter().any(|name| name == "authorization") {
        return Some(quote!(.identified(true)));
    }
    let used = used(arguments, route).filter(|argument| !argument.is_generic);
    let types: Vec<_> = used.map(|argument| argument.ty).collect();
    (!types.is_empty()).then(|| quote!(.identified(#(#private::Probe::<#types>::IDENTIFIES)||*)))
}

/// Returns the arguments whose values are in the key or select the response.
fn used<'a>(arguments: &'a [Argument<'a>], route: &'a Route) -> impl Iterator<Item = Argument<'a>> {
    let elements = arguments.iter().flat_map(Argument::elements);
    elements.filter(|argument| {
        let mut used = route.used();
        used.any(|value| argument.bindings.iter().any(|name| value.uses(name)))
    })
}

/// Sets that proxies do not see a value in the key. They see the URL and the fields of `vary`, but not
/// the value of an argument with another source.
fn selected_unseen(
    private: &TokenStream,
    arguments: &[Argument<'_>],
    route: &Route,
) -> Option<TokenStream> {
    let used: Vec<_> = used(arguments, route).collect();
    if used.iter().any(|argument| argument.is_generic) {
        return Some(quote!(.selected_unseen(true)));
    }
    let by = used.iter().map(|argument| probe(private, argument));
    (!used.is_empty()).then(|| {
        quote!(.selected_unseen({
            use #private::NotDetermined as _;
            #(#by.is_none())||*
        }))
    })
}

/// Sets that an argument may have been read from data that can change, before the handler runs: its
/// source is neither the URL nor the application.
fn reads_early(
    private: &TokenStream,
    arguments: &[Argument<'_>],
    route: &Route,
) -> Option<TokenStream> {
    let elements = arguments.iter().flat_map(Argument::elements);
    let unknown = elements.filter(|argument| !accounting::is_determined(argument, route));
    let may_read_early = one_reads_early(private, &unknown.collect::<Vec<_>>());
    may_read_early.map(|it| quote!(.reads_early(#it)))
}

/// Returns an expression for whether any argument may be read from data that can change; `None`: the
/// function has no arguments.
pub(super) fn any_reads_early(
    private: &TokenStream,
    arguments: &[Argument<'_>],
) -> Option<TokenStream> {
    let elements = arguments.iter().flat_map(Argument::elements);
    one_reads_early(private, &elements.collect::<Vec<_>>())
}

fn one_reads_early(private: &TokenStream, arguments: &[Argument<'_>]) -> Option<TokenStream> {
    if arguments.iter().any(|argument| argument.is_generic) {
        return Some(quote!(true));
    }
    let types: Vec<_> = arguments.iter().map(|argument| argument.ty).collect();
    (!types.is_empty()).then(|| quote!({
        use #private::{MayReadEarly as _, NotDetermined as _};
        #(#private::Probe::<#types>::BY.is_none() && #private::Probe::<#types>::MAY_READ_EARLY)||*
    }))
}

/// Returns the pattern of a group's names: NUL stands for a value. A pattern without text would match
/// every name, so there is none.
fn pattern_of(group: &Template) -> Option<String> {
    let pieces = group.pieces.iter().map(|piece| match piece {
        Piece::Literal(text) => text.as_str(),
        Piece::Value(_) | Piece::Text(_) => "\0",
    });
    let pattern: String = pieces.collect();
    (pattern != "\0").then_some(pattern)
}
