//! The options as they were written.

use darling::ast::NestedMeta;
use darling::util::{Flag, SpannedValue, path_to_string};
use darling::{Error, FromMeta, Result};
use proc_macro2::{Span, TokenStream};
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Expr, ExprLit, ExprPath, Lit, LitInt, LitStr, Meta, Path, Token, parse_quote};

use crate::attribute_kind::AttributeKind;
use crate::options::{Reference, checked, example, has_option, references};

/// The options of `#[cached]`.
#[derive(FromMeta)]
pub(crate) struct CachedArgs {
    pub(crate) name: Option<ExprValue>,
    pub(crate) ttl: Option<ExprValue>,
    pub(crate) group: Option<Groups>,
    pub(crate) key: Option<KeySource>,
    pub(crate) query: Option<SpannedValue<QueryOption>>,
    pub(crate) vary_by: Option<Exprs>,
    pub(crate) ignore: Option<Exprs>,
    pub(crate) jitter: Option<SpannedValue<Percentage>>,
    pub(crate) max_age: Option<SpannedValue<ExprValue>>,
    pub(crate) cdn_max_age: Option<SpannedValue<ExprValue>>,
    pub(crate) stale_while_revalidate: Option<SpannedValue<ExprValue>>,
    pub(crate) stale_if_error: Option<SpannedValue<ExprValue>>,
    pub(crate) stale_if_slow: Option<SpannedValue<ExprValue>>,
    pub(crate) private: Flag,
    pub(crate) public: Flag,
    pub(crate) no_store: Flag,
    pub(crate) vary: Option<FieldNames>,
    pub(crate) status: Option<Statuses>,
    pub(crate) not_stored: Option<FieldNames>,
    pub(crate) bypass: Option<PathValue>,
    pub(crate) unless: Option<PathValue>,
    pub(crate) no_companion: Flag,
    #[darling(rename = "crate")]
    pub(crate) krate: Option<PathValue>,
}

/// The options of `#[cache_put]`, without the handler that it names.
#[derive(FromMeta)]
pub(crate) struct PutArgs {
    pub(crate) group: Option<Groups>,
    pub(crate) vary_by: Option<Exprs>,
    pub(crate) no_companion: Flag,
    #[darling(rename = "crate")]
    pub(crate) krate: Option<PathValue>,
}

/// The options of `#[cache_evict]`.
#[derive(FromMeta)]
pub(crate) struct EvictArgs {
    #[darling(multiple)]
    pub(crate) group: Vec<Groups>,
    pub(crate) all: Flag,
    pub(crate) always: Flag,
    pub(crate) no_companion: Flag,
    #[darling(rename = "crate")]
    pub(crate) krate: Option<PathValue>,
}

/// Returns the default path of the crate `axum_redis_cache`, which `crate = path` replaces.
pub(crate) fn default_crate() -> Path {
    parse_quote!(::axum_redis_cache)
}

/// Returns the path of the crate `axum_redis_cache` that the arguments of an attribute declare, or the
/// default path.
pub(crate) fn krate(args: &TokenStream) -> Path {
    let items = NestedMeta::parse_meta_list(args.clone()).unwrap_or_default();
    let renamed = items.iter().find_map(|item| match item {
        NestedMeta::Meta(Meta::NameValue(option)) if option.path.is_ident("crate") => {
            PathValue::from_expr(&option.value).ok()
        }
        _ => None,
    });
    renamed.map_or_else(default_crate, |path| path.0.path)
}

pub(crate) fn cached(args: TokenStream) -> Result<CachedArgs> {
    let items = NestedMeta::parse_meta_list(args)?;
    CachedArgs::from_list(&checked(items, AttributeKind::Cached, &[])?)
}

pub(crate) fn put(args: TokenStream) -> Result<(Reference, PutArgs)> {
    let (items, references) = references(args, &[AttributeKind::CachePut, AttributeKind::Cached])?;
    let mut errors = Error::accumulator();
    for name in items.iter().filter_map(decided_by_handler) {
        let message = match &*name.to_string() {
            "key" => {
                "a key begins with the name of the handler that reads it: write the handler and \
                      its values, such as `get_product(id)`"
                    .to_owned()
            }
            _ => format!("the named handler has the option `{name}`: remove it here"),
        };
        errors.push(Error::custom(message).with_span(&name));
    }
    let mut references = references.into_iter();
    let reference = references.next();
    for another in references {
        let message = "a response is stored for one handler: give the other a `#[cache_put]` of \
                       its own";
        errors.push(Error::custom(message).with_span(&another.path));
    }
    let Some(reference) = reference else {
        let message = "nothing to replace: name the cached handler whose entry this writes, such as \
                       `#[cache_put(get_product)]`";
        errors.push(Error::custom(message).with_span(&Span::call_site()));
        return Err(errors
            .finish()
            .err()
            .unwrap_or_else(|| Error::custom(message)));
    };
    errors.finish()?;
    let args = PutArgs::from_list(&checked(items, AttributeKind::CachePut, &[])?)?;
    Ok((reference, args))
}

/// Returns the name of an option that `#[cached]` has and `#[cache_put]` does not have.
fn decided_by_handler(item: &NestedMeta) -> Option<syn::Ident> {
    let NestedMeta::Meta(meta) = item else {
        return None;
    };
    let name = meta.path().get_ident()?;
    let is_of = |kind| has_option(kind, &name.to_string());
    (is_of(AttributeKind::Cached) && !is_of(AttributeKind::CachePut)).then_some(name.clone())
}

pub(crate) fn evict(args: TokenStream) -> Result<(Vec<Reference>, EvictArgs)> {
    let (items, references) = references(args, &[AttributeKind::CacheEvict])?;
    let (keys, items): (Vec<_>, Vec<_>) = items.into_iter().partition(is_key);
    let mut errors = Error::accumulator();
    for key in &keys {
        let message = "a key begins with the name of the handler that reads it: write the handler, \
                       such as `get_product`, or the handler and its values, `get_product(id)`; to evict \
                       entries of several handlers together, give them a group";
        errors.push(Error::custom(message).with_span(key));
    }
    errors.finish()?;
    let args = EvictArgs::from_list(&checked(items, AttributeKind::CacheEvict, &["group"])?)?;
    if references.is_empty() && args.group.is_empty() && !args.all.is_present() {
        let message = "nothing to evict: name a cached handler, such as `get_product`, `group = \
                       \"products\"` or `all`";
        return Err(Error::custom(message).with_span(&Span::call_site()));
    }
    Ok((references, args))
}

fn is_key(item: &NestedMeta) -> bool {
    matches!(item, NestedMeta::Meta(meta) if meta.path().is_ident("key"))
}

/// `option = expression`.
pub(crate) struct ExprValue(pub(crate) Expr);

impl FromMeta for ExprValue {
    fn from_expr(expr: &Expr) -> Result<Self> {
        Ok(Self(ungroup(expr).clone()))
    }
}

/// `option = path`.
pub(crate) struct PathValue(pub(crate) ExprPath);

impl FromMeta for PathValue {
    fn from_expr(expr: &Expr) -> Result<Self> {
        match ungroup(expr) {
            Expr::Path(path) => Ok(Self(path.clone())),
            Expr::Closure(closure) => {
                let message = "expected the path of a function: give the closure a name";
                Err(Error::custom(message).with_span(closure))
            }
            other => Err(Error::custom("expected a path, without quotes").with_span(other)),
        }
    }
}

/// `group = "text"`, `group = expression`, or a list of them.
pub(crate) struct Groups(pub(crate) Vec<GroupSource>);

/// A template, or an expression that yields the text.
pub(crate) enum GroupSource {
    Template(LitStr),
    Expr(Expr),
}

impl FromMeta for Groups {
    fn from_expr(expr: &Expr) -> Result<Self> {
        let groups = match ungroup(expr) {
            Expr::Array(array) if array.elems.is_empty() => {
                let message = "nothing in the list: name a group, or remove the option";
                return Err(Error::custom(message).with_span(array));
            }
            Expr::Array(array) => array.elems.iter().map(group).collect::<Result<_>>()?,
            other => vec![group(other)?],
        };
        Ok(Self(groups))
    }
}

fn group(expr: &Expr) -> Result<GroupSource> {
    match ungroup(expr) {
        Expr::Lit(ExprLit {
            lit: Lit::Str(text),
            ..
        }) => Ok(GroupSource::Template(text.clone())),
        other @ (Expr::Lit(_) | Expr::Array(_)) => {
            Err(Error::custom("expected a text in quotes").with_span(other))
        }
        other => Ok(GroupSource::Expr(other.clone())),
    }
}

/// `key = "template"`, or `key = path::to::function`.
pub(crate) enum KeySource {
    Template(LitStr),
    Function(ExprPath),
}

impl FromMeta for KeySource {
    fn from_expr(expr: &Expr) -> Result<Self> {
        match ungroup(expr) {
            Expr::Path(path) => Ok(Self::Function(path.clone())),
            Expr::Lit(ExprLit {
                lit: Lit::Str(text),
                ..
            }) => Ok(Self::Template(text.clone())),
            other => {
                let message = "expected a template in quotes, such as \"product:{id}\", or the \
                               path of a function";
                Err(Error::custom(message).with_span(other))
            }
        }
    }
}

/// `query`, or `query("name", "name")`.
pub(crate) enum QueryOption {
    All,
    Only(Vec<LitStr>),
}

impl FromMeta for QueryOption {
    fn from_word() -> Result<Self> {
        Ok(Self::All)
    }

    fn from_list(items: &[NestedMeta]) -> Result<Self> {
        let expected = "expected the name of a parameter in quotes";
        texts(items, "query", expected).map(Self::Only)
    }
}

/// `option(expression, expression)`.
pub(crate) struct Exprs(pub(crate) Vec<Expr>);

impl FromMeta for Exprs {
    fn from_meta(item: &Meta) -> Result<Self> {
        let list = item.require_list()?;
        let exprs = list.parse_args_with(Punctuated::<Expr, Token![,]>::parse_terminated)?;
        if exprs.is_empty() {
            let message = "nothing in the list: name an argument, or remove the option";
            return Err(Error::custom(message).with_span(item));
        }
        Ok(Self(exprs.into_iter().collect()))
    }
}

/// `vary("text", "text")`, or `not_stored("text")`.
pub(crate) struct FieldNames(pub(crate) Vec<LitStr>);

impl FromMeta for FieldNames {
    fn from_meta(item: &Meta) -> Result<Self> {
        let list = item.require_list()?;
        let items = NestedMeta::parse_meta_list(list.tokens.clone())?;
        let option = path_to_string(&list.path);
        texts(&items, &option, "expected a field name in quotes")
            .map(Self)
            .map_err(|error| error.with_span(item))
    }
}

/// `status(200, 404 = "10s")`.
pub(crate) struct Statuses(pub(crate) Vec<Status>);

/// A status, and the lifetime of the responses that have it.
pub(crate) struct Status {
    pub(crate) code: LitInt,
    pub(crate) lifetime: Option<Expr>,
}

impl FromMeta for Statuses {
    fn from_meta(item: &Meta) -> Result<Self> {
        let list = item.require_list()?;
        at_least_one(list.tokens.is_empty(), "status").map_err(|error| error.with_span(item))?;
        let parser = Punctuated::<Status, Token![,]>::parse_terminated;
        let statuses = list.parse_args_with(parser)?;
        Ok(Self(statuses.into_iter().collect()))
    }
}

impl Parse for Status {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let span = input.span();
        let code = input.parse();
        let code = code.map_err(|_| syn::Error::new(span, "expected a status such as 200"))?;
        let assigns = input.parse::<Option<Token![=]>>()?.is_some();
        let lifetime: Option<Expr> = assigns.then(|| input.parse()).transpose()?;
        let lifetime = lifetime.map(|expr| ungroup(&expr).clone());
        Ok(Self { code, lifetime })
    }
}

/// `jitter = "10%"`.
pub(crate) struct Percentage(pub(crate) u8);

impl FromMeta for Percentage {
    fn from_expr(expr: &Expr) -> Result<Self> {
        let expr = ungroup(expr);
        let text = match expr {
            Expr::Lit(ExprLit {
                lit: Lit::Str(text),
                ..
            }) => text.value(),
            _ => String::new(),
        };
        let number = text
            .strip_suffix('%')
            .and_then(|number| number.parse().ok());
        match number {
            Some(percent @ 1..=99) => Ok(Self(percent)),
            _ => Err(Error::custom("expected \"1%\" to \"99%\"").with_span(expr)),
        }
    }
}

/// Returns the texts in the list of an option.
fn texts(items: &[NestedMeta], option: &str, expected: &str) -> Result<Vec<LitStr>> {
    let text = |item: &NestedMeta| match item {
        NestedMeta::Lit(Lit::Str(text)) => Ok(text.clone()),
        other => Err(Error::custom(expected).with_span(other)),
    };
    at_least_one(items.is_empty(), option)?;
    items.iter().map(text).collect()
}

fn at_least_one(is_empty: bool, option: &str) -> Result<()> {
    if is_empty {
        let message = format!("nothing in the list: write `{}`", example(option));
        return Err(Error::custom(message));
    }
    Ok(())
}

/// The expression inside the invisible groups that `macro_rules!` wraps its fragments in.
pub(crate) fn ungroup(mut expr: &Expr) -> &Expr {
    while let Expr::Group(group) = expr {
        expr = &group.expr;
    }
    expr
}
