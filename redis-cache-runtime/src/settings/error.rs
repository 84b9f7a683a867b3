use std::borrow::Cow;
use std::fmt;
#[cfg(feature = "tls")]
use std::path::Path;

/// The start of a PEM key that was given in place of its file.
pub(super) const PEM: &str = "-----BEGIN";

/// A setting that is wrong, in one line: its name, its value and what is allowed.
///
/// The name is a variable's in what [`Settings::from_env`](crate::Settings::from_env) refuses, and a
/// method's of [`Settings`](crate::Settings) otherwise. The value is never a secret. `Debug` prints the
/// same line, because that is what becomes of an error that `main` returns.
///
/// ```
/// use axum_redis_cache::Settings;
///
/// let error = Settings::from_url("http://example.com").unwrap_err();
/// assert!(error.to_string().starts_with("url=http://…: expected redis://"));
/// assert_eq!(format!("{error:?}"), error.to_string());
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct SettingsError {
    kind: Kind,
    names: Names,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Wrong {
        setting: &'static str,
        value: String,
        /// Other settings that it mentions are in braces.
        expected: Cow<'static, str>,
    },
    Unreadable {
        source: &'static str,
        reason: String,
    },
    #[cfg(feature = "redis")]
    Connection(String),
}

/// The form in which settings are named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Names {
    Methods,
    Variables,
}

impl Names {
    fn of(self, setting: &str) -> Cow<'_, str> {
        match self {
            Self::Methods => Cow::Borrowed(setting),
            Self::Variables => Cow::Owned(format!("REDIS_{}", setting.to_ascii_uppercase())),
        }
    }
}

impl SettingsError {
    /// `value` must not be a secret, but may be a URL in the wrong place.
    pub(crate) fn wrong(
        setting: &'static str,
        value: impl fmt::Display,
        expected: impl Into<Cow<'static, str>>,
    ) -> Self {
        let value = value.to_string();
        // What stands before an `@` may be credentials.
        let value = match value.rsplit_once('@') {
            Some((_, rest)) => format!("…@{rest}"),
            None => value,
        };
        Self::about(setting, &value, expected)
    }

    #[cfg(feature = "tls")]
    pub(super) fn wrong_file(
        setting: &'static str,
        path: &Path,
        expected: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::about(setting, &path.to_string_lossy(), expected)
    }

    fn about(setting: &'static str, value: &str, expected: impl Into<Cow<'static, str>>) -> Self {
        let value = if value.contains(PEM) {
            "…".to_owned()
        } else {
            value.replace(char::is_control, "\u{fffd}")
        };
        let expected = expected.into();
        Self::new(Kind::Wrong {
            setting,
            value,
            expected,
        })
    }

    /// Returns the scheme of a URL, if the part before `://` looks like one. The rest may hold a
    /// password.
    #[cfg(feature = "redis")]
    pub(crate) fn wrong_url(url: &str, expected: impl Into<Cow<'static, str>>) -> Self {
        let is_scheme = |text: &&str| {
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'+';
            text.bytes().all(fits)
        };
        let scheme = url.split_once("://").map(|(scheme, _)| scheme);
        let scheme = scheme.filter(is_scheme).unwrap_or_default();
        Self::wrong("url", format!("{scheme}://…"), expected)
    }

    pub(super) fn unreadable(source: &'static str, reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Self::new(Kind::Unreadable { source, reason })
    }

    #[cfg(feature = "redis")]
    pub(crate) fn connection(error: &redis::RedisError) -> Self {
        Self::new(Kind::Connection(error.category().to_owned()))
    }

    /// Names settings by their variables.
    pub(super) fn of_variables(self) -> Self {
        let names = Names::Variables;
        Self { names, ..self }
    }

    fn new(kind: Kind) -> Self {
        let names = Names::Methods;
        Self { kind, names }
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Wrong {
                setting,
                value,
                expected,
            } => {
                write!(f, "{}={value}: expected ", self.names.of(setting))?;
                for (i, part) in expected.split(['{', '}']).enumerate() {
                    let is_name = i % 2 == 1;
                    f.write_str(&if is_name {
                        self.names.of(part)
                    } else {
                        part.into()
                    })?;
                }
                Ok(())
            }
            Kind::Unreadable { source, reason } => write!(f, "{source} cannot be read: {reason}"),
            #[cfg(feature = "redis")]
            Kind::Connection(reason) => {
                write!(f, "the connection settings are not usable: {reason}")
            }
        }
    }
}

impl fmt::Debug for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for SettingsError {}
