//! The options of the attributes, in one table, and the check of their syntax.

use darling::ast::NestedMeta;
use darling::util::path_to_string;
use darling::{Error, Result};
use proc_macro2::TokenStream;
use syn::punctuated::Punctuated;
use syn::{Expr, Meta, Path, Token};

use crate::attribute_kind::AttributeKind;
use crate::suggest::nearest;

/// An option: a row of the table.
struct OptionRow {
    name: &'static str,
    syntax: Syntax,
    /// The attributes that have the option.
    attributes: &'static [AttributeKind],
    /// An attribute that does not have this option reports the name as a misplaced option. Without this
    /// flag, it takes the name for that of a handler.
    is_reserved: bool,
}

/// The syntax of an option, with an example.
#[derive(Clone, Copy)]
enum Syntax {
    Word,
    Value(&'static str),
    List(&'static str),
    WordOrList(&'static str),
}

use AttributeKind::{CacheEvict, CachePut, Cached};
use Syntax::{List, Value, Word, WordOrList};

/// The options, in the order in which messages list them. The structs in `parse` have a field for each
/// option.
const OPTIONS: [OptionRow; 25] = [
    row("name", Value("name = \"get_product\""), &[Cached]),
    row("ttl", Value("ttl = 300"), &[Cached]),
    row(
        "group",
        Value("group = \"products\""),
        &[Cached, CachePut, CacheEvict],
    ),
    row("key", Value("key = \"product:{id}\""), &[Cached]).reserved(),
    row("query", WordOrList("query(\"page\")"), &[Cached]),
    row("vary_by", List("vary_by(user.id)"), &[Cached, CachePut]),
    row("jitter", Value("jitter = \"10%\""), &[Cached]),
    row("max_age", Value("max_age = 60"), &[Cached]),
    row("cdn_max_age", Value("cdn_max_age = \"1h\""), &[Cached]),
    row(
        "stale_while_revalidate",
        Value("stale_while_revalidate = 60"),
        &[Cached],
    ),
    row(
        "stale_if_error",
        Value("stale_if_error = \"1h\""),
        &[Cached],
    ),
    row(
        "stale_if_slow",
        Value("stale_if_slow = \"200ms\""),
        &[Cached],
    ),
    row("private", Word, &[Cached]),
    row("public", Word, &[Cached]),
    row("no_store", Word, &[Cached]),
    row("vary", List("vary(\"accept-language\")"), &[Cached]),
    row(
        "not_stored",
        List("not_stored(\"x-request-id\")"),
        &[Cached],
    ),
    row("bypass", Value("bypass = path::to::function"), &[Cached]),
    row("unless", Value("unless = path::to::function"), &[Cached]),
    row("all", Word, &[CacheEvict]).reserved(),
    row("always", Word, &[CacheEvict]).reserved(),
    row("no_companion", Word, &[Cached, CachePut, CacheEvict]),
    row(
        "crate",
        Value("crate = path::to::axum_redis_cache"),
        &[Cached, CachePut, CacheEvict],
    ),
    row("status", List("status(200, 404 = \"10s\")"), &[Cached]).reserved(),
    row("ignore", List("ignore(headers)"), &[Cached]).reserved(),
];

const fn row(
    name: &'static str,
    syntax: Syntax,
    attributes: &'static [AttributeKind],
) -> OptionRow {
    OptionRow {
        name,
        syntax,
        attributes,
        is_reserved: false,
    }
}

impl OptionRow {
    const fn reserved(mut self) -> Self {
        self.is_reserved = true;
        self
    }

    fn is_of(&self, kind: AttributeKind) -> bool {
        self.attributes.contains(&kind)
    }
}

fn option(name: &str) -> Option<&'static OptionRow> {
    OPTIONS.iter().find(|option| option.name == name)
}

/// Returns whether an attribute has an option.
pub(crate) fn has_option(kind: AttributeKind, name: &str) -> bool {
    option(name).is_some_and(|option| option.is_of(kind))
}

/// Returns the names of the options of an attribute.
fn names(kind: AttributeKind) -> impl Iterator<Item = &'static str> {
    let options = OPTIONS.iter().filter(move |option| option.is_of(kind));
    options.map(|option| option.name)
}

/// Returns an example of an option.
pub(crate) fn example(name: &str) -> &str {
    option(name).map_or(name, |option| option.syntax.example(name))
}

/// A handler that an attribute names: alone, or with the values of its key.
pub(crate) struct Reference {
    pub(crate) path: Path,
    pub(crate) values: Option<Vec<Expr>>,
}

/// Separates the arguments of an attribute into options and handlers. The names of the options of
/// `kinds` never stand for handlers.
pub(crate) fn references(
    args: TokenStream,
    kinds: &[AttributeKind],
) -> Result<(Vec<NestedMeta>, Vec<Reference>)> {
    let all = NestedMeta::parse_meta_list(args)?;
    let mut errors = Error::accumulator();
    let (mut items, mut references) = (Vec::new(), Vec::new());
    for item in all {
        let (path, values) = match &item {
            NestedMeta::Meta(Meta::Path(path)) => (path, None),
            NestedMeta::Meta(Meta::List(list)) => (&list.path, Some(list)),
            _ => {
                items.push(item);
                continue;
            }
        };
        let name = path_to_string(path);
        let is_option =
            |option: &OptionRow| option.is_reserved || kinds.iter().any(|kind| option.is_of(*kind));
        if option(&name).is_some_and(is_option) {
            items.push(item);
            continue;
        }
        let parser = Punctuated::<Expr, Token![,]>::parse_terminated;
        let values = values.map(|list| list.parse_args_with(parser));
        let values = errors.handle(values.transpose().map_err(Error::from));
        references.extend(values.map(|values| Reference {
            path: path.clone(),
            values: values.map(|values| values.into_iter().collect()),
        }));
    }
    errors.finish_with((items, references))
}

/// Checks that each argument of an attribute is one of its options and has the syntax of that option,
/// and that only options in `repeatable` are repeated.
pub(crate) fn checked(
    items: Vec<NestedMeta>,
    kind: AttributeKind,
    repeatable: &[&str],
) -> Result<Vec<NestedMeta>> {
    let mut errors = Error::accumulator();
    let mut seen = Vec::new();
    for item in &items {
        let Some((path, name)) = name(item) else {
            let message = format!("expected an option: {}", listed(kind));
            errors.push(Error::custom(message).with_span(item));
            continue;
        };
        match option(&name).filter(|option| option.is_of(kind)) {
            None => errors.push(Error::custom(unknown(&name, kind)).with_span(path)),
            Some(_) if seen.contains(&name) && !repeatable.contains(&&*name) => {
                let message = format!("`{name}` occurs twice: remove one");
                errors.push(Error::custom(message).with_span(path));
            }
            Some(option) => {
                if let Some(message) = option.syntax.check(&name, item) {
                    errors.push(Error::custom(message).with_span(item));
                }
                seen.push(name);
            }
        }
    }
    errors.finish_with(items)
}

impl Syntax {
    /// Returns an error message with the right syntax, if an option is written in another syntax.
    fn check(self, name: &str, item: &NestedMeta) -> Option<String> {
        let NestedMeta::Meta(meta) = item else {
            return None;
        };
        match (self, meta) {
            (Word | WordOrList(_), Meta::Path(_))
            | (Value(_), Meta::NameValue(_))
            | (List(_) | WordOrList(_), Meta::List(_)) => None,
            (Word, _) => Some(format!("`{name}` takes no value: write `{name}`")),
            (Value(example) | List(example), _) => Some(format!("write `{example}`")),
            (WordOrList(example), _) => Some(format!("write `{name}` or `{example}`")),
        }
    }

    fn example(self, name: &str) -> &str {
        match self {
            Word => name,
            Value(example) | List(example) | WordOrList(example) => example,
        }
    }
}

fn name(item: &NestedMeta) -> Option<(&Path, String)> {
    match item {
        NestedMeta::Meta(meta) => Some((meta.path(), path_to_string(meta.path()))),
        NestedMeta::NameValueInvalidExpr(meta) => Some((&meta.path, path_to_string(&meta.path))),
        NestedMeta::Lit(_) => None,
    }
}

fn unknown(name: &str, kind: AttributeKind) -> String {
    if let Some(option) = option(name).filter(|option| option.is_reserved)
        && let Some(other) = option.attributes.first()
    {
        return format!(
            "`{name}` is an option of `#[{}]`, not of this attribute; a handler of that name is \
             written `self::{name}`",
            other.name()
        );
    }
    match nearest(name, names(kind)) {
        Some(option) => format!("unknown option `{name}`: did you mean `{option}`?"),
        None => format!("unknown option `{name}`: expected {}", listed(kind)),
    }
}

fn listed(kind: AttributeKind) -> String {
    let names: Vec<String> = names(kind).map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::parse;

    /// Returns the errors of an attribute with one option and the arguments that the attribute requires.
    fn errors(kind: AttributeKind, option: &str) -> Option<String> {
        let args = match kind {
            Cached => option.to_owned(),
            CachePut | CacheEvict => format!("get_product, {option}"),
        };
        let args = args.parse().unwrap();
        let error = match kind {
            Cached => parse::cached(args).err(),
            CachePut => parse::put(args).err(),
            CacheEvict => parse::evict(args).err(),
        };
        error.map(|error| error.to_string())
    }

    #[test]
    fn each_attribute_takes_its_options_as_the_examples_write_them() {
        for option in &OPTIONS {
            for kind in option.attributes {
                assert_eq!(errors(*kind, example(option.name)), None, "{}", option.name);
            }
        }
    }

    #[test]
    fn an_option_of_another_attribute_is_an_error_or_the_name_of_a_handler() {
        for option in &OPTIONS {
            for kind in [Cached, CachePut, CacheEvict] {
                if !option.is_of(kind) {
                    let is_handler = kind == CacheEvict
                        && !option.is_reserved
                        && !matches!(option.syntax, Value(_));
                    let error = errors(kind, example(option.name));
                    assert_eq!(error.is_none(), is_handler, "{}: {error:?}", option.name);
                }
            }
        }
    }
}
