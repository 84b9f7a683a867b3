//! Checks the options of `#[cached]`, and turns them into the decisions that the expansion follows.

use darling::error::Accumulator;
use darling::util::SpannedValue;
use darling::{Error, Result};
use syn::ext::IdentExt;
use syn::{Expr, ExprLit, ExprPath, Lit, LitStr, Path};

use super::{groups, handled, krate, values};
use crate::duration::{AT_ONCE, DeclaredDuration, NO_EXPIRY, NO_WINDOW, duration, is_zero};
use crate::handler::Argument;
use crate::parse::{self, CachedArgs, ExprValue, KeySource, QueryOption, ungroup};
use crate::template::Template;
use crate::value::{Value, find};

/// The checked options of `#[cached]`, as the decisions that the expansion follows.
pub(crate) struct Cached {
    pub(crate) name: Option<String>,
    pub(crate) krate: Path,
    pub(crate) companion: bool,
    pub(crate) key: Key,
    /// The names of arguments that the response does not depend on.
    pub(crate) ignored: Vec<String>,
    pub(crate) vary_by: Vec<Value>,
    pub(crate) groups: Vec<Template>,
    pub(crate) ttl: Option<DeclaredDuration>,
    /// The largest reduction of a lifetime, in percent.
    pub(crate) jitter: Option<u8>,
    pub(crate) max_age: Option<DeclaredDuration>,
    pub(crate) cdn_max_age: Option<DeclaredDuration>,
    pub(crate) stale_while_revalidate: Option<DeclaredDuration>,
    pub(crate) stale_if_error: Option<DeclaredDuration>,
    pub(crate) stale_if_slow: Option<DeclaredDuration>,
    pub(crate) vary: Vec<String>,
    pub(crate) statuses: Vec<Status>,
    pub(crate) not_stored: Vec<String>,
    pub(crate) visibility: Option<Visibility>,
    pub(crate) no_store: bool,
    pub(crate) bypass: Option<ExprPath>,
    pub(crate) unless: Option<ExprPath>,
}

/// A storable status, and the lifetime of the responses that have it.
pub(crate) struct Status {
    pub(crate) code: u16,
    pub(crate) lifetime: Option<DeclaredDuration>,
}

/// The source of the key.
pub(crate) enum Key {
    /// The values that the arguments read from the URL, and a part of the query.
    Default(Query),
    Template(Template),
    Function(ExprPath),
}

/// The part of the query in the default key, besides the values that the arguments read.
pub(crate) enum Query {
    Nothing,
    All,
    Only(Vec<LitStr>),
}

/// The visibility of a response for clients.
#[derive(Clone, Copy)]
pub(crate) enum Visibility {
    Private,
    Public,
}

impl Cached {
    pub(crate) fn lower(args: CachedArgs, arguments: &[Argument<'_>]) -> Result<Self> {
        let mut errors = Error::accumulator();
        contradictions(&args, &mut errors);
        let mut lower = |expr: Option<Expr>, zero| errors.handle(duration(expr?, zero));
        let ttl = lower(args.ttl.map(|ttl| ttl.0), NO_EXPIRY);
        let mut spanned = |expr: Option<SpannedValue<ExprValue>>, zero| {
            lower(expr.map(|expr| expr.into_inner().0), zero)
        };
        let max_age = spanned(args.max_age, "");
        let cdn_max_age = spanned(args.cdn_max_age, "");
        let stale_while_revalidate = spanned(args.stale_while_revalidate, NO_WINDOW);
        let stale_if_error = spanned(args.stale_if_error, NO_WINDOW);
        let stale_if_slow = spanned(args.stale_if_slow, AT_ONCE);
        let vary = args
            .vary
            .map(|names| collected(names.0.iter().map(field_name)));
        let statuses = args.status.map(|list| statuses(list.0));
        let not_stored = args
            .not_stored
            .map(|names| collected(names.0.iter().map(not_stored)));
        let visibility = match (args.private.is_present(), args.public.is_present()) {
            (true, _) => Some(Visibility::Private),
            (_, true) => Some(Visibility::Public),
            _ => None,
        };
        let query = args.query.map(SpannedValue::into_inner);
        let name = args.name.map(|name| handler_name(&name.0));
        let name = name.and_then(|name| errors.handle(name));
        let key = errors.handle(key(args.key, query, arguments));
        let vary_by = values(args.vary_by, arguments, &mut errors);
        let ignored = args.ignore.map(|exprs| ignored(&exprs.0, arguments));
        let ignored = handled(ignored, &mut errors);
        if let Some(key) = &key {
            ignored_and_used(&ignored, key, &vary_by, &mut errors);
        }
        let groups = handled(args.group.map(|it| groups(&it, arguments)), &mut errors);
        let cached = Self {
            name,
            krate: krate(args.krate),
            companion: !args.no_companion.is_present(),
            key: key.unwrap_or(Key::Default(Query::Nothing)),
            ignored: ignored.into_iter().map(|(name, _)| name).collect(),
            vary_by,
            groups,
            ttl,
            jitter: args.jitter.map(|jitter| jitter.into_inner().0),
            max_age,
            cdn_max_age,
            stale_while_revalidate,
            stale_if_error,
            stale_if_slow,
            vary: sorted(handled(vary, &mut errors)),
            statuses: handled(statuses, &mut errors),
            not_stored: sorted(handled(not_stored, &mut errors)),
            visibility,
            no_store: args.no_store.is_present(),
            bypass: args.bypass.map(|path| path.0),
            unless: args.unless.map(|path| path.0),
        };
        errors.finish_with(cached)
    }

    /// Returns the names of the groups, sorted, if all of them are known at compile time.
    pub(crate) fn fixed_groups(&self) -> Option<Vec<&str>> {
        let names = self.groups.iter().map(Template::as_literal);
        let mut names: Vec<&str> = names.collect::<Option<_>>()?;
        names.sort_unstable();
        Some(names)
    }

    /// Returns whether the name of a group contains a value of a request.
    pub(crate) fn has_made_groups(&self) -> bool {
        let mut values = self.groups.iter().flat_map(Template::values);
        values.any(|value| !value.roots.is_empty())
    }

    /// Returns whether the values of the key decide the groups.
    pub(crate) fn groups_by_key(&self) -> bool {
        let Key::Template(key) = &self.key else {
            return !self.has_made_groups();
        };
        let in_key = |value: &Value| key.values().any(|other| other == value);
        let mut values = self.groups.iter().flat_map(Template::values);
        values.all(|value| value.roots.is_empty() || in_key(value))
    }

    /// Returns the values that the key and `vary_by` use.
    pub(crate) fn used(&self) -> impl Iterator<Item = &Value> {
        used(&self.key, &self.vary_by)
    }
}

fn used<'a>(key: &'a Key, vary_by: &'a [Value]) -> impl Iterator<Item = &'a Value> {
    let template = match key {
        Key::Template(template) => Some(template),
        _ => None,
    };
    template
        .into_iter()
        .flat_map(Template::values)
        .chain(vary_by)
}

fn key(
    source: Option<KeySource>,
    query: Option<QueryOption>,
    arguments: &[Argument<'_>],
) -> Result<Key> {
    Ok(match (source, query) {
        (Some(KeySource::Function(path)), _) => Key::Function(path),
        (Some(KeySource::Template(text)), _) if text.value().starts_with('/') => {
            let message = "a key is not a path, so it does not start with `/`: omit `key`, and the key \
                           holds the values of the path, or start it with a name, such as \
                           \"product:{id}\"";
            return Err(Error::custom(message).with_span(&text));
        }
        (Some(KeySource::Template(text)), _) => Key::Template(Template::new(&text, arguments)?),
        (None, None) => Key::Default(Query::Nothing),
        (None, Some(QueryOption::All)) => Key::Default(Query::All),
        (None, Some(QueryOption::Only(names))) => Key::Default(Query::Only(names)),
    })
}

/// Returns the name of a handler, which is the beginning of its keys. Other texts are an error.
fn handler_name(name: &Expr) -> Result<String> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || "_-.:".contains(c);
    if let Expr::Lit(ExprLit {
        lit: Lit::Str(text),
        ..
    }) = name
    {
        let value = text.value();
        if value.starts_with(|c: char| c.is_ascii_alphabetic()) && value.chars().all(is_word) {
            return Ok(value);
        }
    }
    let message = "expected a name in quotes, such as \"get_product\": a letter, then letters, digits, \
                   `_`, `-`, `.` or `:`";
    Err(Error::custom(message).with_span(name))
}

/// Returns the names in `ignore(..)`, each with its expression, at which an error can point.
fn ignored(exprs: &[Expr], arguments: &[Argument<'_>]) -> Result<Vec<(String, Expr)>> {
    let mut out: Vec<(String, Expr)> = Vec::new();
    let mut errors = Error::accumulator();
    for expr in exprs {
        let name = match ungroup(expr) {
            Expr::Path(path) => path.path.get_ident().map(|name| name.unraw().to_string()),
            _ => None,
        };
        let problem = match name {
            None => Some("expected a name that an argument binds".to_owned()),
            Some(name) if out.iter().any(|(other, _)| *other == name) => {
                Some(format!("`{name}` is named twice"))
            }
            Some(name) => match find(&name, arguments) {
                Ok(_) => {
                    out.push((name, expr.clone()));
                    None
                }
                Err(message) => Some(message),
            },
        };
        if let Some(problem) = problem {
            errors.push(Error::custom(problem).with_span(expr));
        }
    }
    errors.finish_with(out)
}

fn ignored_and_used(
    ignored: &[(String, Expr)],
    key: &Key,
    vary_by: &[Value],
    errors: &mut Accumulator,
) {
    for (name, expr) in ignored {
        if used(key, vary_by).any(|value| value.roots.iter().any(|(_, it)| it.unraw() == name)) {
            let message =
                format!("`{name}` selects the response, so it is not ignored: remove one");
            errors.push(Error::custom(message).with_span(expr));
        }
    }
}

/// Sorts names and removes duplicates.
fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort_unstable();
    names.dedup();
    names
}

/// Collects all values, or all errors.
fn collected<T>(results: impl Iterator<Item = Result<T>>) -> Result<Vec<T>> {
    let mut errors = Error::accumulator();
    let out = results.filter_map(|result| errors.handle(result)).collect();
    errors.finish_with(out)
}

/// Reports options that contradict each other.
fn contradictions(args: &CachedArgs, errors: &mut Accumulator) {
    if args.private.is_present() && args.public.is_present() {
        let message = "`private` and `public` contradict each other: remove one";
        errors.push(Error::custom(message).with_span(&args.public.span()));
    }
    if let (Some(query), Some(_)) = (&args.query, &args.key) {
        let message = "`query` adds parameters to the default key, and `key` replaces the default key: \
                       remove one";
        errors.push(Error::custom(message).with_span(&query.span()));
    }
    let of_use_with_expiry = [
        (
            "stale_while_revalidate",
            args.stale_while_revalidate.as_ref().map(SpannedValue::span),
        ),
        (
            "stale_if_error",
            args.stale_if_error.as_ref().map(SpannedValue::span),
        ),
        (
            "stale_if_slow",
            args.stale_if_slow.as_ref().map(SpannedValue::span),
        ),
        ("jitter", args.jitter.as_ref().map(SpannedValue::span)),
    ];
    let statuses = args.status.iter().flat_map(|statuses| &statuses.0);
    let mut lifetimes = statuses.filter_map(|status| status.lifetime.as_ref());
    let has_lifetime = lifetimes.any(|lifetime| !is_zero(lifetime));
    if args.ttl.as_ref().is_some_and(|ttl| is_zero(&ttl.0)) && !has_lifetime {
        for (name, span) in of_use_with_expiry {
            if let Some(span) = span {
                let message = format!(
                    "with `ttl = 0` a response never becomes stale, so `{name}` has no effect: remove one"
                );
                errors.push(Error::custom(message).with_span(&span));
            }
        }
    }
    if let (Some(cdn_max_age), true) = (&args.cdn_max_age, args.private.is_present()) {
        let message = "with `private`, no CDN may store the response, so `cdn_max_age` has no effect: \
                       remove one";
        errors.push(Error::custom(message).with_span(&cdn_max_age.span()));
    }
    if let (Some(slow), None) = (&args.stale_if_slow, &args.stale_if_error) {
        let message = "`stale_if_slow` needs `stale_if_error`, which says for how long a stale response \
                       may be served: add it, such as `stale_if_error = \"1h\"`";
        errors.push(Error::custom(message).with_span(&slow.span()));
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
        ("max_age", args.max_age.as_ref().map(SpannedValue::span)),
    ];
    for (name, span) in others {
        if let Some(span) = span {
            let message = format!("beside `no_store`, `{name}` has no effect: remove one");
            errors.push(Error::custom(message).with_span(&span));
        }
    }
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

/// Returns a field name of `not_stored`. Returns an error for a field that is never stored, and for a
/// field that a stored response needs.
fn not_stored(name: &LitStr) -> Result<String> {
    const NEVER_STORED: [&str; 14] = [
        "connection",
        "keep-alive",
        "proxy-connection",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "content-length",
        "date",
        "age",
        "x-redis-cache",
        "cache-group-invalidation",
    ];
    const STORED: [&str; 12] = [
        "vary",
        "cache-control",
        "surrogate-control",
        "expires",
        "etag",
        "last-modified",
        "content-type",
        "content-encoding",
        "content-range",
        "content-language",
        "content-location",
        "location",
    ];
    if name.value() == "*" {
        let message = "name the fields: the other fields are stored";
        return Err(Error::custom(message).with_span(name));
    }
    let field = field_name(name)?;
    let problem = if field == "set-cookie" {
        "a response that sets a cookie is never stored: set the cookie in a layer outside"
    } else if NEVER_STORED.contains(&&*field) {
        "this field is never stored: remove it here"
    } else if STORED.contains(&&*field) || field.ends_with("cdn-cache-control") {
        "this field describes the stored response, so it is stored with it"
    } else {
        return Ok(field);
    };
    Err(Error::custom(problem).with_span(name))
}

fn statuses(list: Vec<parse::Status>) -> Result<Vec<Status>> {
    let mut errors = Error::accumulator();
    let mut out: Vec<Status> = Vec::new();
    for status in list {
        let is_named = |code| out.iter().any(|status| status.code == code);
        let code = match status.code.base10_parse::<u16>() {
            Ok(206) => Err("a part of a response (206) is never stored"),
            Ok(304) => Err("304 is not stored: it stands for a 200; write `status(200)`"),
            Ok(code) if is_named(code) => Err("this status is named twice"),
            Ok(code @ 200..=599) => Ok(code),
            _ => Err("not a final status: expected 200 to 599"),
        };
        let code = code.map_err(|problem| Error::custom(problem).with_span(&status.code));
        let lifetime = status.lifetime.map(|expr| duration(expr, NO_EXPIRY));
        let lifetime = errors.handle(lifetime.transpose()).flatten();
        out.extend(errors.handle(code).map(|code| Status { code, lifetime }));
    }
    errors.finish_with(out)
}
