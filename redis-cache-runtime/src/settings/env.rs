//! Settings from `REDIS_*` variables.

use config::{Config, Environment, Map};

use super::variables::{IN_URL, VARIABLES, Variable};
use super::{Endpoint, Settings, SettingsError, dotenv};

/// The default port of Redis.
const PORT: u16 = 6379;

/// The variables of this process and, below them, those of `.env`.
pub(super) fn variables() -> Result<Config, SettingsError> {
    layers(dotenv::variables()?, Environment::default())
}

/// Merges variables by name in lower case, without the prefix. The process environment wins.
fn layers(dotenv: Map<String, String>, process: Environment) -> Result<Config, SettingsError> {
    let dotenv = Environment::default().source(Some(dotenv));
    Config::builder()
        .add_source(dotenv.prefix("REDIS"))
        .add_source(process.prefix("REDIS"))
        .build()
        // The error quotes the value, which may be a secret.
        .map_err(|_| {
            SettingsError::unreadable("the environment", "a REDIS_* variable is not Unicode")
        })
}

pub(super) fn read(variables: &Config) -> Result<Settings, SettingsError> {
    let said = |variable: &Variable| {
        let text = variables.get_string(variable.name).ok()?;
        Some(text.trim().to_owned()).filter(|text| !text.is_empty())
    };
    let has_url = VARIABLES
        .iter()
        .any(|v| v.name == "url" && said(v).is_some());
    let mut settings = Settings::default();
    let mut injected = None;
    for variable in &VARIABLES {
        let name = variable.name;
        let Some(text) = said(variable) else {
            continue;
        };
        if has_url && IN_URL.contains(&name) {
            let name = name.to_ascii_uppercase();
            tracing::warn!("REDIS_{name} is ignored, because REDIS_URL is set");
            continue;
        }
        if name == "port"
            && let Some(endpoint) = of_orchestrator(&text)
        {
            injected = Some(endpoint);
            continue;
        }
        settings = match name {
            // Its own error tells more, and nothing secret.
            "url" => settings.url(text)?,
            _ => (variable.set)(settings, &text)
                .ok_or_else(|| SettingsError::wrong(name, &text, variable.allowed))?,
        };
    }
    if let Some(Endpoint::Tcp { host, port }) = injected
        && !settings.sentinel
    {
        tracing::info!("REDIS_PORT names {host}, port {port}, as orchestrators do for a service");
        settings.host.get_or_insert(host);
        settings.port = Some(port);
    }
    #[cfg(feature = "redis")]
    settings.check()?;
    Ok(settings)
}

/// The address in a `REDIS_PORT` that Kubernetes and Docker set where a service is called `redis`.
fn of_orchestrator(text: &str) -> Option<Endpoint> {
    Endpoint::parse(text.strip_prefix("tcp://")?, PORT)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FREE: [(&str, &str); 0] = [];

    fn map(variables: &[(&str, &str)]) -> Map<String, String> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        variables.iter().map(owned).collect()
    }

    fn with_dotenv(
        dotenv: &[(&str, &str)],
        process: &[(&str, &str)],
    ) -> Result<Settings, SettingsError> {
        let process = Environment::default().source(Some(map(process)));
        read(&layers(map(dotenv), process)?).map_err(SettingsError::of_variables)
    }

    fn with(variables: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        with_dotenv(&FREE, variables)
    }

    fn refusal(variables: &[(&str, &str)]) -> String {
        with(variables).unwrap_err().to_string()
    }

    #[test]
    fn without_variables_the_defaults_hold() {
        let settings = with(&[("REDIS_HOST", " "), ("HOST", "other"), ("REDISPORT", "1")]);
        let (settings, default) = (settings.unwrap(), Settings::default());
        assert_eq!(format!("{settings:?}"), format!("{default:?}"));
    }

    #[test]
    fn the_process_wins_over_dotenv_and_code_over_both() {
        let dotenv = [
            ("REDIS_PREFIX", "file"),
            ("REDIS_DEFAULT_TTL", "7"),
            ("REDIS_DB", "3"),
        ];
        let process = [("REDIS_PREFIX", "process"), ("redis_db", "")];
        let settings = with_dotenv(&dotenv, &process).unwrap();
        assert_eq!(settings.prefix, "process");
        assert_eq!(settings.default_ttl.as_secs(), 7);
        assert_eq!(settings.db, None);
        assert_eq!(settings.prefix("code").unwrap().prefix, "code");
    }

    #[test]
    fn the_case_of_names_does_not_matter() {
        let settings = with(&[("redis_Prefix", "a"), ("Redis_DB", "3")]).unwrap();
        assert_eq!((&*settings.prefix, settings.db), ("a", Some(3)));
    }

    #[test]
    fn each_wrong_value_is_refused_with_its_name_and_what_is_allowed() {
        for (name, value, expected) in [
            (
                "REDIS_HOST",
                "redis:6379",
                "a host name or address, without a port",
            ),
            ("REDIS_PORT", "70000", "a port number from 1 to 65535"),
            ("REDIS_PORT", "0", "a port number from 1 to 65535"),
            (
                "REDIS_PORT",
                "tcp://10.0.0.1:0",
                "a port number from 1 to 65535",
            ),
            (
                "REDIS_PORT",
                "udp://10.0.0.1:6379",
                "a port number from 1 to 65535",
            ),
            (
                "REDIS_DB",
                "2147483648",
                "a database number from 0 to 2147483647",
            ),
            ("REDIS_DB", "-1", "a database number from 0 to 2147483647"),
            ("REDIS_SSL", "maybe", "true or false"),
            ("REDIS_SSL_CHECK_HOSTNAME", "2", "true or false"),
            ("REDIS_SSL_CERT_REQS", "optional", "required or none"),
            ("REDIS_SENTINEL_SSL", "?", "true or false"),
            ("REDIS_CLUSTER", "?", "true or false"),
            ("REDIS_SENTINEL", "?", "true or false"),
            ("REDIS_SENTINEL_NODES", "a,b:0", "host[:port] of each"),
            ("REDIS_MAX_CONNECTIONS", "0", "a number from 1 to 1024"),
            ("REDIS_MAX_CONNECTIONS", "1025", "a number from 1 to 1024"),
            (
                "REDIS_SOCKET_TIMEOUT",
                "0",
                "a number of seconds greater than 0",
            ),
            (
                "REDIS_SOCKET_TIMEOUT",
                "NaN",
                "a number of seconds greater than 0",
            ),
            (
                "REDIS_SOCKET_CONNECT_TIMEOUT",
                "1s",
                "a number of seconds greater than 0",
            ),
            (
                "REDIS_PREFIX",
                "a{b}",
                "at least one character, and no brace",
            ),
            ("REDIS_DEFAULT_TTL", "-1", "a whole number of seconds"),
            ("REDIS_DEFAULT_TTL", "0.5", "a whole number of seconds"),
            ("REDIS_WARN_UNBOUNDED_CACHE", "?", "true or false"),
            ("REDIS_OTEL_ENABLED", "?", "true or false"),
            ("REDIS_LEASE_TTL", "0", "a number of seconds greater than 0"),
            ("REDIS_MAX_BODY_BYTES", "10MB", "a number of bytes"),
            ("REDIS_MAX_MEMORY_BYTES", "-1", "a number of bytes"),
            ("REDIS_REQUEST_DIRECTIVES", "maybe", "true or false"),
            ("REDIS_CACHE_STATUS", "verbose", "true or false"),
            ("REDIS_CACHE_GROUPS", "products", "true or false"),
        ] {
            let error = refusal(&[(name, value)]);
            let line = format!("{name}={value}: expected {expected}");
            assert!(error.starts_with(&line), "{error}");
        }
        let error = refusal(&[("REDIS_PORT", "1\n2")]);
        assert!(!error.contains('\n'), "{error}");
    }

    #[cfg(feature = "redis")]
    #[test]
    fn variables_that_contradict_each_other_are_refused_by_their_names() {
        let (nodes, on) = ("redis://a,b", "true");
        for (variables, error) in [
            (
                &[("REDIS_CLUSTER", on), ("REDIS_SENTINEL", on)][..],
                "REDIS_SENTINEL=true: expected false, because REDIS_CLUSTER is true",
            ),
            (
                &[("REDIS_URL", nodes)],
                "REDIS_URL=redis://…: expected one host, because REDIS_CLUSTER is false",
            ),
            (
                &[("REDIS_URL", "http://x")],
                "REDIS_URL=http://…: expected redis://[user[:password]@]host[:port][/db], \
                 rediss://… for TLS, or unix:///path[?db=0]",
            ),
            #[cfg(not(feature = "otel"))]
            (
                &[("REDIS_OTEL_ENABLED", on)],
                "REDIS_OTEL_ENABLED=true: expected false, or the feature `otel` of \
                 axum-redis-cache",
            ),
        ] {
            assert_eq!(refusal(variables), error);
        }
    }

    #[test]
    fn the_port_that_an_orchestrator_sets_is_the_address_of_the_service() {
        let port = ("REDIS_PORT", "tcp://10.0.0.1:6380");
        let address = |variables: &[(&str, &str)]| {
            let settings = with(variables).unwrap();
            (settings.host, settings.port)
        };
        let service = |host: &str| (Some(host.to_owned()), Some(6380));
        assert_eq!(address(&[port]), service("10.0.0.1"));
        let six = ("REDIS_PORT", "tcp://[fd00::1]:6380");
        assert_eq!(address(&[six]), service("fd00::1"));
        assert_eq!(address(&[port, ("REDIS_HOST", "redis")]), service("redis"));
        if cfg!(feature = "sentinel") {
            let nodes = ("REDIS_SENTINEL_NODES", "a");
            let sentinels = [port, ("REDIS_SENTINEL", "true"), nodes];
            assert_eq!(address(&sentinels), (None, None));
        }
    }

    #[cfg(feature = "redis")]
    #[test]
    fn what_a_url_takes_the_place_of_is_not_even_read() {
        let url = ("REDIS_URL", "redis://a:1/2");
        let port = ("REDIS_PORT", "tcp://10.0.0.1:6379");
        let settings = with(&[url, port, ("REDIS_DB", "3")]).unwrap();
        assert_eq!((settings.port, settings.db), (None, None));
    }

    #[test]
    fn secrets_are_never_shown() {
        for (name, value) in [
            ("REDIS_PASSWORD", "hunter2"),
            ("REDIS_SENTINEL_PASSWORD", "hunter2"),
            ("REDIS_URL", "redis://:hunter2@localhost"),
            ("REDIS_URL", "redis://u:hunter2@a,b"),
            ("REDIS_URL", "rediss://u:hunter2@a"),
            ("REDIS_URL", "redis://:hunter2@[bad"),
            ("REDIS_URL", "http://:hunter2@x"),
            ("REDIS_URL", "u:hunter2@a,redis://b"),
            ("REDIS_URL", "unix:///a?pass=hunter2#"),
            ("REDIS_URL", "redis://:p?hunter2=1@h"),
            ("REDIS_URL", "redis://p?hunter2=1@h"),
            ("REDIS_URL", "redis://h?hunter2%40=1"),
            ("REDIS_URL", "redis://h?password=hunter2"),
            ("REDIS_URL", "unix:///a?password=hunter2"),
            ("REDIS_URL", "hunter2"),
            ("REDIS_HOST", "redis://:hunter2@localhost"),
            ("REDIS_PORT", "tcp://u:hunter2@localhost:1"),
            ("REDIS_SENTINEL_NODES", "a,u:hunter2@b:1"),
            ("REDIS_SSL_KEYFILE", "-----BEGIN PRIVATE KEY-----\nhunter2"),
        ] {
            let shown = match with(&[(name, value)]) {
                Ok(settings) => format!("{settings:?} {settings:#?}"),
                Err(error) => format!("{error} {error:?}"),
            };
            assert!(!shown.contains("hunter2"), "{name}={value}: {shown}");
        }
    }
}
