//! Structured field values (RFC 9651), as far as the cache writes them.

use axum::http::HeaderValue;

/// The largest Integer (RFC 9651 §3.3.1).
pub(crate) const MAX_INTEGER: i64 = 999_999_999_999_999;

/// Returns a List of Strings without the texts that cannot be Strings; `None`: the List is empty and so
/// has no field value.
pub(crate) fn list_of_strings<'a>(texts: impl Iterator<Item = &'a str>) -> Option<HeaderValue> {
    let mut list = String::new();
    for text in texts.filter(|text| is_string(text)) {
        if !list.is_empty() {
            list.push_str(", ");
        }
        list.push('"');
        for character in text.chars() {
            if matches!(character, '"' | '\\') {
                list.push('\\');
            }
            list.push(character);
        }
        list.push('"');
    }
    let value = (!list.is_empty()).then(|| HeaderValue::try_from(list));
    value.and_then(Result::ok)
}

/// Returns whether a text can be a String (RFC 9651 §3.3.3).
fn is_string(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(texts: &[&str]) -> Option<String> {
        let value = list_of_strings(texts.iter().copied())?;
        Some(value.to_str().unwrap().to_owned())
    }

    #[test]
    fn strings_are_escaped_and_what_is_none_is_left_out() {
        let written = |texts: &[&str]| list(texts).unwrap();
        assert_eq!(written(&["a", "b:{c}, d"]), r#""a", "b:{c}, d""#);
        assert_eq!(written(&[r#"a"b\c"#, ""]), r#""a\"b\\c", """#);
        assert_eq!(written(&["café", "tab\t", "del\u{7f}", "~ !"]), r#""~ !""#);
        assert_eq!(list(&[]), None);
        assert_eq!(list(&["é"]), None);
    }
}
