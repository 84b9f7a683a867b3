//! Which options an attribute knows, and the form of each: checked before their values are read.

use darling::ast::NestedMeta;
use darling::util::path_to_string;
use darling::{Error, Result};
use proc_macro2::TokenStream;
use syn::Meta;

/// What an option looks like, with an example.
#[derive(Clone, Copy)]
pub(crate) enum Form {
    Word,
    Value(&'static str),
    List(&'static str),
    WordOrValue(&'static str),
}

/// The names that an attribute knows.
pub(crate) type Options = [(&'static str, Form)];

/// Splits the arguments of an attribute and checks that each is an option, in its form, and not
/// there before.
pub(crate) fn items(
    args: TokenStream,
    options: &Options,
    repeatable: &[&str],
) -> Result<Vec<NestedMeta>> {
    let items = NestedMeta::parse_meta_list(args)?;
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
    /// What to write instead, if an option is written in another form than its own.
    fn check(self, name: &str, item: &NestedMeta) -> Option<String> {
        let NestedMeta::Meta(meta) = item else {
            return None;
        };
        match (self, meta) {
            (Self::Word | Self::WordOrValue(_), Meta::Path(_))
            | (Self::Value(_) | Self::WordOrValue(_), Meta::NameValue(_))
            | (Self::List(_), Meta::List(_)) => None,
            (Self::Word, _) => Some(format!("`{name}` takes no value: write `{name}`")),
            (Self::Value(example) | Self::List(example), _) => Some(format!("write `{example}`")),
            (Self::WordOrValue(example), _) => Some(format!("write `{name}` or `{example}`")),
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

fn unknown(name: &str, options: &Options) -> String {
    let similarity = |option: &str| strsim::jaro_winkler(name, option);
    let nearest = options
        .iter()
        .map(|(option, _)| (similarity(option), option));
    let nearest = nearest.max_by(|(one, _), (other, _)| one.total_cmp(other));
    match nearest.filter(|(similarity, _)| *similarity > 0.8) {
        Some((_, option)) => format!("unknown option `{name}`: did you mean `{option}`?"),
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
