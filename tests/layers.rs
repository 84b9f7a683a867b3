//! Inside the runtime crate, dependencies point one way: no file imports from a layer above its own.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};

/// The layers from the lowest to the highest, each a folder of `redis-cache-runtime/src`.
const LAYERS: [&str; 9] = [
    "http",
    "key",
    "settings",
    "observe",
    "store",
    "engine",
    "serve",
    "cache",
    "attribute",
];

/// The layers that import nothing of the crate.
const ALONE: [&str; 3] = ["http", "key", "settings"];

/// Parts of the crate that stand above every layer.
const ABOVE: [&str; 3] = ["lib.rs", "__private.rs", "model_checker"];

#[test]
fn no_file_imports_from_a_layer_above_its_own() {
    let source = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../redis-cache-runtime/src");
    let mut violations = Vec::new();
    for file in files(&source) {
        let path = file.strip_prefix(&source).unwrap();
        let text = fs::read_to_string(&file).unwrap();
        violations.extend(violations_in(path, &text));
    }
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

#[test]
fn an_import_from_above_is_found_however_it_is_written() {
    let store = |line| violations_in(Path::new("store/redis/link.rs"), line).len();
    assert_eq!(store("use crate::engine::Engine;"), 1);
    assert_eq!(store("let retry = crate::engine::client::BEAT;"), 1);
    assert_eq!(store("use super::super::super::engine::Engine;"), 1);
    assert_eq!(store("use crate::{engine::Engine, key::Address};"), 1);
    assert_eq!(store("use crate::Cache;"), 1, "what is exported is above");
    assert_eq!(store("use crate::key::Address;"), 0);
    assert_eq!(store("use super::super::Lease;"), 0);
    assert_eq!(store("/// See [`Cache`](crate::Cache)."), 0);
    let key = |line| violations_in(Path::new("key/names.rs"), line).len();
    assert_eq!(key("use crate::http::fields::add_vary;"), 1);
    assert_eq!(key("use super::scope::Scope;"), 0);
}

/// The Rust files in a folder and below.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(self::files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// The imports of a file that do not point down. `path` is relative to the root of the crate.
fn violations_in(path: &Path, text: &str) -> Vec<String> {
    let layer = path.iter().next().unwrap().to_str().unwrap();
    if ABOVE.contains(&layer) {
        return Vec::new();
    }
    let own = LAYERS.iter().position(|it| *it == layer);
    let own = own.unwrap_or_else(|| panic!("{} is in no layer", path.display()));
    let is_below = |imported: &str| {
        let position = LAYERS.iter().position(|it| *it == imported);
        position.is_some_and(|it| it == own || (it < own && !ALONE.contains(&layer)))
    };
    let code = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    let code = code.collect::<Vec<_>>().join("\n");
    imports(path, &code)
        .into_iter()
        .filter(|imported| !is_below(imported))
        .map(|imported| format!("{} imports `{imported}`", path.display()))
        .collect()
}

/// The modules at the root of the crate that a file names.
fn imports(path: &Path, code: &str) -> Vec<String> {
    let mut depth = path.iter().count();
    if path.ends_with("mod.rs") {
        depth -= 1;
    }
    let mut imports = Vec::new();
    for start in ["crate::".to_owned(), "super::".repeat(depth)] {
        for (at, _) in code.match_indices(&start) {
            let is_whole =
                !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':');
            if is_whole {
                let names = first_names(&code[at + start.len()..]).into_iter();
                // In a module within a file, as many `super`s stay in the layer.
                let is_meant = |name: &String| start == "crate::" || LAYERS.contains(&&**name);
                imports.extend(names.filter(is_meant));
            }
        }
    }
    imports
}

/// The first names of the paths at the start of a text: one, or each of a list in braces.
fn first_names(text: &str) -> Vec<String> {
    let name = |path: &str| -> String {
        let path = path.trim_start();
        path.chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect()
    };
    let Some(list) = text.strip_prefix('{') else {
        return vec![name(text)];
    };
    let (mut names, mut depth, mut start) = (Vec::new(), 0_u32, 0);
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                names.push(name(&list[start..at]));
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                names.push(name(&list[start..at]));
                start = at + 1;
            }
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}
