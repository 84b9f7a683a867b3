//! The expansions of the attributes, so that reviewers read generated code in diffs.
//!
//! To accept changes, run `SNAPSHOTS=overwrite cargo test -p redis-cache-macros` and read the diff.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::Path;

use quote::ToTokens;
use syn::Meta;

use crate::attribute_kind::AttributeKind;
use crate::handler::Handler;
use crate::{expand, key_part};

#[test]
fn the_expansions_are_as_reviewed() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("snapshots");
    let files = fs::read_dir(&directory).unwrap();
    let mut names: Vec<_> = files
        .filter_map(|file| file.unwrap().file_name().into_string().ok())
        .filter_map(|name| name.strip_suffix(".in.rs").map(str::to_owned))
        .collect();
    names.sort();
    assert!(!names.is_empty());
    for name in names {
        let input = fs::read_to_string(directory.join(format!("{name}.in.rs"))).unwrap();
        let output = directory.join(format!("{name}.out.rs"));
        let expanded = expanded(&input);
        if std::env::var_os("SNAPSHOTS").is_some_and(|value| value == "overwrite") {
            fs::write(&output, &expanded).unwrap();
        }
        let reviewed = fs::read_to_string(&output).unwrap_or_default();
        assert!(expanded == reviewed, "{name} expands to:\n{expanded}");
    }
}

/// The expansion of the attributes on a function, or of the derive on a type.
fn expanded(input: &str) -> String {
    if let Ok(input) = syn::parse_str(input) {
        let tokens = key_part::derive(&input).unwrap();
        return prettyplease::unparse(&syn::parse2(tokens).unwrap());
    }
    let mut handler: Handler = syn::parse_str(input).unwrap();
    let attribute = handler.attributes.remove(0);
    let kind = AttributeKind::of(&attribute);
    let Meta::List(list) = attribute.meta else {
        panic!("an attribute with arguments")
    };
    let tokens = expand(kind.unwrap(), list.tokens, handler).unwrap();
    prettyplease::unparse(&syn::parse2(tokens.into_token_stream()).unwrap())
}
