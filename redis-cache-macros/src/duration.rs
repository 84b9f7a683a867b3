//! Durations in options.

use std::time::Duration;

use darling::{Error, Result};
use syn::{Expr, ExprUnary, Lit, UnOp};

/// The duration that an option declares.
pub(crate) enum DeclaredDuration {
    /// Written as a number or a text.
    Known(Duration),
    /// Evaluated once, at run time.
    Expr(Expr),
}

/// Returns whether an expression is a literal of zero.
pub(crate) fn is_zero(expr: &Expr) -> bool {
    let literal = match expr {
        Expr::Lit(lit) => &lit.lit,
        _ => return false,
    };
    match literal {
        Lit::Int(seconds) => seconds.base10_digits() == "0",
        Lit::Str(text) => {
            humantime::parse_duration(&text.value()).is_ok_and(|duration| duration.is_zero())
        }
        _ => false,
    }
}

/// Reads the duration of an option. `zero` is the meaning of 0, if it has one.
pub(crate) fn duration(expr: Expr, zero: &str) -> Result<DeclaredDuration> {
    let fail = |message: String| Err(Error::custom(message).with_span(&expr));
    let duration = match &expr {
        Expr::Lit(lit) => match &lit.lit {
            Lit::Int(seconds) => match seconds.base10_parse() {
                Ok(seconds) => Duration::from_secs(seconds),
                Err(_) if seconds.base10_digits().starts_with('-') => {
                    return fail(format!("{NEGATIVE_DURATION}{zero}"));
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
            return fail(format!("{NEGATIVE_DURATION}{zero}"));
        }
        _ => return Ok(DeclaredDuration::Expr(expr)),
    };
    Ok(DeclaredDuration::Known(duration))
}

const NEGATIVE_DURATION: &str = "a duration cannot be negative";
pub(crate) const NO_EXPIRY: &str = "; 0 means no expiry";
pub(crate) const NO_WINDOW: &str = "; without the option there is no such time";

pub(crate) const AT_ONCE: &str = "; 0 means at once";

const EXPECTED_DURATION: &str =
    "expected seconds (300), a text (\"5m\") or an expression of `Duration`";
