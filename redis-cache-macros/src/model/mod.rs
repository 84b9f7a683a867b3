//! The decisions of an attribute: checked, so that the expansion decides nothing. They hold syntax of
//! the user and values, and no generated code.

mod cached;
mod writes;

use darling::error::Accumulator;
use darling::{Error, Result};
use syn::Path;
use syn::spanned::Spanned;

use crate::handler::Argument;
use crate::parse::{Exprs, GroupSource, Groups, PathValue, default_crate};
use crate::template::Template;
use crate::value::Value;

pub(crate) use cached::{Cached, Key, Query, Status, Visibility};
pub(crate) use writes::{Evict, Eviction, HandlerKey, Put};

fn krate(path: Option<PathValue>) -> Path {
    path.map_or_else(default_crate, |path| path.0.path)
}

/// Returns the values of `vary_by`.
fn values(
    exprs: Option<Exprs>,
    arguments: &[Argument<'_>],
    errors: &mut Accumulator,
) -> Vec<Value> {
    let mut out = Vec::new();
    for expr in exprs.map(|exprs| exprs.0).unwrap_or_default() {
        match Value::of_expr(&expr, arguments) {
            Ok(value) if out.contains(&value) => {
                errors.push(Error::custom("this value is named twice").with_span(&expr));
            }
            Ok(value) => out.push(value),
            Err(error) => errors.push(error),
        }
    }
    out
}

/// Returns the groups of an option.
fn groups(names: &Groups, arguments: &[Argument<'_>]) -> Result<Vec<Template>> {
    let mut errors = Error::accumulator();
    let mut out = Vec::new();
    for name in &names.0 {
        let (group, span) = match name {
            GroupSource::Template(text) => (Template::new(text, arguments), text.span()),
            GroupSource::Expr(expr) => (Ok(Template::of_expr(expr, arguments)), expr.span()),
        };
        match group {
            Ok(group) if out.contains(&group) => {
                errors.push(Error::custom("this group is named twice").with_span(&span));
            }
            Ok(group) => out.push(group),
            Err(error) => errors.push(error),
        }
    }
    errors.finish_with(out)
}

fn handled<T>(result: Option<Result<Vec<T>>>, errors: &mut Accumulator) -> Vec<T> {
    let value = result.and_then(|result| errors.handle(result));
    value.unwrap_or_default()
}
