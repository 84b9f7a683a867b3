//! What the options decide: checked, and with nothing left to guess.

use std::time::Duration;

use darling::{Error, Result};
use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::{Expr, ExprPath, ExprUnary, Lit, LitInt, LitStr, UnOp};

use crate::parse::{EvictArgs, KeyTarget, PathValue, RouteArgs, Strings};

/// What `#[cached]` or `#[cache_put]` decided.
pub(crate) struct Route {
    pub(crate) krate: TokenStream,
    /// Expressions of `Duration`.
    pub(crate) ttl: Option<TokenStream>,
    pub(crate) max_age: Option<TokenStream>,
    pub(crate) groups: Vec<String>,
    pub(crate) vary: Vec<String>,
    pub(crate) statuses: Option<Vec<u16>>,
    pub(crate) visibility: Option<Visibility>,
    pub(crate) no_store: bool,
    pub(crate) unless: Option<ExprPath>,
}

/// Who a response is for.
#[derive(Clone, Copy)]
pub(crate) enum Visibility {
    Private,
    Public,
}

/// What `#[cache_evict]` decided.
pub(crate) struct Evict {
    pub(crate) krate: TokenStream,
    pub(crate) targets: Vec<Target>,
    pub(crate) always: bool,
}

pub(crate) enum Target {
    RequestKey,
    Key(String),
    Group(String),
    All,
}

impl Route {
    pub(crate) fn lower(args: RouteArgs) -> Result<Self> {
        let mut errors = Error::accumulator();
        contradictions(&args, &mut errors);
        let krate = krate(args.krate);
        let lower = |expr: Expr| duration(&expr, &krate);
        let ttl = errors
            .handle_in(|| args.ttl.map(|ttl| lower(ttl.0)).transpose())
            .flatten();
        let max_age = args.max_age.map(|max_age| max_age.into_inner().0);
        let max_age = errors
            .handle_in(|| max_age.map(lower).transpose())
            .flatten();
        let groups = args
            .group
            .map(|names| errors.handle(groups(&names)).unwrap_or_default());
        let vary = args
            .vary
            .map(|names| names.0.iter().map(field_name).collect::<Result<_>>());
        let vary = vary.map(|names| errors.handle(names).unwrap_or_default());
        let statuses = args
            .status
            .map(|list| errors.handle(statuses(&list.0)).unwrap_or_default());
        let visibility = match (args.private.is_present(), args.public.is_present()) {
            (true, _) => Some(Visibility::Private),
            (_, true) => Some(Visibility::Public),
            _ => None,
        };
        errors.finish_with(Self {
            krate,
            ttl,
            max_age,
            groups: groups.unwrap_or_default(),
            vary: vary.unwrap_or_default(),
            statuses,
            visibility,
            no_store: args.no_store.is_present(),
            unless: args.unless.map(|path| path.0),
        })
    }
}

impl Evict {
    pub(crate) fn lower(args: EvictArgs) -> Result<Self> {
        let mut errors = Error::accumulator();
        let mut targets = Vec::new();
        for key in args.key {
            targets.extend(errors.handle_in(|| match key {
                KeyTarget::Request => Ok(Target::RequestKey),
                KeyTarget::Literal(text) => plain_text(&text).map(Target::Key),
            }));
        }
        for names in &args.group {
            let names = errors.handle(groups(names)).unwrap_or_default();
            targets.extend(names.into_iter().map(Target::Group));
        }
        if args.all.is_present() {
            targets.push(Target::All);
        }
        let (krate, always) = (krate(args.krate), args.always.is_present());
        errors.finish_with(Self {
            krate,
            targets,
            always,
        })
    }
}

fn krate(path: Option<PathValue>) -> TokenStream {
    path.map_or_else(
        || quote!(::axum_redis_cache),
        |path| path.0.into_token_stream(),
    )
}

/// Options that say opposite things about what clients may do.
fn contradictions(args: &RouteArgs, errors: &mut darling::error::Accumulator) {
    if args.private.is_present() && args.public.is_present() {
        let message = "`private` and `public` contradict each other: remove one";
        errors.push(Error::custom(message).with_span(&args.public.span()));
    }
    if !args.no_store.is_present() {
        return;
    }
    let others = [
        (
            "private",
            args.private.is_present().then(|| args.private.span()),
        ),
        (
            "public",
            args.public.is_present().then(|| args.public.span()),
        ),
        (
            "max_age",
            args.max_age.as_ref().map(darling::util::SpannedValue::span),
        ),
    ];
    for (name, span) in others {
        if let Some(span) = span {
            let message = format!("`no_store` leaves `{name}` nothing to say: remove one");
            errors.push(Error::custom(message).with_span(&span));
        }
    }
}

/// An expression of `Duration`: seconds and texts are computed now, anything else is passed on.
fn duration(expr: &Expr, krate: &TokenStream) -> Result<TokenStream> {
    let fail = |message: String| Err(Error::custom(message).with_span(expr));
    let duration = match expr {
        Expr::Lit(lit) => match &lit.lit {
            Lit::Int(seconds) => match seconds.base10_parse() {
                Ok(seconds) => Duration::from_secs(seconds),
                Err(_) if seconds.base10_digits().starts_with('-') => {
                    return fail(NEGATIVE_DURATION.to_owned());
                }
                Err(_) => return fail("not a number of seconds".to_owned()),
            },
            Lit::Str(text) => match humantime::parse_duration(&text.value()) {
                Ok(duration) => duration,
                Err(error) => {
                    return fail(format!(
                        "not a duration, which is written \"1h 30m\": {error}"
                    ));
                }
            },
            _ => return fail(EXPECTED_DURATION.to_owned()),
        },
        Expr::Unary(ExprUnary {
            op: UnOp::Neg(_), ..
        }) => {
            return fail(NEGATIVE_DURATION.to_owned());
        }
        other => return Ok(other.into_token_stream()),
    };
    let (seconds, nanos) = (duration.as_secs(), duration.subsec_nanos());
    Ok(quote!(#krate::__private::Duration::new(#seconds, #nanos)))
}

const NEGATIVE_DURATION: &str = "a duration cannot be negative; 0 means no expiry";

const EXPECTED_DURATION: &str =
    "expected seconds (300), a text (\"5m\") or an expression of `Duration`";

fn groups(names: &Strings) -> Result<Vec<String>> {
    let mut errors = Error::accumulator();
    let mut out = Vec::new();
    for name in &names.0 {
        match plain_text(name) {
            Ok(group) if out.contains(&group) => {
                errors.push(Error::custom("this group is named twice").with_span(name));
            }
            Ok(group) => out.push(group),
            Err(error) => errors.push(error),
        }
    }
    if names.0.is_empty() {
        errors.push(Error::custom(
            "no group in the list: remove it, or name one",
        ));
    }
    errors.finish_with(out)
}

/// A text without placeholders, with its escaped braces resolved.
fn plain_text(text: &LitStr) -> Result<String> {
    let value = text.value();
    if value.is_empty() {
        return Err(Error::custom("the text is empty").with_span(text));
    }
    let unescaped = value.replace("{{", "").replace("}}", "");
    if unescaped.contains(['{', '}']) {
        let message = "placeholders are not supported here; a brace is written `{{` or `}}`";
        return Err(Error::custom(message).with_span(text));
    }
    Ok(value.replace("{{", "{").replace("}}", "}"))
}

fn field_name(name: &LitStr) -> Result<String> {
    let value = name.value().to_ascii_lowercase();
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'+-.^_`|~".contains(&byte);
    if value == "*" {
        let message = "a response that varies by everything is never reused: name the fields";
        return Err(Error::custom(message).with_span(name));
    }
    if value.is_empty() || !value.bytes().all(is_token) {
        return Err(Error::custom("not the name of a header field").with_span(name));
    }
    Ok(value)
}

fn statuses(list: &[LitInt]) -> Result<Vec<u16>> {
    let mut errors = Error::accumulator();
    let mut out = Vec::new();
    for literal in list {
        let problem = match literal.base10_parse::<u16>() {
            Ok(206) => Some("a part of a response (206) is never stored"),
            Ok(304) => Some("304 is not stored: it stands for a 200; write `status(200)`"),
            Ok(status) if out.contains(&status) => Some("this status is named twice"),
            Ok(status @ 200..=599) => {
                out.push(status);
                None
            }
            _ => Some("not a final status: expected 200 to 599"),
        };
        if let Some(problem) = problem {
            errors.push(Error::custom(problem).with_span(literal));
        }
    }
    errors.finish_with(out)
}
