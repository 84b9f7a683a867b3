//! The texts of keys and groups, with values in braces.

use darling::{Error, Result};
use proc_macro2::Ident;
use quote::format_ident;
use syn::ext::IdentExt;
use syn::{Expr, ExprField, ExprPath, LitStr, Member};

use crate::handler::Argument;
use crate::parse::ungroup;
use crate::suggest::nearest;

/// A text with values in it.
#[derive(Clone, PartialEq)]
pub(crate) struct Template {
    pub(crate) pieces: Vec<Piece>,
}

#[derive(Clone, PartialEq)]
pub(crate) enum Piece {
    Literal(String),
    Value(Value),
}

/// A name that an argument binds, or a field path of one.
#[derive(Clone, PartialEq)]
pub(crate) struct Value {
    /// The number of the argument.
    pub(crate) argument: usize,
    /// The name that it binds.
    pub(crate) root: Ident,
    pub(crate) fields: Vec<Member>,
}

impl Template {
    /// Reads a template. Its values are names that the arguments bind.
    pub(crate) fn new(text: &LitStr, arguments: &[Argument<'_>]) -> Result<Self> {
        let value = text.value();
        if value.is_empty() {
            return Err(Error::custom("the text is empty").with_span(text));
        }
        let segments = segments(&value).map_err(|error| error.with_span(text))?;
        let mut errors = Error::accumulator();
        let mut pieces = Vec::new();
        for segment in segments {
            match segment {
                Segment::Literal(literal) => pieces.push(Piece::Literal(literal)),
                Segment::Placeholder(placeholder) => {
                    let value = Value::of_placeholder(&placeholder, text, arguments);
                    pieces.extend(errors.handle(value).map(Piece::Value));
                }
            }
        }
        errors.finish_with(Self {
            pieces: separated(pieces),
        })
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &Value> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Value(value) => Some(value),
            Piece::Literal(_) => None,
        })
    }

    /// The text, if there is no value in it.
    pub(crate) fn as_literal(&self) -> Option<&str> {
        match &*self.pieces {
            [Piece::Literal(text)] => Some(text),
            _ => None,
        }
    }
}

/// Ends a value with `;` where what follows could be taken for a part of it.
fn separated(pieces: Vec<Piece>) -> Vec<Piece> {
    let is_of_value = |c: char| c.is_ascii_alphanumeric() || "._-%~,".contains(c);
    let mut rest = pieces.into_iter().peekable();
    let mut out = Vec::new();
    while let Some(piece) = rest.next() {
        let is_value = matches!(piece, Piece::Value(_));
        out.push(piece);
        match rest.peek_mut() {
            Some(Piece::Value(_)) if is_value => out.push(Piece::Literal(";".to_owned())),
            Some(Piece::Literal(text)) if is_value && text.starts_with(is_of_value) => {
                text.insert(0, ';');
            }
            _ => {}
        }
    }
    out
}

impl Value {
    /// A value written as an expression: `id` or `user.id`.
    pub(crate) fn of_expr(expr: &Expr, arguments: &[Argument<'_>]) -> Result<Self> {
        let mut fields = Vec::new();
        let mut inner = ungroup(expr);
        while let Expr::Field(ExprField { base, member, .. }) = inner {
            fields.insert(0, member.clone());
            inner = ungroup(base);
        }
        let Expr::Path(ExprPath { path, .. }) = inner else {
            return Err(Error::custom(EXPECTED_VALUE).with_span(expr));
        };
        let name = path
            .get_ident()
            .ok_or_else(|| Error::custom(EXPECTED_VALUE).with_span(expr))?;
        let (argument, _) = find(&name.unraw().to_string(), arguments)
            .map_err(|message| Error::custom(message).with_span(name))?;
        Ok(Self {
            argument,
            root: name.clone(),
            fields,
        })
    }

    fn of_placeholder(text: &str, literal: &LitStr, arguments: &[Argument<'_>]) -> Result<Self> {
        let fail = |message: String| Error::custom(message).with_span(literal);
        let mut names = text.split('.');
        let root = names.next().unwrap_or_default();
        let (argument, mut root) = find(unraw(root), arguments).map_err(fail)?;
        // Errors point at the template, and the name is still the argument's.
        root.set_span(root.span().located_at(literal.span()));
        let member = |name: &str| {
            let member = match name.parse::<usize>() {
                Ok(index) => Member::Unnamed(index.into()),
                Err(_) => Member::Named(word(unraw(name))),
            };
            with_span(member, literal)
        };
        Ok(Self {
            argument,
            root,
            fields: names.map(member).collect(),
        })
    }

    /// A name for it that is no path.
    pub(crate) fn flat_name(&self) -> String {
        let fields = self.fields.iter().map(|field| match field {
            Member::Named(field) => format!("_{}", field.unraw()),
            Member::Unnamed(index) => format!("_{}", index.index),
        });
        self.root.unraw().to_string() + &fields.collect::<String>()
    }
}

const EXPECTED_VALUE: &str =
    "expected a name that an argument binds, or a field path of one, such as `user.id`";

fn with_span(mut member: Member, literal: &LitStr) -> Member {
    match &mut member {
        Member::Named(name) => name.set_span(literal.span()),
        Member::Unnamed(index) => index.span = literal.span(),
    }
    member
}

/// The argument that binds a name, and the name as it is written there.
pub(crate) fn find(
    name: &str,
    arguments: &[Argument<'_>],
) -> std::result::Result<(usize, Ident), String> {
    let bound = |(position, argument): (usize, &Argument<'_>)| {
        let mut bindings = argument.bindings.iter();
        let binding = bindings.find(|binding| binding.unraw() == name)?;
        Some((position, binding.clone()))
    };
    if let Some(found) = arguments.iter().enumerate().find_map(bound) {
        return Ok(found);
    }
    let bindings = arguments.iter().flat_map(|argument| &argument.bindings);
    let names: Vec<String> = bindings.map(|it| it.unraw().to_string()).collect();
    Err(match nearest(name, names.iter().map(String::as_str)) {
        Some(nearest) => format!("no argument binds `{name}`: did you mean `{nearest}`?"),
        None if names.is_empty() => format!("no argument binds `{name}`: none binds any name"),
        None => format!(
            "no argument binds `{name}`: they bind `{}`",
            names.join("`, `")
        ),
    })
}

fn unraw(name: &str) -> &str {
    name.strip_prefix("r#").unwrap_or(name)
}

/// The identifier of that name, which may be a keyword.
pub(crate) fn word(name: &str) -> Ident {
    syn::parse_str(name).unwrap_or_else(|_| format_ident!("r#{name}"))
}

enum Segment {
    Literal(String),
    Placeholder(String),
}

fn segments(text: &str) -> Result<Vec<Segment>> {
    let mut out = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        literal.push_str(&rest[..at]);
        let brace = &rest[at..=at];
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix(brace) {
            literal.push_str(brace);
            rest = after;
            continue;
        }
        if brace == "}" {
            return Err(Error::custom("`}` closes nothing: a brace is written `}}`"));
        }
        let Some((name, after)) = rest.split_once('}') else {
            let message = "`{` is not closed: write `}` after the name; a brace is written `{{`";
            return Err(Error::custom(message));
        };
        check_placeholder(name)?;
        if !literal.is_empty() {
            out.push(Segment::Literal(std::mem::take(&mut literal)));
        }
        out.push(Segment::Placeholder(name.to_owned()));
        rest = after;
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        out.push(Segment::Literal(literal));
    }
    Ok(out)
}

fn check_placeholder(text: &str) -> Result<()> {
    if text.is_empty() {
        let message = "`{}` names no value: write a name that an argument binds, such as `{id}`";
        return Err(Error::custom(message));
    }
    if let Some((name, _)) = text.split_once(':') {
        let message =
            format!("a value is written one way only: remove the format, as in `{{{name}}}`");
        return Err(Error::custom(message));
    }
    let is_index = |name: &str| name.bytes().all(|byte| byte.is_ascii_digit());
    let is_name = |name: &str| syn::parse_str::<Ident>(&format!("r#{}", unraw(name))).is_ok();
    let mut names = text.split('.');
    let valid = names.next().is_some_and(is_name)
        && names.all(|name| is_name(name) || (is_index(name) && name.parse::<u32>().is_ok()));
    if !valid {
        let message = format!(
            "`{{{text}}}` is not a name or a field path, such as `{{id}}` or `{{user.id}}`; a brace \
             is written `{{{{`"
        );
        return Err(Error::custom(message));
    }
    Ok(())
}
