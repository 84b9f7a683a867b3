//! The options of each attribute and their forms, checked before their values are read.

use darling::ast::NestedMeta;
use darling::util::path_to_string;
use darling::{Error, Result};
use proc_macro2::TokenStream;
use syn::punctuated::Punctuated;
use syn::{Expr, Meta, Path, Token};

use crate::suggest::nearest;

/// The form of an option, with an example.
#[derive(Clone, Copy)]
pub(crate) enum Form {
    Word,
    Value(&'static str),
    List(&'static str),
    WordOrList(&'static str),
}

/// The option names of an attribute.
pub(crate) type Options = [(&'static str, Form)];

/// A handler that an attribute names: alone, or with the values of its key.
pub(crate) struct Reference {
    pub(crate) path: Path,
    pub(crate) values: Option<Vec<Expr>>,
}

/// Takes the handlers that an attribute names out of its arguments.
pub(crate) fn references(
    args: TokenStream,
    options: &Options,
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
        if options.iter().any(|(option, _)| *option == name) || misplaced(&name).is_some() {
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

/// Checks that each argument of an attribute is an option, in its form, and not there before.
pub(crate) fn checked(
    items: Vec<NestedMeta>,
    options: &Options,
    repeatable: &[&str],
) -> Result<Vec<NestedMeta>> {
    let mut errors = Error::accumulator();
    let mut seen = Vec::new();
    for item in &items {
        let Some((path, name)) = name(item) else {
            let message = format!("expected an option: {}", names(options));
            errors.push(Error::custom(message).with_span(item));
            continue;
        };
        match options.iter().find(|(option, _)| *option == name) {
            None => errors.push(Error::custom(unknown(&name, options)).with_span(path)),
            Some(_) if seen.contains(&name) && !repeatable.contains(&&*name) => {
                let message = format!("`{name}` is there twice: remove one");
                errors.push(Error::custom(message).with_span(path));
            }
            Some((_, form)) => {
                if let Some(message) = form.check(&name, item) {
                    errors.push(Error::custom(message).with_span(item));
                }
                seen.push(name);
            }
        }
    }
    errors.finish_with(items)
}

impl Form {
    /// Returns the form to write instead, if an option is written in another form.
    fn check(self, name: &str, item: &NestedMeta) -> Option<String> {
        let NestedMeta::Meta(meta) = item else {
            return None;
        };
        match (self, meta) {
            (Self::Word | Self::WordOrList(_), Meta::Path(_))
            | (Self::Value(_), Meta::NameValue(_))
            | (Self::List(_) | Self::WordOrList(_), Meta::List(_)) => None,
            (Self::Word, _) => Some(format!("`{name}` takes no value: write `{name}`")),
            (Self::Value(example) | Self::List(example), _) => Some(format!("write `{example}`")),
            (Self::WordOrList(example), _) => Some(format!("write `{name}` or `{example}`")),
        }
    }
}

fn name(item: &NestedMeta) -> Option<(&syn::Path, String)> {
    match item {
        NestedMeta::Meta(meta) => Some((meta.path(), path_to_string(meta.path()))),
        NestedMeta::NameValueInvalidExpr(meta) => Some((&meta.path, path_to_string(&meta.path))),
        NestedMeta::Lit(_) => None,
    }
}

/// Returns the attribute that has an option which not all of them have.
fn misplaced(name: &str) -> Option<&'static str> {
    let of = [
        ("key", "#[cached]"),
        ("status", "#[cached]"),
        ("ignore", "#[cached]"),
        ("all", "#[cache_evict]"),
        ("always", "#[cache_evict]"),
    ];
    let option = of.into_iter().find(|(option, _)| *option == name);
    option.map(|(_, attribute)| attribute)
}

fn unknown(name: &str, options: &Options) -> String {
    if let Some(attribute) = misplaced(name) {
        return format!(
            "`{name}` is an option of `{attribute}`, not of this attribute; a handler of that name \
             is written `self::{name}`"
        );
    }
    match nearest(name, options.iter().map(|(option, _)| *option)) {
        Some(option) => format!("unknown option `{name}`: did you mean `{option}`?"),
        None => format!("unknown option `{name}`: expected {}", names(options)),
    }
}

fn names(options: &Options) -> String {
    let names: Vec<String> = options
        .iter()
        .map(|(name, _)| format!("`{name}`"))
        .collect();
    names.join(", ")
}
