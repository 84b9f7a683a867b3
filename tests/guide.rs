//! Links of the guide lead somewhere on a plain Markdown page, and to the same in the documentation of
//! the crate.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};

/// A link of a page.
#[derive(Debug, PartialEq)]
enum Link {
    /// `[text](target)`
    Inline(String),
    /// `[text][label]` or `[label]`
    Reference(String),
    /// `[label]: target`
    Definition(String, String),
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn pages() -> Vec<PathBuf> {
    let folders = ["docs", "docs/guide"].map(|folder| fs::read_dir(root().join(folder)).unwrap());
    let files = folders.into_iter().flatten();
    let mut pages: Vec<_> = files.map(|page| page.unwrap().path()).collect();
    pages.retain(|page| page.is_file());
    pages.sort();
    pages
}

/// The links of a page, without those in code.
fn links(page: &str) -> Vec<Link> {
    let prose = page.split("```").step_by(2).collect::<String>();
    let mut links = Vec::new();
    let mut rest = prose.as_str();
    let mut starts_line = true;
    while let Some(at) = rest.find(['[', '`', '\n']) {
        starts_line = (starts_line && at == 0) || rest[at..].starts_with('\n');
        if rest[at..].starts_with('`') {
            let code = &rest[at + 1..];
            rest = &code[code.find('`').unwrap() + 1..];
        } else if rest[at..].starts_with('[') {
            let (label, after) = bracketed(&rest[at..], ']');
            let (link, after) = if let Some(target) =
                after.strip_prefix(": ").filter(|_| starts_line)
            {
                let (target, after) = target.split_at(target.find('\n').unwrap_or(target.len()));
                (Link::Definition(label, target.to_owned()), after)
            } else if after.starts_with('(') {
                let (target, after) = bracketed(after, ')');
                (Link::Inline(target), after)
            } else if after.starts_with('[') {
                let (label, after) = bracketed(after, ']');
                (Link::Reference(label), after)
            } else {
                (Link::Reference(label), after)
            };
            links.push(link);
            rest = after;
        } else {
            rest = &rest[at + 1..];
            continue;
        }
        starts_line = false;
    }
    links
}

/// The text up to the bracket that closes, outside of code, and what follows.
fn bracketed(text: &str, close: char) -> (String, &str) {
    let mut in_code = false;
    let end = text.char_indices().find(|(_, c)| {
        in_code ^= *c == '`';
        *c == close && !in_code
    });
    let (end, _) = end.unwrap_or_else(|| panic!("not closed: {text}"));
    (text[1..end].replace('\n', " "), &text[end + 1..])
}

/// Labels are compared without case.
fn definition<'a>(links: &'a [Link], label: &str) -> Option<&'a str> {
    links.iter().find_map(|link| match link {
        Link::Definition(other, target) if other.eq_ignore_ascii_case(label) => Some(&**target),
        _ => None,
    })
}

/// Checks that a file exists, and has the heading.
fn leads_somewhere(page: &Path, target: &str) -> bool {
    if target.starts_with("https://") {
        return true;
    }
    let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
    let file = match file {
        "" => page.to_owned(),
        file => page.parent().unwrap().join(file),
    };
    let Ok(text) = fs::read_to_string(file) else {
        return false;
    };
    let mut headings = text.lines().filter(|line| line.starts_with('#'));
    anchor.is_empty() || headings.any(|heading| slug(heading) == anchor)
}

/// The anchor that a heading has on GitHub and in rustdoc.
fn slug(heading: &str) -> String {
    let heading = heading.trim_start_matches('#').trim();
    let kept = heading.chars().filter_map(|c| match c {
        ' ' => Some('-'),
        '-' | '_' => Some(c),
        c => c.is_alphanumeric().then(|| c.to_ascii_lowercase()),
    });
    kept.collect()
}

#[test]
fn every_link_of_the_guide_leads_somewhere_on_a_plain_page() {
    for page in pages() {
        let links = links(&fs::read_to_string(&page).unwrap());
        for link in &links {
            let target = match link {
                Link::Inline(target) | Link::Definition(_, target) => Some(&**target),
                Link::Reference(label) => definition(&links, label),
            };
            let leads = target.is_some_and(|target| leads_somewhere(&page, target));
            assert!(leads, "{}: {link:?}", page.display());
        }
    }
}

#[test]
fn every_link_of_the_guide_has_a_page_in_the_documentation_of_the_crate() {
    let in_rustdoc = links(&fs::read_to_string(root().join("src/guide_links.md")).unwrap());
    for page in pages() {
        for link in links(&fs::read_to_string(&page).unwrap()) {
            let Link::Definition(label, target) = link else {
                continue;
            };
            let is_own = target.contains(".md") || target.contains("/axum_redis_cache/");
            let item = definition(&in_rustdoc, &label);
            assert!(!is_own || item.is_some(), "{}: [{label}]", page.display());
            // The chapter, or the name of the item, is the same.
            let name = label.trim_matches('`').to_owned();
            if label.starts_with('`') {
                let item = item.unwrap_or(&name);
                assert!(
                    item.ends_with(&format!("::{name}")) || !is_own,
                    "{label} is {item}"
                );
            }
        }
    }
}

#[test]
fn the_snippets_of_every_page_are_tested() {
    let tested = include_str!("documentation.rs");
    for page in pages() {
        let page = page.strip_prefix(root()).unwrap().display().to_string();
        assert!(tested.contains(&format!("\"../{page}\"")), "{page}");
    }
}

/// The quick start derives `FromRef`.
#[test]
fn the_first_command_adds_axum_with_what_the_quick_start_needs() {
    for page in ["README.md", "docs/guide/quick_start.md"] {
        let text = fs::read_to_string(root().join(page)).unwrap();
        let mut commands = text
            .lines()
            .filter(|line| line.starts_with("cargo add axum "));
        assert_eq!(commands.next(), Some("cargo add axum --features macros"));
    }
}
