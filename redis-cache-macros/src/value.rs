//! Values that select a response: names that arguments bind, field paths of them, and expressions.

use darling::{Error, Result};
use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::{Expr, ExprField, ExprPath, LitStr, Member};

use crate::handler::Argument;
use crate::parse::ungroup;
use crate::span::at;
use crate::suggest::nearest;

/// An expression over the names that arguments bind.
#[derive(Clone)]
pub(crate) struct Value {
    /// The names that the expression uses, each with the number of the argument that binds it.
    pub(crate) roots: Vec<(usize, Ident)>,
    pub(crate) expression: Expression,
    span: Span,
}

/// The expression of a value.
#[derive(Clone)]
pub(crate) enum Expression {
    /// The name, or a field path of it.
    FieldPath(Vec<Member>),
    Other(TokenStream),
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.tokens().to_string() == other.tokens().to_string()
    }
}

impl Value {
    /// A value written as an expression: `id`, `user.id` or `user.id()`.
    pub(crate) fn of_expr(expr: &Expr, arguments: &[Argument<'_>]) -> Result<Self> {
        let expr = ungroup(expr);
        if let Some((name, fields)) = field_path(expr) {
            let (argument, _) = find(&name.unraw().to_string(), arguments)
                .map_err(|message| Error::custom(message).with_span(&name))?;
            return Ok(Self {
                span: name.span(),
                roots: vec![(argument, name)],
                expression: Expression::FieldPath(fields),
            });
        }
        if let Some(bang) = find_bang(expr.to_token_stream()) {
            let message = "the names in a macro are not seen: call a function with them instead";
            return Err(Error::custom(message).with_span(&bang));
        }
        let value = Self::of_text(expr, arguments);
        if value.roots.is_empty() {
            return Err(Error::custom(EXPECTED_VALUE).with_span(expr));
        }
        Ok(value)
    }

    /// Reads an expression that may use no name at all.
    pub(crate) fn of_text(expr: &Expr, arguments: &[Argument<'_>]) -> Self {
        let tokens = expr.to_token_stream();
        let mut roots = Vec::new();
        names(tokens.clone(), &mut |name| {
            if let Ok((argument, _)) = find(&name.unraw().to_string(), arguments) {
                roots.push((argument, name.clone()));
            }
        });
        // The names that a macro call uses are unknown, so all names of arguments count as used.
        if find_bang(tokens.clone()).is_some() {
            let all = arguments.iter().enumerate();
            let all =
                all.flat_map(|(at, it)| it.bindings.iter().map(move |name| (at, name.clone())));
            roots.extend(all);
        }
        Self {
            roots,
            span: syn::spanned::Spanned::span(expr),
            expression: Expression::Other(tokens),
        }
    }

    /// Returns whether the expression uses a name, or a part of its value.
    pub(crate) fn uses(&self, name: &Ident) -> bool {
        self.roots
            .iter()
            .any(|(_, root)| root.unraw() == name.unraw())
    }

    /// Returns whether the expression is a name, and not a part of its value.
    pub(crate) fn is_all_of(&self, name: &Ident) -> bool {
        matches!(&self.expression, Expression::FieldPath(fields) if fields.is_empty())
            && self.uses(name)
    }

    pub(crate) fn span(&self) -> Span {
        self.span
    }

    /// Returns an expression for a reference to the value, for code that binds the names by reference.
    pub(crate) fn reference(&self) -> TokenStream {
        let span = at(self.span);
        let tokens = self.tokens();
        match &self.expression {
            Expression::FieldPath(fields) if fields.is_empty() => tokens,
            Expression::FieldPath(_) => quote_spanned!(span=> &#tokens),
            Expression::Other(_) => quote_spanned!(span=> &(#tokens)),
        }
    }

    pub(crate) fn tokens(&self) -> TokenStream {
        match &self.expression {
            Expression::FieldPath(fields) => {
                let root = self.roots.first().map(|(_, root)| root);
                let span = at(self.span);
                let fields = fields.iter().map(|field| quote_spanned!(span=> .#field));
                quote!(#root #(#fields)*)
            }
            Expression::Other(tokens) => tokens.clone(),
        }
    }

    /// Returns a name for the value without dots, such as `user_id` for `user.id`.
    pub(crate) fn flat_name(&self) -> String {
        let root = self
            .roots
            .first()
            .map_or_else(String::new, |(_, root)| root.unraw().to_string());
        let fields = match &self.expression {
            Expression::FieldPath(fields) => fields.as_slice(),
            Expression::Other(_) => &[],
        };
        let fields = fields.iter().map(|field| match field {
            Member::Named(field) => format!("_{}", field.unraw()),
            Member::Unnamed(index) => format!("_{}", index.index),
        });
        root + &fields.collect::<String>()
    }
}

/// Returns the value that a placeholder of a template names. Errors point at the template.
pub(crate) fn of_placeholder(
    text: &str,
    literal: &LitStr,
    arguments: &[Argument<'_>],
) -> Result<Value> {
    let fail = |message: String| Error::custom(message).with_span(literal);
    let Ok(expr) = syn::parse_str::<Expr>(&raw(text)) else {
        let message = format!(
            "`{{{text}}}` is not a name, a field path or another expression, such as `{{id}}` or \
             `{{user.id}}`; a brace is written `{{{{`"
        );
        return Err(fail(message));
    };
    if let Some((name, fields)) = field_path(&expr) {
        let (argument, mut root) = find(&name.unraw().to_string(), arguments).map_err(fail)?;
        // Only the location of the name changes: it still resolves to the argument.
        root.set_span(root.span().located_at(literal.span()));
        let fields = fields.into_iter().map(|field| with_span(field, literal));
        return Ok(Value {
            roots: vec![(argument, root)],
            expression: Expression::FieldPath(fields.collect()),
            span: literal.span(),
        });
    }
    let relocated = relocated(expr.to_token_stream(), literal.span(), arguments);
    let expr = syn::parse2(relocated).map_err(|error| fail(error.to_string()))?;
    let value = Value::of_expr(&expr, arguments).map_err(|error| fail(error.to_string()))?;
    Ok(Value {
        span: literal.span(),
        ..value
    })
}

/// Returns a text in which keywords are raw identifiers, because an argument or a field may have such a
/// name.
fn raw(text: &str) -> String {
    let words = text.split('.').map(|word| {
        let is_keyword = syn::parse_str::<Ident>(word).is_err()
            && syn::parse_str::<Ident>(&format!("r#{word}")).is_ok();
        if is_keyword {
            format!("r#{word}")
        } else {
            word.to_owned()
        }
    });
    words.collect::<Vec<_>>().join(".")
}

/// Returns the name and the fields of a field path.
fn field_path(expr: &Expr) -> Option<(Ident, Vec<Member>)> {
    let mut fields = Vec::new();
    let mut inner = ungroup(expr);
    while let Expr::Field(ExprField { base, member, .. }) = inner {
        fields.insert(0, member.clone());
        inner = ungroup(base);
    }
    let Expr::Path(ExprPath { path, .. }) = inner else {
        return None;
    };
    Some((path.get_ident()?.clone(), fields))
}

/// Visits the identifiers, except fields, methods and parts of a longer path.
fn names(tokens: TokenStream, visit: &mut dyn FnMut(&Ident)) {
    let mut tokens = tokens.into_iter().peekable();
    let mut follows = false;
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Ident(name) => {
                let is_path =
                    matches!(tokens.peek(), Some(TokenTree::Punct(it)) if it.as_char() == ':');
                if !follows && !is_path {
                    visit(&name);
                }
                follows = false;
            }
            TokenTree::Punct(punct) => follows = ".:".contains(punct.as_char()),
            TokenTree::Group(group) => {
                names(group.stream(), visit);
                follows = false;
            }
            TokenTree::Literal(_) => follows = false,
        }
    }
}

/// Returns the tokens of an expression in a template, located at the template. Names of arguments
/// resolve to the arguments.
fn relocated(tokens: TokenStream, at: Span, arguments: &[Argument<'_>]) -> TokenStream {
    let tokens = tokens.into_iter().map(|token| match token {
        TokenTree::Ident(name) => {
            let found = find(&name.unraw().to_string(), arguments);
            let mut name = found.map_or(name, |(_, binding)| binding);
            name.set_span(name.span().located_at(at));
            TokenTree::Ident(name)
        }
        TokenTree::Group(group) => {
            let inner = relocated(group.stream(), at, arguments);
            let mut group = proc_macro2::Group::new(group.delimiter(), inner);
            group.set_span(at);
            TokenTree::Group(group)
        }
        mut other => {
            other.set_span(at);
            other
        }
    });
    tokens.collect()
}

/// The `!` of a macro.
fn find_bang(tokens: TokenStream) -> Option<proc_macro2::Punct> {
    let mut follows_name = false;
    for token in tokens {
        match token {
            TokenTree::Punct(punct) if punct.as_char() == '!' && follows_name => {
                return (punct.spacing() == proc_macro2::Spacing::Alone).then_some(punct);
            }
            TokenTree::Group(group) => {
                if let Some(bang) = find_bang(group.stream()) {
                    return Some(bang);
                }
                follows_name = false;
            }
            TokenTree::Ident(_) => follows_name = true,
            _ => follows_name = false,
        }
    }
    None
}

const EXPECTED_VALUE: &str = "expected a name that an argument binds, a field path of one, such as \
                              `user.id`, or an expression over such names";

fn with_span(mut member: Member, literal: &LitStr) -> Member {
    match &mut member {
        Member::Named(name) => name.set_span(literal.span()),
        Member::Unnamed(index) => index.span = literal.span(),
    }
    member
}

/// Returns the argument that binds a name, and the name as it is written there.
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
        None if names.is_empty() => {
            format!("no argument binds `{name}`: the arguments bind no names")
        }
        None => format!(
            "no argument binds `{name}`: they bind `{}`",
            names.join("`, `")
        ),
    })
}

/// Returns the identifier of a name, which may be a keyword.
pub(crate) fn word(name: &str) -> Ident {
    syn::parse_str(name).unwrap_or_else(|_| format_ident!("r#{name}"))
}
