//! TLS to Redis: the files are read and checked at start.

use std::io;
use std::path::Path;
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

use super::certificate_check::{CertificateCheck, NoCheck};
use super::variables::{CERTIFICATES, KEY};
use super::{CertReqs, Settings, SettingsError};

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
}

impl Tls {
    pub(super) fn read(settings: &Settings) -> Result<Self, SettingsError> {
        let default = CryptoProvider::get_default().map(Arc::clone);
        let provider = default.unwrap_or_else(|| Arc::new(ring::default_provider()));
        let named = settings.ssl_ca_certs.as_deref().map(trusted).transpose()?;
        let (root_cert, named) = named.unzip();
        let check: Arc<dyn ServerCertVerifier> = match settings.ssl_cert_reqs {
            CertReqs::None => Arc::new(NoCheck::new(&provider)),
            CertReqs::Required => {
                let Trusted { roots, own } = named.map_or_else(trusted_by_the_system, Ok)?;
                let check_hostname = settings.ssl_check_hostname;
                let check = CertificateCheck::new(roots, own, check_hostname, &provider);
                Arc::new(check.map_err(|error| unusable(&error))?)
            }
        };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(&error))?
            .dangerous()
            .with_custom_certificate_verifier(check);
        let (config, client_tls) = match identity(settings)? {
            None => (builder.with_no_client_auth(), None),
            Some((path, Identity { chain, key, files })) => {
                let config = builder.with_client_auth_cert(chain, key).map_err(|_| {
                    let expected = "the key of {ssl_certfile}";
                    SettingsError::wrong_file("ssl_keyfile", path, expected)
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
            check_hostname: settings.ssl_check_hostname,
            verifies: settings.ssl_cert_reqs == CertReqs::Required,
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
fn trusted(path: &Path) -> Result<(Vec<u8>, Trusted), SettingsError> {
    let (pem, own) = certificates("ssl_ca_certs", path)?;
    let mut roots = RootCertStore::empty();
    for certificate in own.clone() {
        roots.add(certificate).map_err(|error| {
            let expected = format!("{CERTIFICATES}: {error}");
            SettingsError::wrong_file("ssl_ca_certs", path, expected)
        })?;
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

/// The certificate to show and its key, with the path of the key.
fn identity(settings: &Settings) -> Result<Option<(&Path, Identity)>, SettingsError> {
    let missing = |setting, expected| Err(SettingsError::wrong(setting, "", expected));
    let (certificate, path) = match (&settings.ssl_certfile, &settings.ssl_keyfile) {
        (None, None) => return Ok(None),
        (Some(certificate), Some(key)) => (certificate, key),
        (Some(_), None) => return missing("ssl_keyfile", "the key of {ssl_certfile}"),
        (None, Some(_)) => return missing("ssl_certfile", "the certificate of {ssl_keyfile}"),
    };
    let (client_cert, chain) = certificates("ssl_certfile", certificate)?;
    let client_key = read("ssl_keyfile", path, KEY)?;
    let key = PrivateKeyDer::from_pem_slice(&client_key);
    let key = key.map_err(|_| SettingsError::wrong_file("ssl_keyfile", path, KEY))?;
    let files = ClientTlsConfig {
        client_cert,
        client_key,
    };
    Ok(Some((path, Identity { chain, key, files })))
}

fn certificates(
    setting: &'static str,
    path: &Path,
) -> Result<(Vec<u8>, Vec<CertificateDer<'static>>), SettingsError> {
    let pem = read(setting, path, CERTIFICATES)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok((pem, certificates)),
        _ => Err(SettingsError::wrong_file(setting, path, CERTIFICATES)),
    }
}

fn read(
    setting: &'static str,
    path: &Path,
    expected: &'static str,
) -> Result<Vec<u8>, SettingsError> {
    std::fs::read(path).map_err(|error| {
        let expected = format!("{expected}: {error}");
        SettingsError::wrong_file(setting, path, expected)
    })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use test_support::{Certificates, TempDir};

    use super::*;

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
}
