//! What the compiler says about mistakes: one file each, named for the mistake.
//!
//! To accept changed messages, run `TRYBUILD=overwrite cargo test -p tests --test ui` and read the diff.

#[test]
fn mistakes_are_named_where_they_are() {
    let cases = trybuild::TestCases::new();
    cases.pass("ui/pass/*.rs");
    for directory in ["cached", "derive", "evict", "put"] {
        cases.compile_fail(format!("ui/{directory}/*.rs"));
    }
}
