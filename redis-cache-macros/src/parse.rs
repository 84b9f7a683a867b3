//! The options as they were written.

use darling::ast::NestedMeta;
use darling::util::{Flag, SpannedValue};
use darling::{Error, FromMeta, Result};
use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote};
use syn::punctuated::Punctuated;
use syn::{Expr, ExprLit, ExprPath, Lit, LitInt, LitStr, Meta, Token};

use crate::options::{Form, Reference, checked, references};

/// The options of `#[cached]`, and of a `#[cache_put]` that names no handler.
#[derive(FromMeta)]
pub(crate) struct RouteArgs {
    pub(crate) ttl: Option<ExprValue>,
    pub(crate) group: Option<Strings>,
    pub(crate) key: Option<KeySource>,
    pub(crate) query: Option<SpannedValue<QueryOption>>,
    pub(crate) vary_by: Option<Exprs>,
    pub(crate) ignore: Option<Exprs>,
    pub(crate) max_age: Option<SpannedValue<ExprValue>>,
    pub(crate) stale_while_revalidate: Option<SpannedValue<ExprValue>>,
    pub(crate) stale_if_error: Option<SpannedValue<ExprValue>>,
    pub(crate) private: Flag,
    pub(crate) public: Flag,
    pub(crate) no_store: Flag,
    pub(crate) vary: Option<FieldNames>,
    pub(crate) status: Option<Statuses>,
    pub(crate) unless: Option<PathValue>,
    pub(crate) no_companion: Flag,
    #[darling(rename = "crate")]
    pub(crate) krate: Option<PathValue>,
}

/// The options of a `#[cache_put]` that names a handler.
#[derive(FromMeta)]
pub(crate) struct PutArgs {
    pub(crate) group: Option<Strings>,
    pub(crate) vary_by: Option<Exprs>,
    pub(crate) no_companion: Flag,
    #[darling(rename = "crate")]
    pub(crate) krate: Option<PathValue>,
}

/// The options of `#[cache_evict]`.
#[derive(FromMeta)]
pub(crate) struct EvictArgs {
    #[darling(multiple)]
    pub(crate) key: Vec<KeyTarget>,
    #[darling(multiple)]
    pub(crate) group: Vec<Strings>,
    pub(crate) all: Flag,
    pub(crate) always: Flag,
    pub(crate) no_companion: Flag,
    #[darling(rename = "crate")]
    pub(crate) krate: Option<PathValue>,
}

/// Where the arguments of any of the attributes say that this crate is.
pub(crate) fn krate(args: &TokenStream) -> TokenStream {
    let items = NestedMeta::parse_meta_list(args.clone()).unwrap_or_default();
    let renamed = items.iter().find_map(|item| match item {
        NestedMeta::Meta(Meta::NameValue(option)) if option.path.is_ident("crate") => {
            Some(option.value.to_token_stream())
        }
        _ => None,
    });
    renamed.unwrap_or_else(|| quote!(::axum_redis_cache))
}

/// What `#[cache_put]` takes its options from.
pub(crate) enum Put {
    /// From the handler that it names.
    Of(Box<(Reference, PutArgs)>),
    /// From itself.
    Own(Box<RouteArgs>),
}

const NO_COMPANION: (&str, Form) = ("no_companion", Form::Word);
const CRATE: (&str, Form) = ("crate", Form::Value("crate = path::to::axum_redis_cache"));
const GROUP: (&str, Form) = ("group", Form::Value("group = \"products\""));
const VARY_BY: (&str, Form) = ("vary_by", Form::List("vary_by(user.id)"));

const PUT: [(&str, Form); 15] = [
    ("ttl", Form::Value("ttl = 300")),
    GROUP,
    ("key", Form::Value("key = \"product:{id}\"")),
    ("query", Form::WordOrList("query(\"page\")")),
    VARY_BY,
    ("max_age", Form::Value("max_age = 60")),
    (
        "stale_while_revalidate",
        Form::Value("stale_while_revalidate = 60"),
    ),
    ("stale_if_error", Form::Value("stale_if_error = \"1h\"")),
    ("private", Form::Word),
    ("public", Form::Word),
    ("no_store", Form::Word),
    ("vary", Form::List("vary(\"accept-language\")")),
    ("unless", Form::Value("unless = path::to::function")),
    NO_COMPANION,
    CRATE,
];

const PUT_OF: [(&str, Form); 4] = [GROUP, VARY_BY, NO_COMPANION, CRATE];

const STATUS: (&str, Form) = ("status", Form::List("status(200, 404)"));
const IGNORE: (&str, Form) = ("ignore", Form::List("ignore(headers)"));

const EVICT: [(&str, Form); 6] = [
    ("key", Form::WordOrValue("key = \"product:{id}\"")),
    GROUP,
    ("all", Form::Word),
    ("always", Form::Word),
    NO_COMPANION,
    CRATE,
];

pub(crate) fn cached(args: TokenStream) -> Result<RouteArgs> {
    let options: Vec<_> = PUT.into_iter().chain([STATUS, IGNORE]).collect();
    let items = NestedMeta::parse_meta_list(args)?;
    let args = RouteArgs::from_list(&checked(items, &options, &[])?)?;
    match &args.key {
        Some(KeySource::Template(text)) if text.value().starts_with('/') => {
            let message = "a key that starts with `/` is the path of a request: omit `key` for the \
                           path of this one, or start it with a name, such as \"product:{id}\"";
            Err(Error::custom(message).with_span(text))
        }
        _ => Ok(args),
    }
}

pub(crate) fn put(args: TokenStream) -> Result<Put> {
    let (items, references) = references(args, &PUT)?;
    let mut references = references.into_iter();
    let Some(reference) = references.next() else {
        let args = RouteArgs::from_list(&checked(items, &PUT, &[])?)?;
        return Ok(Put::Own(Box::new(args)));
    };
    let mut errors = Error::accumulator();
    for another in references {
        let message = "a response is stored for one handler: give the other a `#[cache_put]` of \
                       its own";
        errors.push(Error::custom(message).with_span(&another.path));
    }
    let inherited = |item: &NestedMeta| {
        let NestedMeta::Meta(meta) = item else {
            return None;
        };
        let name = meta.path().get_ident()?;
        let is_own = PUT_OF.iter().any(|(option, _)| name == option);
        let is_option = PUT.iter().any(|(option, _)| name == option);
        (is_option && !is_own).then_some(name.clone())
    };
    for name in items.iter().filter_map(inherited) {
        let message = format!("the handler that is named decides about `{name}`: remove it here");
        errors.push(Error::custom(message).with_span(&name));
    }
    errors.finish()?;
    let args = PutArgs::from_list(&checked(items, &PUT_OF, &[])?)?;
    Ok(Put::Of(Box::new((reference, args))))
}

pub(crate) fn evict(args: TokenStream) -> Result<(Vec<Reference>, EvictArgs)> {
    let (items, references) = references(args, &EVICT)?;
    let args = EvictArgs::from_list(&checked(items, &EVICT, &["key", "group"])?)?;
    let no_target = references.is_empty() && args.key.is_empty() && args.group.is_empty();
    if no_target && !args.all.is_present() {
        let message = "nothing to evict: name a cached handler, `key` for the entry of the \
                       request's path, `group = \"products\"` or `all`";
        return Err(Error::custom(message).with_span(&Span::call_site()));
    }
    Ok((references, args))
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
            other => Err(Error::custom("expected a path, without quotes").with_span(other)),
        }
    }
}

/// `option = "text"` or `option = ["text", "text"]`.
pub(crate) struct Strings(pub(crate) Vec<LitStr>);

impl FromMeta for Strings {
    fn from_expr(expr: &Expr) -> Result<Self> {
        let texts = match ungroup(expr) {
            Expr::Array(array) if array.elems.is_empty() => {
                let message = "nothing in the list: name a group, or remove the option";
                return Err(Error::custom(message).with_span(array));
            }
            Expr::Array(array) => array.elems.iter().map(string).collect::<Result<_>>()?,
            other => vec![string(other)?],
        };
        Ok(Self(texts))
    }
}

/// `key`, or `key = "text"`.
pub(crate) enum KeyTarget {
    Request,
    Text(LitStr),
}

impl FromMeta for KeyTarget {
    fn from_word() -> Result<Self> {
        Ok(Self::Request)
    }

    fn from_expr(expr: &Expr) -> Result<Self> {
        string(ungroup(expr)).map(Self::Text)
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
        texts(
            items,
            "query(\"page\")",
            "expected the name of a parameter in quotes",
        )
        .map(Self::Only)
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

/// `vary("text", "text")`.
pub(crate) struct FieldNames(pub(crate) Vec<LitStr>);

impl FromMeta for FieldNames {
    fn from_list(items: &[NestedMeta]) -> Result<Self> {
        texts(
            items,
            "vary(\"accept-language\")",
            "expected a field name in quotes",
        )
        .map(Self)
    }
}

/// `status(200, 404)`.
pub(crate) struct Statuses(pub(crate) Vec<LitInt>);

impl FromMeta for Statuses {
    fn from_list(items: &[NestedMeta]) -> Result<Self> {
        let status = |item: &NestedMeta| match item {
            NestedMeta::Lit(Lit::Int(status)) => Ok(status.clone()),
            other => Err(Error::custom("expected a status such as 200").with_span(other)),
        };
        at_least_one(items, "status(200, 404)")?;
        items.iter().map(status).collect::<Result<_>>().map(Self)
    }
}

fn texts(items: &[NestedMeta], example: &str, expected: &str) -> Result<Vec<LitStr>> {
    let text = |item: &NestedMeta| match item {
        NestedMeta::Lit(Lit::Str(text)) => Ok(text.clone()),
        other => Err(Error::custom(expected).with_span(other)),
    };
    at_least_one(items, example)?;
    items.iter().map(text).collect()
}

fn at_least_one(items: &[NestedMeta], example: &str) -> Result<()> {
    if items.is_empty() {
        return Err(Error::custom(format!(
            "nothing in the list: write `{example}`"
        )));
    }
    Ok(())
}

fn string(expr: &Expr) -> Result<LitStr> {
    match ungroup(expr) {
        Expr::Lit(ExprLit {
            lit: Lit::Str(text),
            ..
        }) => Ok(text.clone()),
        other => Err(Error::custom("expected a text in quotes").with_span(other)),
    }
}

/// The expression inside the invisible groups that `macro_rules!` wraps its fragments in.
pub(crate) fn ungroup(mut expr: &Expr) -> &Expr {
    while let Expr::Group(group) = expr {
        expr = &group.expr;
    }
    expr
}
