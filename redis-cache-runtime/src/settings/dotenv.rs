//! The `REDIS_*` variables of a `.env` file, read as python-dotenv reads them. Lines of other programs
//! are skipped, whatever they hold. `$` is not expanded.

use config::Map;

use super::SettingsError;

const BLANKS: [char; 2] = [' ', '\t'];

/// Reads the first `.env` in the current directory or one above it.
pub(super) fn variables() -> Result<Map<String, String>, SettingsError> {
    let directory = std::env::current_dir().unwrap_or_default();
    let mut files = directory.ancestors().map(|above| above.join(".env"));
    let Some(file) = files.find(|file| file.is_file()) else {
        return Ok(Map::new());
    };
    let bytes = std::fs::read(file).map_err(|error| refuse(error.to_string()))?;
    parse(&String::from_utf8_lossy(&bytes))
}

/// Returns the variables by name in lower case. The last line of a variable wins.
pub(super) fn parse(text: &str) -> Result<Map<String, String>, SettingsError> {
    let mut variables = Map::new();
    let mut rest = text.trim_start_matches('\u{feff}').trim_start();
    while !rest.is_empty() {
        // The line itself may hold a secret.
        let number = || text[..text.len() - rest.len()].matches('\n').count() + 1;
        let (name, after) = name(rest);
        let name = name.to_ascii_lowercase();
        let is_ours = name.starts_with("redis_");
        let assigned = after.strip_prefix('=').and_then(value);
        let next = match assigned {
            Some((value, _)) if is_ours && value.contains('\u{fffd}') => {
                return Err(refuse(format!("line {} is not UTF-8", number())));
            }
            Some((value, next)) => {
                if is_ours {
                    variables.insert(name, value);
                }
                next
            }
            None if is_ours && !is_end(after) => {
                return Err(refuse(format!("line {} is malformed", number())));
            }
            None => line(rest).1,
        };
        rest = next.trim_start();
    }
    Ok(variables)
}

fn refuse(reason: String) -> SettingsError {
    SettingsError::unreadable(".env", reason)
}

/// The name at the start of a line, without `export`, and what follows it.
fn name(text: &str) -> (&str, &str) {
    let exported = text
        .strip_prefix("export")
        .filter(|t| t.starts_with(BLANKS));
    let text = exported.unwrap_or(text).trim_start_matches(BLANKS);
    let ends = |c: char| c.is_whitespace() || "=#".contains(c);
    let (name, after) = text.split_at(text.find(ends).unwrap_or(text.len()));
    (name, after.trim_start_matches(BLANKS))
}

/// The value after a `=` and the lines after it, unless a quote is left open or text follows it.
fn value(text: &str) -> Option<(String, &str)> {
    let trimmed = text.trim_start_matches(BLANKS);
    if let Some(quote @ ('\'' | '"')) = trimmed.chars().next() {
        let (value, after) = quoted(&trimmed[1..], quote)?;
        return is_end(after).then(|| (value, line(after).1));
    }
    let (value, next) = line(text);
    let mut hashes = value.match_indices('#').map(|(at, _)| &value[..at]);
    // A `#` inside a word is part of it.
    let value = hashes
        .find(|before| before.ends_with(BLANKS))
        .unwrap_or(value);
    Some((value.trim().to_owned(), next))
}

/// The text up to a closing quote, without escapes, and what follows the quote.
fn quoted(text: &str, quote: char) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '\\' => {
                let (_, escaped) = chars.next()?;
                match (escaped, quote) {
                    ('\\' | '\'', _) | ('"', '"') => value.push(escaped),
                    ('n', '"') => value.push('\n'),
                    ('r', '"') => value.push('\r'),
                    ('t', '"') => value.push('\t'),
                    _ => value.extend(['\\', escaped]),
                }
            }
            char if char == quote => return Some((value, &text[at + 1..])),
            char => value.push(char),
        }
    }
    None
}

/// Returns whether nothing but a comment is left on this line.
fn is_end(text: &str) -> bool {
    let left = line(text).0.trim_start();
    left.is_empty() || left.starts_with('#')
}

/// A line and those after it.
fn line(text: &str) -> (&str, &str) {
    text.split_once('\n').unwrap_or((text, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(String, String)> {
        let mut variables: Vec<_> = parse(text).unwrap().into_iter().collect();
        variables.sort();
        variables
    }

    #[test]
    fn a_value_is_what_other_tools_read() {
        for (text, value) in [
            ("p4$sw0rd", "p4$sw0rd"),
            ("\"p4$sw0rd\"", "p4$sw0rd"),
            ("'p4$sw0rd'", "p4$sw0rd"),
            ("${HOME}/$HOME", "${HOME}/$HOME"),
            ("two words", "two words"),
            ("  blanks around  ", "blanks around"),
            ("'  blanks inside  '", "  blanks inside  "),
            ("a\\b", "a\\b"),
            ("a#b", "a#b"),
            ("#a", "#a"),
            ("a # comment", "a"),
            (" # comment", ""),
            ("'a # b' # comment", "a # b"),
            ("a'b\"c", "a'b\"c"),
            (r#""a\"b\\c\n\d""#, "a\"b\\c\n\\d"),
            (r"'a\'b\\c\n'", "a'b\\c\\n"),
            ("\"two\nlines\"", "two\nlines"),
            ("a=b", "a=b"),
            ("", ""),
        ] {
            for (before, after) in [("", ""), ("export ", "\n"), ("\u{feff}", "\r\nOTHER=1")] {
                let file = format!("{before}REDIS_X={text}{after}");
                assert_eq!(
                    read(&file),
                    [("redis_x".to_owned(), value.to_owned())],
                    "{file}"
                );
            }
        }
    }

    #[test]
    fn lines_of_other_programs_are_skipped_whatever_they_hold() {
        for foreign in [
            "APP_TITLE=My Shop",
            "APP_TITLE='My Shop",
            "APP_TITLE=\"My\" Shop",
            "APP_TITLE=Don't",
            "APP_TITLE=\\",
            "app.title-1=x",
            "<<<<<<< HEAD",
            "no assignment",
            "=",
            "# a comment, it's one",
            "export",
            "export REDIS_URL",
            "CERTIFICATE=\"-----BEGIN\nREDIS_PREFIX=inside\n\"",
            "FOREIGN=Caf\u{fffd}",
        ] {
            let file = format!("redis_prefix=before\n{foreign}\n\n REDIS_Prefix = shop\n");
            assert_eq!(
                read(&file),
                [("redis_prefix".to_owned(), "shop".to_owned())],
                "{file}"
            );
        }
    }

    #[test]
    fn a_malformed_line_of_ours_is_refused_by_its_number_alone() {
        for line in [
            "REDIS_PASSWORD='hunter2",
            "REDIS_PASSWORD=\"hunter2\" x",
            "REDIS_PASSWORD: hunter2",
            "redis_password:hunter2 x",
            "REDIS_PASSWORD hunter2",
        ] {
            let error = parse(&format!("A=1\n\n{line}\nB=2"))
                .unwrap_err()
                .to_string();
            assert_eq!(error, ".env cannot be read: line 3 is malformed", "{line}");
        }
        let error = parse("REDIS_PASSWORD=hunter2\u{fffd}")
            .unwrap_err()
            .to_string();
        assert_eq!(error, ".env cannot be read: line 1 is not UTF-8");
    }
}
