//! Structured fields (RFC 9651), as a parser of somebody else reads them.

use sfv::{FieldType, List, ListEntry, Parser};
use test_support::Reply;

/// The members of a List, over all lines of a field, as they are written at best.
pub(crate) fn members(reply: &Reply, name: &str) -> Vec<String> {
    let lines = reply.headers.get_all(name).iter();
    let lines: Vec<&str> = lines.map(|line| line.to_str().unwrap()).collect();
    if lines.is_empty() {
        return Vec::new();
    }
    let list: List = Parser::new(&lines.join(", ")).parse().expect("a List");
    list.into_iter().map(written).collect()
}

/// The Strings of a List.
pub(crate) fn strings(reply: &Reply, name: &str) -> Vec<String> {
    let quoted = members(reply, name);
    let unquoted = quoted.iter().map(|member| {
        let item: sfv::Item = Parser::new(member).parse().unwrap();
        assert!(item.params.is_empty());
        item.bare_item
            .as_string()
            .expect("a String")
            .as_str()
            .to_owned()
    });
    unquoted.collect()
}

fn written(entry: ListEntry) -> String {
    assert!(matches!(entry, ListEntry::Item(_)), "not an inner list");
    vec![entry].serialize().unwrap()
}
