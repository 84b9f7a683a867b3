//! The declarations of an attribute, as a constant expression of `Route`.

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};

use super::accounting::probe;
use super::companion::Companion;
use super::{accounting, at, last_span, select, url};
use crate::duration::DeclaredDuration;
use crate::handler::{Argument, Handler};
use crate::model::{Cached, Key, Query, Status, Visibility};
use crate::runtime::Runtime;
use crate::template::{Piece, Template};

/// Returns the expression of a route.
pub(super) fn declared(
    handler: &Handler,
    companion: &Companion<'_>,
    arguments: &[Argument<'_>],
    cached: &Cached,
) -> TokenStream {
    let (runtime, name) = (companion.runtime, &companion.name);
    let given = cached.name.as_ref().map(|name| quote!(.name_is(#name)));
    let reads = (!handler.is_generic()).then(|| url::reads(runtime, arguments, cached));
    let key = key(runtime, &cached.key);
    let identified = identified(runtime, arguments, cached);
    let unseen = selected_unseen(runtime, arguments, cached);
    let reads_early = reads_early(runtime, arguments, cached);
    let durations = [
        ("ttl", &cached.ttl),
        ("max_age", &cached.max_age),
        ("cdn_max_age", &cached.cdn_max_age),
        ("stale_while_revalidate", &cached.stale_while_revalidate),
        ("stale_if_error", &cached.stale_if_error),
        ("stale_if_slow", &cached.stale_if_slow),
    ];
    let durations = durations.into_iter().filter_map(|(option, declared)| {
        let declared = duration(runtime, declared.as_ref()?);
        let option = format_ident!("{option}");
        Some(quote!(.#option(#declared)))
    });
    let groups = groups(runtime, cached);
    let vary = (!cached.vary.is_empty()).then(|| {
        let names = field_names(runtime, &cached.vary);
        quote!(.vary(#names))
    });
    let statuses = (!cached.statuses.is_empty()).then(|| statuses(runtime, &cached.statuses));
    let jitter = cached.jitter.map(|percent| quote!(.jitter(#percent)));
    let not_stored = (!cached.not_stored.is_empty()).then(|| {
        let names = field_names(runtime, &cached.not_stored);
        quote!(.not_stored(#names))
    });
    let visibility = cached.visibility.map(|visibility| match visibility {
        Visibility::Private => quote!(.private()),
        Visibility::Public => quote!(.public()),
    });
    let no_store = cached.no_store.then(|| quote!(.no_store()));
    let bypass = cached.bypass.as_ref();
    let bypass = bypass.map(|bypass| quote!(.bypass(#bypass)));
    let unless = cached.unless.as_ref();
    let unless = unless.map(|unless| quote!(.unless(#unless)));
    let Runtime {
        NotIdentifying,
        Route,
        ..
    } = runtime;
    quote!({
        use #NotIdentifying as _;
        #Route::new(::core::any::type_name::<#name>)
        #given #reads #key #identified #unseen #reads_early #(#durations)* #jitter #groups #vary
        #statuses #not_stored #visibility #no_store #bypass #unless
    })
}

/// Sets the source of the key, unless it is the values that the arguments read.
fn key(runtime: &Runtime, key: &Key) -> Option<TokenStream> {
    let Runtime { QueryRule, .. } = runtime;
    match key {
        Key::Default(Query::Nothing) => None,
        Key::Default(Query::All) => Some(quote!(.query(#QueryRule::All))),
        Key::Default(Query::Only(names)) => Some(quote!(.query(#QueryRule::Only(&[#(#names),*])))),
        Key::Template(_) => Some(quote!(.key_by_template())),
        Key::Function(path) => {
            let span = at(last_span(&path.path));
            let Runtime { KeyResult, .. } = &runtime.at(span);
            let key = quote_spanned!(span=> #KeyResult::into_future(#path(parts)));
            Some(quote!(.key_by(|parts| #key)))
        }
    }
}

/// Returns the expression of a duration.
fn duration(runtime: &Runtime, declared: &DeclaredDuration) -> TokenStream {
    let Runtime {
        Declared,
        Duration,
        LazyLock,
        ..
    } = runtime;
    match declared {
        DeclaredDuration::Known(duration) => {
            let (seconds, nanos) = (duration.as_secs(), duration.subsec_nanos());
            quote!(#Declared::Fixed(#Duration::new(#seconds, #nanos)))
        }
        DeclaredDuration::Expr(expr) => quote!(#Declared::Lazy({
            static __AXUM_REDIS_CACHE_DECLARED: #LazyLock<#Duration> = #LazyLock::new(|| #expr);
            &__AXUM_REDIS_CACHE_DECLARED
        })),
    }
}

/// Sets the groups, unless their names contain values of a request. If some names are not literals,
/// also sets the patterns of the names.
fn groups(runtime: &Runtime, cached: &Cached) -> Option<TokenStream> {
    if let Some(names) = cached.fixed_groups() {
        return (!names.is_empty()).then(|| quote!(.groups(&[#(#names),*])));
    }
    let made = (!cached.has_made_groups()).then(|| {
        let Runtime { sorted, .. } = runtime;
        let groups = select::texts(runtime, &cached.groups);
        quote!(.groups_by(|| #sorted([#(#groups),*])))
    });
    let patterns: Vec<_> = cached.groups.iter().filter_map(pattern_of).collect();
    let declares = (!patterns.is_empty()).then(|| quote!(.declares(&[#(#patterns),*])));
    Some(quote!(#made #declares))
}

/// Returns an expression for a static list of field names.
fn field_names(runtime: &Runtime, names: &[String]) -> TokenStream {
    let (Runtime { HeaderName, .. }, count) = (runtime, names.len());
    quote!({
        static __AXUM_REDIS_CACHE_FIELDS: [#HeaderName; #count] =
            [#(#HeaderName::from_static(#names)),*];
        &__AXUM_REDIS_CACHE_FIELDS
    })
}

fn statuses(runtime: &Runtime, statuses: &[Status]) -> TokenStream {
    let (Runtime { StorableStatus, .. }, count) = (runtime, statuses.len());
    let statuses = statuses.iter().map(|Status { code, lifetime }| {
        let lifetime = lifetime.as_ref().map(|it| duration(runtime, it));
        let lifetime = lifetime.map(|lifetime| quote!(.lasting(#lifetime)));
        quote!(#StorableStatus::new(#code) #lifetime)
    });
    quote!(.statuses({
        static __AXUM_REDIS_CACHE_STATUSES: [#StorableStatus; #count] = [#(#statuses),*];
        &__AXUM_REDIS_CACHE_STATUSES
    }))
}

/// Declares whether the key identifies the caller. It does if it holds the credentials, or a value
/// whose extractor identifies the caller.
fn identified(
    runtime: &Runtime,
    arguments: &[Argument<'_>],
    cached: &Cached,
) -> Option<TokenStream> {
    if cached.vary.iter().any(|name| name == "authorization") {
        return Some(quote!(.identified(true)));
    }
    let used = used(arguments, cached).filter(|argument| !argument.is_generic);
    let types: Vec<_> = used.map(|argument| argument.ty).collect();
    let Runtime { Probe, .. } = runtime;
    (!types.is_empty()).then(|| quote!(.identified(#(#Probe::<#types>::IDENTIFIES)||*)))
}

/// Returns the arguments whose values are in the key or select the response.
fn used<'a>(
    arguments: &'a [Argument<'a>],
    cached: &'a Cached,
) -> impl Iterator<Item = Argument<'a>> {
    let elements = arguments.iter().flat_map(Argument::elements);
    elements.filter(|argument| {
        let mut used = cached.used();
        used.any(|value| argument.bindings.iter().any(|name| value.uses(name)))
    })
}

/// Declares whether a value in the key is invisible to proxies. They see the URL and the fields of
/// `vary`, but not the value of an argument with another source.
fn selected_unseen(
    runtime: &Runtime,
    arguments: &[Argument<'_>],
    cached: &Cached,
) -> Option<TokenStream> {
    let used: Vec<_> = used(arguments, cached).collect();
    if used.iter().any(|argument| argument.is_generic) {
        return Some(quote!(.selected_unseen(true)));
    }
    let Runtime { NotDetermined, .. } = runtime;
    let by = used.iter().map(|argument| probe(runtime, argument));
    (!used.is_empty()).then(|| {
        quote!(.selected_unseen({
            use #NotDetermined as _;
            #(#by.is_none())||*
        }))
    })
}

/// Declares whether an argument may be read, before the handler runs, from data that can change. This
/// is so if the source of the argument is neither the URL nor the application.
fn reads_early(
    runtime: &Runtime,
    arguments: &[Argument<'_>],
    cached: &Cached,
) -> Option<TokenStream> {
    let elements = arguments.iter().flat_map(Argument::elements);
    let unknown = elements.filter(|argument| !accounting::is_determined(argument, cached));
    let may_read_early = one_reads_early(runtime, &unknown.collect::<Vec<_>>());
    may_read_early.map(|it| quote!(.reads_early(#it)))
}

/// Returns a constant expression that is true if an argument may be read from data that can change.
/// `None`: the function has no arguments.
pub(super) fn any_reads_early(
    runtime: &Runtime,
    arguments: &[Argument<'_>],
) -> Option<TokenStream> {
    let elements = arguments.iter().flat_map(Argument::elements);
    one_reads_early(runtime, &elements.collect::<Vec<_>>())
}

fn one_reads_early(runtime: &Runtime, arguments: &[Argument<'_>]) -> Option<TokenStream> {
    if arguments.iter().any(|argument| argument.is_generic) {
        return Some(quote!(true));
    }
    let types: Vec<_> = arguments.iter().map(|argument| argument.ty).collect();
    let Runtime {
        MayReadEarly,
        NotDetermined,
        Probe,
        ..
    } = runtime;
    (!types.is_empty()).then(|| {
        quote!({
            use #MayReadEarly as _;
            use #NotDetermined as _;
            #(#Probe::<#types>::BY.is_none() && #Probe::<#types>::MAY_READ_EARLY)||*
        })
    })
}

/// Returns the pattern of a group's names: NUL stands for a value. `None`: the name has no literal
/// text, so the pattern would match every name.
fn pattern_of(group: &Template) -> Option<String> {
    let pieces = group.pieces.iter().map(|piece| match piece {
        Piece::Literal(text) => text.as_str(),
        Piece::Value(_) | Piece::Text(_) => "\0",
    });
    let pattern: String = pieces.collect();
    (pattern != "\0").then_some(pattern)
}
