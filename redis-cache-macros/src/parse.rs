//! The options as they were written.

use darling::ast::NestedMeta;
use darling::util::{Flag, SpannedValue};
use darling::{Error, FromMeta, Result};
use proc_macro2::{Span, TokenStream};
use syn::{Expr, ExprLit, ExprPath, Lit, LitInt, LitStr};

use crate::options::{Form, items};

/// The options of `#[cached]` and `#[cache_put]`.
#[derive(FromMeta)]
pub(crate) struct RouteArgs {
    pub(crate) ttl: Option<Value>,
    pub(crate) group: Option<Strings>,
    pub(crate) max_age: Option<SpannedValue<Value>>,
    pub(crate) private: Flag,
    pub(crate) public: Flag,
    pub(crate) no_store: Flag,
    pub(crate) vary: Option<FieldNames>,
    pub(crate) status: Option<Statuses>,
    pub(crate) unless: Option<PathValue>,
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
    #[darling(rename = "crate")]
    pub(crate) krate: Option<PathValue>,
}

const PUT: [(&str, Form); 9] = [
    ("ttl", Form::Value("ttl = 300")),
    ("group", Form::Value("group = \"products\"")),
    ("max_age", Form::Value("max_age = 60")),
    ("private", Form::Word),
    ("public", Form::Word),
    ("no_store", Form::Word),
    ("vary", Form::List("vary(\"accept-language\")")),
    ("unless", Form::Value("unless = path::to::function")),
    ("crate", Form::Value("crate = path::to::axum_redis_cache")),
];

const STATUS: (&str, Form) = ("status", Form::List("status(200, 404)"));

const EVICT: [(&str, Form); 5] = [
    ("key", Form::WordOrValue("key = \"/products\"")),
    ("group", Form::Value("group = \"products\"")),
    ("all", Form::Word),
    ("always", Form::Word),
    ("crate", Form::Value("crate = path::to::axum_redis_cache")),
];

pub(crate) fn cached(args: TokenStream) -> Result<RouteArgs> {
    let options: Vec<_> = PUT.into_iter().chain([STATUS]).collect();
    RouteArgs::from_list(&items(args, &options, &[])?)
}

pub(crate) fn put(args: TokenStream) -> Result<RouteArgs> {
    RouteArgs::from_list(&items(args, &PUT, &[])?)
}

pub(crate) fn evict(args: TokenStream) -> Result<EvictArgs> {
    let args = EvictArgs::from_list(&items(args, &EVICT, &["key", "group"])?)?;
    if args.key.is_empty() && args.group.is_empty() && !args.all.is_present() {
        let message = "nothing to evict: name a target, such as `key` for the entry of the \
                       request's path, `group = \"products\"` or `all`";
        return Err(Error::custom(message).with_span(&Span::call_site()));
    }
    Ok(args)
}

/// `option = expression`.
pub(crate) struct Value(pub(crate) Expr);

impl FromMeta for Value {
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
    Literal(LitStr),
}

impl FromMeta for KeyTarget {
    fn from_word() -> Result<Self> {
        Ok(Self::Request)
    }

    fn from_expr(expr: &Expr) -> Result<Self> {
        string(ungroup(expr)).map(Self::Literal)
    }
}

/// `vary("text", "text")`.
pub(crate) struct FieldNames(pub(crate) Vec<LitStr>);

impl FromMeta for FieldNames {
    fn from_list(items: &[NestedMeta]) -> Result<Self> {
        let name = |item: &NestedMeta| match item {
            NestedMeta::Lit(Lit::Str(name)) => Ok(name.clone()),
            other => Err(Error::custom("expected a field name in quotes").with_span(other)),
        };
        at_least_one(items, "vary(\"accept-language\")")?;
        items.iter().map(name).collect::<Result<_>>().map(Self)
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
fn ungroup(mut expr: &Expr) -> &Expr {
    while let Expr::Group(group) = expr {
        expr = &group.expr;
    }
    expr
}
