//! TLS to Redis: the files are read and checked at start.

use std::path::Path;

#[cfg(feature = "cluster")]
use redis::cluster::ClusterClientBuilder;
use redis::{Client, ClientTlsConfig, ConnectionAddr, IntoConnectionInfo, TlsCertificates};
use rustls::RootCertStore;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::variables::{CERTIFICATES, KEY};
use super::{Settings, SettingsError};

#[derive(Clone)]
pub(super) struct Tls {
    certificates: TlsCertificates,
    check_hostname: bool,
}

impl Tls {
    pub(super) fn read(settings: &Settings) -> Result<Self, SettingsError> {
        let root_cert = settings.ssl_ca_certs.as_deref();
        Ok(Self {
            certificates: TlsCertificates {
                client_tls: client_certificate(settings)?,
                root_cert: root_cert.map(authorities).transpose()?,
            },
            check_hostname: settings.ssl_check_hostname,
        })
    }

    pub(super) fn address(&self, host: &str, port: u16) -> Result<ConnectionAddr, SettingsError> {
        install_provider();
        let address = ConnectionAddr::TcpTls {
            host: host.to_owned(),
            port,
            // The certificate is verified in any case, if not the host that it is for.
            insecure: false,
            tls_params: None,
        };
        let client = address
            .into_connection_info()
            .and_then(|info| Client::build_with_tls(info, self.certificates.clone()))
            .map_err(|error| SettingsError::connection(&error))?;
        let mut address = client.get_connection_info().addr().clone();
        address.set_danger_accept_invalid_hostnames(!self.check_hostname);
        Ok(address)
    }

    #[cfg(feature = "cluster")]
    pub(super) fn of_cluster(&self, builder: ClusterClientBuilder) -> ClusterClientBuilder {
        install_provider();
        builder
            .certs(self.certificates.clone())
            .danger_accept_invalid_hostnames(!self.check_hostname)
    }
}

/// rustls panics when there is no default and not exactly one provider is compiled in, which any
/// other crate can bring about.
fn install_provider() {
    if CryptoProvider::get_default().is_none() {
        // It fails if another thread was faster, which is as good.
        let _ = ring::default_provider().install_default();
    }
}

fn authorities(path: &Path) -> Result<Vec<u8>, SettingsError> {
    let (pem, certificates) = certificates("ssl_ca_certs", path)?;
    let mut store = RootCertStore::empty();
    for certificate in certificates {
        store.add(certificate).map_err(|error| {
            let expected = format!("{CERTIFICATES}: {error}");
            SettingsError::wrong_file("ssl_ca_certs", path, expected)
        })?;
    }
    Ok(pem)
}

fn client_certificate(settings: &Settings) -> Result<Option<ClientTlsConfig>, SettingsError> {
    let missing = |setting, expected| Err(SettingsError::wrong(setting, "", expected));
    let (certificate, key) = match (&settings.ssl_certfile, &settings.ssl_keyfile) {
        (None, None) => return Ok(None),
        (Some(certificate), Some(key)) => (certificate, key),
        (Some(_), None) => return missing("ssl_keyfile", "the key of {ssl_certfile}"),
        (None, Some(_)) => return missing("ssl_certfile", "the certificate of {ssl_keyfile}"),
    };
    let (client_cert, chain) = certificates("ssl_certfile", certificate)?;
    let client_key = read("ssl_keyfile", key, KEY)?;
    let wrong_key = |expected| SettingsError::wrong_file("ssl_keyfile", key, expected);
    let private = PrivateKeyDer::from_pem_slice(&client_key).map_err(|_| wrong_key(KEY))?;
    let provider = ring::default_provider();
    CertifiedKey::from_der(chain, private, &provider)
        .map_err(|_| wrong_key("the key of {ssl_certfile}"))?;
    Ok(Some(ClientTlsConfig {
        client_cert,
        client_key,
    }))
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

    use test_support::{Certificates, RedisServer, TempDir};

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

    #[test]
    fn a_redis_is_talked_to_only_if_a_trusted_authority_vouches_for_it() {
        let files = Certificates::new();
        let redis = RedisServer::start_with_tls(&files, &["--tls-auth-clients", "yes"]);
        let port = redis.address().port();
        let with_key = tls().port(port).unwrap();
        let with_key = with_key
            .ssl_certfile(files.client())
            .ssl_keyfile(files.client_key());
        let trusting = with_key.clone().ssl_ca_certs(files.ca());
        let address = trusting.clone().host("127.0.0.1").unwrap();
        let misled = with_key.clone().ssl_ca_certs(files.unrelated_ca());
        let by_url = format!("rediss://localhost:{port}");
        for (settings, succeeds) in [
            (trusting.clone(), true),
            (trusting.clone().ssl(false).url(by_url).unwrap(), true),
            (address.clone(), false),
            (address.ssl_check_hostname(false), true),
            (misled.clone(), false),
            (misled.ssl_check_hostname(false), false),
            (with_key, false),
            (tls().port(port).unwrap().ssl_ca_certs(files.ca()), false),
            (Settings::default().port(port).unwrap(), false),
        ] {
            let endpoint = &settings.target().unwrap().endpoints[0];
            let client = settings.access().unwrap().client(endpoint).unwrap();
            let pong = client
                .get_connection()
                .and_then(|mut connection| redis::cmd("PING").query::<String>(&mut connection));
            assert_eq!(pong.is_ok(), succeeds, "{settings:?} {pong:?}");
        }
    }
}
