//! TLS to Redis: the files are read and checked at start.

use std::borrow::Cow;
use std::io;
use std::sync::Arc;

#[cfg(feature = "cluster")]
use redis::cluster::ClusterClientBuilder;
use redis::{ClientTlsConfig, TlsCertificates};
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::SettingsError;
use super::certificate_check::{CertificateCheck, NoCheck};
use super::tls_settings::{TlsFile, TlsSettings};
use super::variables::{CERTIFICATES, KEY};

#[derive(Clone)]
pub(crate) struct Tls {
    config: Arc<ClientConfig>,
    /// The TLS configuration for the client of a whole cluster.
    #[cfg_attr(not(feature = "cluster"), allow(dead_code))]
    files: TlsCertificates,
    #[cfg_attr(not(feature = "cluster"), allow(dead_code))]
    check_hostname: bool,
    /// Set unless any certificate is accepted.
    pub(super) verifies: bool,
}

/// The trusted certificate authorities.
struct Trusted {
    roots: RootCertStore,
    /// The certificates of the setting, which may be those of servers.
    own: Vec<CertificateDer<'static>>,
}

/// A certificate to show to Redis.
struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    files: ClientTlsConfig,
    named: IdentityFiles,
}

/// The files of a certificate and its key.
struct IdentityFiles {
    certificate: TlsFile,
    key: TlsFile,
}

impl Tls {
    pub(super) fn read(settings: TlsSettings) -> Result<Self, SettingsError> {
        let verifies = !settings.accepts_any();
        let check_hostname = settings.checks_hostname();
        let default = CryptoProvider::get_default().map(Arc::clone);
        let provider = default.unwrap_or_else(|| Arc::new(ring::default_provider()));
        let named = settings.ca_certs.as_ref().map(trusted).transpose()?;
        let (root_cert, named) = named.unzip();
        let check: Arc<dyn ServerCertVerifier> = if verifies {
            let Trusted { roots, own } = named.map_or_else(trusted_by_the_system, Ok)?;
            let check = CertificateCheck::new(roots, own, check_hostname, &provider);
            Arc::new(check.map_err(|error| unusable(&error))?)
        } else {
            Arc::new(NoCheck::new(&provider))
        };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(&error))?
            .dangerous()
            .with_custom_certificate_verifier(check);
        let (config, client_tls) = match identity(settings.certfile, settings.keyfile)? {
            None => (builder.with_no_client_auth(), None),
            Some(Identity {
                chain,
                key,
                files,
                named,
            }) => {
                let config = builder.with_client_auth_cert(chain, key);
                let config = config.map_err(|_| {
                    let expected = format!("the key of {{{}}}", named.certificate.setting);
                    wrong(&named.key, expected)
                })?;
                (config, Some(files))
            }
        };
        Ok(Self {
            config: Arc::new(config),
            files: TlsCertificates {
                client_tls,
                root_cert,
            },
            check_hostname,
            verifies,
        })
    }

    /// Starts TLS on a connection to a host.
    pub(crate) async fn connect(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(host.to_owned());
        let name = name.map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let connector = TlsConnector::from(Arc::clone(&self.config));
        connector.connect(name, stream).await
    }

    #[cfg(feature = "cluster")]
    pub(super) fn of_cluster(&self, builder: ClusterClientBuilder) -> ClusterClientBuilder {
        // redis-rs takes the provider of the process. rustls panics when there is none and not exactly
        // one is compiled in, which any other crate can bring about.
        if CryptoProvider::get_default().is_none() {
            // It fails if another thread was faster, which is as good.
            let _ = ring::default_provider().install_default();
        }
        builder
            .certs(self.files.clone())
            .danger_accept_invalid_hostnames(!self.check_hostname)
    }
}

fn unusable(error: &dyn std::error::Error) -> SettingsError {
    SettingsError::wrong("ssl", true, format!("false, because of rustls: {error}"))
}

/// Reads the certificates of a file, as trust anchors and in their original form.
fn trusted(file: &TlsFile) -> Result<(Vec<u8>, Trusted), SettingsError> {
    let (pem, own) = certificates(file)?;
    let mut roots = RootCertStore::empty();
    for certificate in own.clone() {
        let added = roots.add(certificate);
        added.map_err(|error| wrong(file, format!("{CERTIFICATES}: {error}")))?;
    }
    Ok((pem, Trusted { roots, own }))
}

fn trusted_by_the_system() -> Result<Trusted, SettingsError> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let expected = format!("{CERTIFICATES}, because the system has none");
        return Err(SettingsError::wrong("ssl_ca_certs", "", expected));
    }
    let own = Vec::new();
    Ok(Trusted { roots, own })
}

/// Reads the client certificate and its key.
fn identity(
    certificate: Option<TlsFile>,
    key: Option<TlsFile>,
) -> Result<Option<Identity>, SettingsError> {
    let named = match (certificate, key) {
        (None, None) => return Ok(None),
        (Some(certificate), Some(key)) => IdentityFiles { certificate, key },
        (Some(certificate), None) => {
            let setting = in_pair(certificate.setting, ["ssl_keyfile", "sentinel_ssl_keyfile"]);
            let expected = format!("the key of {{{}}}", certificate.setting);
            return Err(SettingsError::wrong(setting, "", expected));
        }
        (None, Some(key)) => {
            let setting = in_pair(key.setting, ["ssl_certfile", "sentinel_ssl_certfile"]);
            let expected = format!("the certificate of {{{}}}", key.setting);
            return Err(SettingsError::wrong(setting, "", expected));
        }
    };
    let (client_cert, chain) = certificates(&named.certificate)?;
    let client_key = read(&named.key, KEY)?;
    let key = PrivateKeyDer::from_pem_slice(&client_key);
    let key = key.map_err(|_| wrong(&named.key, KEY))?;
    let files = ClientTlsConfig {
        client_cert,
        client_key,
    };
    Ok(Some(Identity {
        chain,
        key,
        files,
        named,
    }))
}

/// Returns the setting of the pair that is for the same servers as another setting.
fn in_pair(other: &str, [redis, sentinels]: [&'static str; 2]) -> &'static str {
    if other.starts_with("sentinel_") {
        sentinels
    } else {
        redis
    }
}

fn certificates(file: &TlsFile) -> Result<(Vec<u8>, Vec<CertificateDer<'static>>), SettingsError> {
    let pem = read(file, CERTIFICATES)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok((pem, certificates)),
        _ => Err(wrong(file, CERTIFICATES)),
    }
}

fn read(file: &TlsFile, expected: &'static str) -> Result<Vec<u8>, SettingsError> {
    std::fs::read(&file.path).map_err(|error| wrong(file, format!("{expected}: {error}")))
}

fn wrong(file: &TlsFile, expected: impl Into<Cow<'static, str>>) -> SettingsError {
    SettingsError::wrong_file(file.setting, &file.path, expected)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use test_support::{Certificates, TempDir};

    use super::*;
    use crate::settings::Settings;

    fn tls() -> Settings {
        Settings::default().ssl(true)
    }

    #[test]
    fn a_file_that_is_of_no_use_is_refused_with_its_path() {
        let (files, other) = (Certificates::new(), TempDir::new());
        let other = |name| other.path().join(name);
        std::fs::write(other("text"), "no PEM").unwrap();
        std::fs::write(other("half"), "-----BEGIN CERTIFICATE-----\nAAAA\n").unwrap();
        std::fs::create_dir_all(other("directory")).unwrap();
        let with_certificate = tls().ssl_certfile(files.client());
        let with_key = tls().ssl_keyfile(files.client_key());
        let ca = |file: PathBuf| (tls().ssl_ca_certs(&file), "ssl_ca_certs", file);
        let certificate = |file: PathBuf| {
            let settings = with_key.clone().ssl_certfile(&file);
            (settings, "ssl_certfile", file)
        };
        let key = |file: PathBuf| {
            let settings = with_certificate.clone().ssl_keyfile(&file);
            (settings, "ssl_keyfile", file)
        };
        for ((settings, setting, file), expected) in [
            (ca(other("missing")), CERTIFICATES),
            (ca(other("directory")), CERTIFICATES),
            (ca(other("text")), CERTIFICATES),
            (ca(other("half")), CERTIFICATES),
            (ca(files.client_key()), CERTIFICATES),
            (certificate(other("missing")), CERTIFICATES),
            (key(other("missing")), KEY),
            (key(other("text")), KEY),
            (key(files.client()), KEY),
            (key(files.server_key()), "the key of ssl_certfile"),
        ] {
            let error = settings.access().unwrap_err().to_string();
            let line = format!("{setting}={}: expected {expected}", file.display());
            assert!(error.starts_with(&line), "{error}\n{line}");
            assert!(!error.contains('\n'), "{error}");
        }
        for (settings, error) in [
            (
                with_certificate,
                "ssl_keyfile=: expected the key of ssl_certfile",
            ),
            (
                with_key,
                "ssl_certfile=: expected the certificate of ssl_keyfile",
            ),
        ] {
            assert_eq!(settings.access().unwrap_err().to_string(), error);
        }
    }

    #[test]
    fn the_settings_of_redis_apply_to_the_sentinels_unless_they_have_their_own() {
        let (redis, sentinels) = (Certificates::new(), Certificates::new());
        let common = tls()
            .sentinel(true)
            .ssl_certfile(redis.client())
            .ssl_keyfile(redis.client_key())
            .ssl_ca_certs(redis.ca());
        common.sentinel_access().unwrap();
        let own_key = common.clone().sentinel_ssl_keyfile(sentinels.client_key());
        let error = own_key.sentinel_access().unwrap_err().to_string();
        assert_eq!(
            error,
            "sentinel_ssl_certfile=: expected the certificate of sentinel_ssl_keyfile"
        );
        let own = own_key.sentinel_ssl_certfile(sentinels.client());
        own.sentinel_access().unwrap();
        let mixed = own.sentinel_ssl_certfile(redis.client());
        let error = mixed.sentinel_access().unwrap_err().to_string();
        assert!(error.starts_with("sentinel_ssl_keyfile="), "{error}");
        assert!(
            error.ends_with("expected the key of sentinel_ssl_certfile"),
            "{error}"
        );
    }
}
