/// A setting that is wrong, in one line: its name, its value and what is allowed.
///
/// ```
/// use redis_cache_runtime::Settings;
///
/// let error = Settings::from_url("http://example.com").unwrap_err();
/// assert!(error.to_string().starts_with("url=http://…: expected redis://"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SettingsError(String);

impl SettingsError {
    /// `value` must not be a secret.
    pub(crate) fn invalid(name: &str, value: &str, expected: &str) -> Self {
        Self(format!("{name}={value}: expected {expected}"))
    }

    #[cfg(feature = "redis")]
    pub(crate) fn connection(reason: &str) -> Self {
        Self(format!("the connection settings are not usable: {reason}"))
    }

    pub(crate) fn dotenv(reason: impl std::fmt::Display) -> Self {
        Self(format!(".env cannot be read: {reason}"))
    }
}
