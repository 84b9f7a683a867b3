//! The decisions of `#[cache_put]` and `#[cache_evict]`.

use darling::{Error, Result};
use syn::{Expr, ExprLit, Lit, LitStr, Path};

use super::{groups, handled, krate, values};
use crate::handler::Argument;
use crate::options::Reference;
use crate::parse::{EvictArgs, PutArgs, ungroup};
use crate::template::Template;
use crate::value::Value;

/// The decisions of `#[cache_put]`. For all other options, those of the named handler apply.
pub(crate) struct Put {
    pub(crate) krate: Path,
    pub(crate) companion: bool,
    pub(crate) handler: HandlerKey,
    pub(crate) vary_by: Vec<Value>,
    /// The groups of the entry. If there are none, the groups of the named handler apply.
    pub(crate) groups: Vec<Template>,
}

/// The decisions of `#[cache_evict]`.
pub(crate) struct Evict {
    pub(crate) krate: Path,
    pub(crate) companion: bool,
    pub(crate) evictions: Vec<Eviction>,
    pub(crate) always: bool,
}

/// The entries that an argument of `#[cache_evict]` evicts.
pub(crate) enum Eviction {
    Handler(HandlerKey),
    Group(Template),
    All,
}

/// A handler, and the values of its key. `None`: the values are those of the request.
pub(crate) struct HandlerKey {
    pub(crate) path: Path,
    pub(crate) values: Option<Vec<Expr>>,
}

impl Put {
    pub(crate) fn lower(
        (reference, args): (Reference, PutArgs),
        arguments: &[Argument<'_>],
    ) -> Result<Self> {
        let mut errors = Error::accumulator();
        let handler = errors.handle(HandlerKey::new(reference));
        let vary_by = values(args.vary_by, arguments, &mut errors);
        let groups = handled(args.group.map(|it| groups(&it, arguments)), &mut errors);
        let put = handler.map(|handler| Self {
            krate: krate(args.krate),
            companion: !args.no_companion.is_present(),
            handler,
            vary_by,
            groups,
        });
        errors.finish()?;
        put.ok_or_else(|| Error::custom("no handler is named"))
    }
}

impl Evict {
    pub(crate) fn lower(
        (references, args): (Vec<Reference>, EvictArgs),
        arguments: &[Argument<'_>],
    ) -> Result<Self> {
        let mut errors = Error::accumulator();
        let handlers = references.into_iter().map(HandlerKey::new);
        let handlers = handlers.filter_map(|handler| errors.handle(handler));
        let mut evictions: Vec<_> = handlers.map(Eviction::Handler).collect();
        for names in &args.group {
            let groups = handled(Some(groups(names, arguments)), &mut errors);
            evictions.extend(groups.into_iter().map(Eviction::Group));
        }
        if args.all.is_present() {
            evictions.push(Eviction::All);
        }
        errors.finish_with(Self {
            krate: krate(args.krate),
            companion: !args.no_companion.is_present(),
            evictions,
            always: args.always.is_present(),
        })
    }
}

impl HandlerKey {
    fn new(reference: Reference) -> Result<Self> {
        let Reference { path, values } = reference;
        let mut errors = Error::accumulator();
        for value in values.iter().flatten() {
            if let Some(text) = text_with_braces(value) {
                let message = "braces are not filled in here: write the value as an expression, such as \
                               `get_product(id)`";
                errors.push(Error::custom(message).with_span(text));
            }
        }
        errors.finish_with(Self { path, values })
    }
}

/// Returns the literal if a value is a text that looks like a template.
fn text_with_braces(value: &Expr) -> Option<&LitStr> {
    match ungroup(value) {
        Expr::Lit(ExprLit {
            lit: Lit::Str(text),
            ..
        }) if text.value().contains('{') => Some(text),
        _ => None,
    }
}
