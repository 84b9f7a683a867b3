//! The function `key` of a companion: the key of a handler's response, by its values.

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::{Pat, PatTupleStruct, Type};

use super::companion::Companion;
use super::{at, select};
use crate::handler::Argument;
use crate::model::{Cached, Key, Query};
use crate::pattern;
use crate::runtime::Runtime;
use crate::template::Template;
use crate::value::{Expression, Value, word};

/// Returns the function `key` of a companion.
pub(super) fn function(
    companion: &Companion<'_>,
    arguments: &[Argument<'_>],
    cached: &Cached,
) -> TokenStream {
    match &cached.key {
        Key::Template(template) => of_template(companion, arguments, cached, template),
        Key::Function(_) => of_text(companion, &[]),
        Key::Default(query) => {
            let elements: Vec<_> = arguments.iter().flat_map(Argument::elements).collect();
            let is_ignored = |argument: &Argument<'_>| {
                let mut names = argument.bindings.iter();
                !argument.bindings.is_empty()
                    && names.all(|name| cached.ignored.contains(&name.unraw().to_string()))
            };
            let read: Vec<_> = elements.iter().filter(|it| !is_ignored(it)).collect();
            if read.iter().any(|it| is_spelled(it.ty, &["Path"])) && matches!(query, Query::Nothing)
            {
                of_values(companion, &read)
            } else {
                of_text(companion, &read)
            }
        }
    }
}

/// ```text
/// // Input
/// async fn home(State(db): State<Db>) -> Html<String> { .. }
///
/// // Output
/// fn key(text: impl KeyText) -> CacheKey { route.key_of_text(text.as_str()) }
/// ```
fn of_text(companion: &Companion<'_>, read: &[&Argument<'_>]) -> TokenStream {
    let (runtime, visibility) = (companion.runtime, companion.visibility());
    let Runtime {
        CacheKey,
        Handler,
        KeyText,
        Probe,
        ..
    } = runtime;
    let message = "the path of a URL can be read in several ways, so a text does not tell which entry is \
                   meant: name the handler in an attribute, or give it a `key` of values";
    let checks = read.iter().map(|argument| {
        let ty = argument.ty;
        quote!(::core::assert!(#Probe::<#ty>::IS_TOLD_BY_QUERY, #message);)
    });
    let checks = evaluated(runtime, &checks.collect::<Vec<_>>());
    quote! {
        #visibility fn key(text: impl #KeyText) -> #CacheKey {
            #checks
            <Self as #Handler>::route().key_of_text(#KeyText::as_str(&text))
        }
    }
}

/// ```text
/// // Input
/// async fn get_page(Path((brand, id)): Path<(String, u64)>, Query(page): Query<Page>) -> .. { .. }
///
/// // Output
/// fn key(
///     brand: impl ElementOf<Path<(String, u64)>, 0>,
///     id: impl ElementOf<Path<(String, u64)>, 1>,
///     page: impl ValueOf<Query<Page>>,
/// ) -> CacheKey {
///     route.key_of_values(&[Text::new().value(&(&brand, &id))], &[Text::new().value(&page)])
/// }
/// ```
fn of_values(companion: &Companion<'_>, read: &[&Argument<'_>]) -> TokenStream {
    let (runtime, visibility) = (companion.runtime, companion.visibility());
    let Runtime {
        CacheKey,
        ElementOf,
        Handler,
        Probe,
        Text,
        UrlPart,
        ValueOf,
        is_by_url,
        ..
    } = runtime;
    let (mut parameters, mut names) = (Vec::new(), Vec::new());
    let mut values = Vec::new();
    let mut checks = Vec::new();
    for argument in read {
        let ty = argument.ty;
        if !is_spelled(ty, &["Path", "Query", "Form"]) {
            let message = "values in parentheses cannot make the key of this handler, because of the way in \
                           which it reads the URL: name it alone in an attribute, or give it a `key` of \
                           values";
            checks.push(quote!(::core::assert!(!#is_by_url(#Probe::<#ty>::BY), #message);));
            continue;
        }
        let own = own_names(argument, &names);
        let value = if let [name] = &*own {
            parameters.push(quote!(#name: impl #ValueOf<#ty>));
            quote!(&#name)
        } else {
            let elements = own.iter().enumerate();
            parameters.extend(elements.map(|(at, name)| quote!(#name: impl #ElementOf<#ty, #at>)));
            quote!(&(#(&#own),*))
        };
        names.extend(own);
        values.push(quote!(.part(
            <#ty as #UrlPart>::IS_OF_PATH,
            &#Text::new().value(#value),
        )));
    }
    let checks = evaluated(runtime, &checks);
    quote! {
        #[allow(non_snake_case)]
        #visibility fn key(#(#parameters),*) -> #CacheKey {
            #checks
            <Self as #Handler>::route().key_of_values() #(#values)* .into_key()
        }
    }
}

/// Returns assertions about types, evaluated when the function is compiled for a use.
fn evaluated(runtime: &Runtime, checks: &[TokenStream]) -> Option<TokenStream> {
    let Runtime { NotDetermined, .. } = runtime;
    (!checks.is_empty()).then(|| {
        quote!(const {
            use #NotDetermined as _;
            #(#checks)*
        })
    })
}

/// Returns whether a type is spelled like one of these extractors of the URL, whose values can be
/// named. The traits of the parameters decide whether it is one.
pub(super) fn is_spelled(ty: &Type, names: &[&str]) -> bool {
    let last = match ty {
        Type::Path(path) => path.path.segments.last(),
        _ => None,
    };
    last.is_some_and(|last| names.iter().any(|name| last.ident == name))
}

/// Returns a name for each value, with one for each element of a tuple.
fn own_names(argument: &Argument<'_>, taken: &[Ident]) -> Vec<Ident> {
    let inner = match argument.pattern {
        Pat::TupleStruct(PatTupleStruct { elems, .. }) if elems.len() == 1 => elems.first(),
        other => Some(other),
    };
    let name = |pattern: Option<&Pat>, number: usize| {
        let name = match pattern {
            Some(Pat::Ident(pattern)) => Some(pattern.ident.clone()),
            _ => None,
        };
        // Lints forbid the use of names that begin with an underscore.
        let is_usable = |name: &Ident| !taken.contains(name) && !name.to_string().starts_with('_');
        name.filter(is_usable)
            .unwrap_or_else(|| format_ident!("value_{}", taken.len() + number))
    };
    match inner {
        Some(Pat::Tuple(tuple)) if tuple.elems.len() > 1 => {
            let elements = tuple.elems.iter().enumerate();
            elements
                .map(|(number, it)| name(Some(it), number))
                .collect()
        }
        other => vec![name(other, 0)],
    }
}

/// Returns the function `key` of a handler whose key is a template, with a parameter for each value.
fn of_template(
    companion: &Companion<'_>,
    arguments: &[Argument<'_>],
    cached: &Cached,
    template: &Template,
) -> TokenStream {
    let (runtime, visibility) = (companion.runtime, companion.visibility());
    let Runtime {
        Any,
        CacheKey,
        Handler,
        Kind,
        KindType,
        Part,
        ..
    } = runtime;
    let values = select::distinct(template);
    let names = parameters(&values);
    let mut kinds = TokenStream::new();
    let mut types = Vec::new();
    for (number, value) in values.iter().enumerate() {
        let (Expression::FieldPath(_), Some((argument, _))) =
            (&value.expression, value.roots.first())
        else {
            types.push(quote!(#Any));
            continue;
        };
        let argument = &arguments[*argument];
        let kind = format_ident!("KIND_{number}");
        let (pattern, ty) = (pattern::by_reference(argument.pattern), argument.ty);
        let (taken, span) = (value.reference(), at(value.span()));
        let Runtime { kind_of, .. } = &runtime.at(span);
        let kind_of = quote_spanned! {span=>
            #kind_of(&|#pattern: &#ty| -> &_ { #taken })
        };
        kinds.extend(quote! {
            #[allow(non_snake_case, unused_variables)]
            const #kind: ::core::primitive::u8 = #kind_of;
        });
        let name = &companion.name;
        types.push(quote!(<#Kind<{ #name::#kind }> as #KindType>::Type));
    }
    let parameter = |value: &Value| {
        let position = values.iter().position(|other| other == value);
        let name = position.map(|position| &names[position]);
        name.map_or_else(|| value.reference(), |name| quote!(&#name))
    };
    let key = select::text(runtime, template, &parameter);
    let has_groups = cached.fixed_groups().is_none() && cached.groups_by_key();
    let groups = has_groups.then(|| {
        let groups = cached
            .groups
            .iter()
            .map(|group| select::text(runtime, group, &parameter));
        quote!(.in_groups([#(#groups),*]))
    });
    let parameters: Vec<_> = names
        .iter()
        .zip(&types)
        .map(|(name, ty)| quote!(#name: impl #Part<#ty>))
        .collect();
    quote! {
        #kinds
        #[allow(non_snake_case)]
        #visibility fn key(#(#parameters),*) -> #CacheKey {
            <Self as #Handler>::route().key_of_template(&#key) #groups
        }
    }
}

/// Returns distinct names for parameters, like those of the values.
fn parameters(values: &[Value]) -> Vec<Ident> {
    let mut names: Vec<Ident> = Vec::new();
    for (number, value) in values.iter().enumerate() {
        let mut name = word(&value.flat_name());
        if names.contains(&name) {
            name = format_ident!("value_{number}");
        }
        name.set_span(at(value.span()));
        names.push(name);
    }
    names
}
