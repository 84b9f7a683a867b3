//! Settings from `REDIS_*` variables.

use std::collections::HashMap;
use std::time::Duration;

use secrecy::SecretString;

use super::{Server, Settings, SettingsError, checked_prefix};

/// Variables by name; one that is set to nothing counts as not set.
pub(super) struct Source(HashMap<String, String>);

impl Source {
    /// The environment of this process, completed from `.env`.
    pub(super) fn process() -> Result<Self, SettingsError> {
        let mut variables = HashMap::new();
        match dotenvy::dotenv_iter() {
            Ok(entries) => {
                for entry in entries {
                    let (name, value) =
                        entry.map_err(|error| SettingsError::dotenv(line(error)))?;
                    variables.insert(name, value);
                }
            }
            Err(error) if error.not_found() => {}
            Err(error) => return Err(SettingsError::dotenv(line(error))),
        }
        for (name, value) in std::env::vars_os() {
            if let (Ok(name), Ok(value)) = (name.into_string(), value.into_string()) {
                variables.insert(name, value);
            }
        }
        Ok(Self(variables))
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0
            .get(name)
            .map(|value| value.trim())
            .filter(|value| !value.is_empty())
    }

    /// Parses a variable into `out`, if it is set.
    fn read<T>(
        &self,
        name: &'static str,
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
        out: &mut T,
    ) -> Result<(), SettingsError> {
        if let Some(value) = self.get(name) {
            *out = parse(value).ok_or_else(|| SettingsError::invalid(name, value, expected))?;
        }
        Ok(())
    }

    fn refuse_if_true(&self, name: &'static str) -> Result<(), SettingsError> {
        match self.get(name).map(boolean) {
            None | Some(Some(false)) => Ok(()),
            Some(Some(true)) => Err(SettingsError::invalid(
                name,
                "true",
                "false: this build cannot do it",
            )),
            Some(None) => Err(SettingsError::invalid(
                name,
                self.get(name).unwrap_or(""),
                BOOLEAN,
            )),
        }
    }
}

const BOOLEAN: &str = "true or false";
const SECONDS: &str = "a number of seconds greater than 0, such as 0.25";
const BYTES: &str = "a number of bytes";

pub(super) fn read(source: &Source) -> Result<Settings, SettingsError> {
    let mut settings = Settings {
        server: server(source)?,
        ..Settings::default()
    };
    for name in ["REDIS_CLUSTER", "REDIS_SENTINEL", "REDIS_SSL"] {
        source.refuse_if_true(name)?;
    }
    if let Some(prefix) = source.get("REDIS_PREFIX") {
        settings.prefix = checked_prefix("REDIS_PREFIX", prefix.to_owned())?;
    }
    let whole = "a whole number of seconds; 0 means no expiry";
    source.read(
        "REDIS_DEFAULT_TTL",
        whole,
        whole_seconds,
        &mut settings.default_ttl,
    )?;
    source.read(
        "REDIS_SOCKET_TIMEOUT",
        SECONDS,
        seconds,
        &mut settings.socket_timeout,
    )?;
    let connect = &mut settings.socket_connect_timeout;
    source.read("REDIS_SOCKET_CONNECT_TIMEOUT", SECONDS, seconds, connect)?;
    source.read("REDIS_LEASE_TTL", SECONDS, seconds, &mut settings.lease_ttl)?;
    let bytes = |text: &str| text.parse().ok();
    source.read(
        "REDIS_MAX_BODY_BYTES",
        BYTES,
        bytes,
        &mut settings.max_body_bytes,
    )?;
    source.read(
        "REDIS_MAX_MEMORY_BYTES",
        BYTES,
        bytes,
        &mut settings.max_memory_bytes,
    )?;
    let obey = &mut settings.request_directives;
    source.read("REDIS_REQUEST_DIRECTIVES", BOOLEAN, boolean, obey)?;
    Ok(settings)
}

fn server(source: &Source) -> Result<Server, SettingsError> {
    const FIELDS: [&str; 5] = [
        "REDIS_HOST",
        "REDIS_PORT",
        "REDIS_DB",
        "REDIS_USERNAME",
        "REDIS_PASSWORD",
    ];
    if let Some(url) = source.get("REDIS_URL") {
        for field in FIELDS
            .into_iter()
            .filter(|field| source.get(field).is_some())
        {
            tracing::warn!("{field} is ignored because REDIS_URL is set");
        }
        return Server::url("REDIS_URL", url.to_owned());
    }
    let (mut host, mut port, mut db) = ("localhost".to_owned(), 6379, 0);
    let name = |text: &str| (!text.contains(char::is_whitespace)).then(|| text.to_owned());
    source.read("REDIS_HOST", "a host name or address", name, &mut host)?;
    let number = |text: &str| text.parse().ok().filter(|port| *port > 0);
    source.read(
        "REDIS_PORT",
        "a port number from 1 to 65535",
        number,
        &mut port,
    )?;
    let database = |text: &str| text.parse().ok().filter(|db| *db <= 15);
    source.read(
        "REDIS_DB",
        "a database number from 0 to 15",
        database,
        &mut db,
    )?;
    let username = source.get("REDIS_USERNAME").map(str::to_owned);
    let password = source.get("REDIS_PASSWORD").map(SecretString::from);
    Ok(Server::Fields {
        host,
        port,
        db,
        username,
        password,
    })
}

fn whole_seconds(text: &str) -> Option<Duration> {
    text.parse().ok().map(Duration::from_secs)
}

fn seconds(text: &str) -> Option<Duration> {
    let seconds = Duration::try_from_secs_f64(text.parse().ok()?).ok()?;
    (!seconds.is_zero()).then_some(seconds)
}

fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// Where a `.env` file is wrong, without the line itself: it may hold a secret.
fn line(error: dotenvy::Error) -> String {
    match error {
        dotenvy::Error::Io(error) => error.to_string(),
        dotenvy::Error::LineParse(_, column) => format!("a line is malformed at column {column}"),
        _ => "it is malformed".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    fn with(variables: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        let pairs = variables
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()));
        read(&Source(pairs.collect()))
    }

    #[test]
    fn without_variables_the_defaults_hold() {
        let settings = with(&[("REDIS_HOST", "")]).unwrap();
        assert_eq!(
            format!("{settings:?}"),
            format!("{:?}", Settings::default())
        );
    }

    #[test]
    fn each_wrong_variable_is_named_with_its_value_and_what_is_allowed() {
        for (name, value, expected) in [
            ("REDIS_PORT", "70000", "65535"),
            ("REDIS_PORT", "0", "65535"),
            ("REDIS_DB", "16", "15"),
            ("REDIS_URL", "http://x", "redis://"),
            ("REDIS_URL", "rediss://x", "TLS"),
            ("REDIS_DEFAULT_TTL", "-1", "whole number"),
            ("REDIS_SOCKET_TIMEOUT", "0", "greater than 0"),
            ("REDIS_SOCKET_TIMEOUT", "NaN", "greater than 0"),
            ("REDIS_PREFIX", "a{b}", "brace"),
            ("REDIS_REQUEST_DIRECTIVES", "maybe", "true or false"),
            ("REDIS_CLUSTER", "true", "false"),
        ] {
            let error = with(&[(name, value)]).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{name}=")), "{error}");
            assert!(error.contains(expected), "{error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn secrets_are_never_shown() {
        let settings = with(&[("REDIS_PASSWORD", "hunter2"), ("REDIS_USERNAME", "u")]).unwrap();
        assert!(!format!("{settings:?}").contains("hunter2"));
        let Server::Fields {
            password: Some(password),
            ..
        } = settings.server
        else {
            panic!()
        };
        assert_eq!(password.expose_secret(), "hunter2");
        let wrong = [
            "redis://:hunter2@[bad",
            "http://:hunter2@x",
            "u:hunter2@a,redis://b",
            "hunter2",
        ];
        for url in wrong {
            let error = with(&[("REDIS_URL", url)]).unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
        let settings = with(&[("REDIS_URL", "redis://:hunter2@localhost")]).unwrap();
        assert!(!format!("{settings:?}").contains("hunter2"));
    }
}
