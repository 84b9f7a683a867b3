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
    use std::net::TcpListener;
    use std::path::PathBuf;

    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
    use test_support::RedisServer;

    use super::*;

    /// PEM files of a test, in a directory that is removed with this.
    struct Files(PathBuf);

    impl Files {
        fn new(test: &str) -> Self {
            let name = format!("settings-tls-{test}-{}", std::process::id());
            let directory = std::env::temp_dir().join(name);
            std::fs::create_dir_all(&directory).unwrap();
            let this = Self(directory);
            this.write("other-ca", &issuer("other").pem());
            let ca = issuer("ca");
            this.write("ca", &ca.pem());
            for name in ["server", "client"] {
                let key = KeyPair::generate().unwrap();
                let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
                this.write(name, &params.signed_by(&key, &ca).unwrap().pem());
                this.write(&format!("{name}-key"), &key.serialize_pem());
            }
            this
        }

        fn write(&self, name: &str, text: &str) -> PathBuf {
            std::fs::write(self.path(name), text).unwrap();
            self.path(name)
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.join(name)
        }
    }

    impl Drop for Files {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn issuer(name: &str) -> CertifiedIssuer<'static, KeyPair> {
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    }

    fn tls() -> Settings {
        Settings::default().ssl(true)
    }

    #[test]
    fn a_file_that_is_of_no_use_is_refused_with_its_path() {
        let files = Files::new("files");
        let path = |name| files.path(name);
        files.write("text", "no PEM");
        files.write("half", "-----BEGIN CERTIFICATE-----\nAAAA\n");
        std::fs::create_dir_all(path("directory")).unwrap();
        let with_certificate = tls().ssl_certfile(path("client"));
        let with_key = tls().ssl_keyfile(path("client-key"));
        let ca = |file| (tls().ssl_ca_certs(path(file)), "ssl_ca_certs", file);
        let certificate = |file| {
            (
                with_key.clone().ssl_certfile(path(file)),
                "ssl_certfile",
                file,
            )
        };
        let key = |file| {
            (
                with_certificate.clone().ssl_keyfile(path(file)),
                "ssl_keyfile",
                file,
            )
        };
        for ((settings, setting, file), expected) in [
            (ca("missing"), CERTIFICATES),
            (ca("directory"), CERTIFICATES),
            (ca("text"), CERTIFICATES),
            (ca("half"), CERTIFICATES),
            (ca("client-key"), CERTIFICATES),
            (certificate("missing"), CERTIFICATES),
            (key("missing"), KEY),
            (key("text"), KEY),
            (key("client"), KEY),
            (key("server-key"), "the key of ssl_certfile"),
        ] {
            let error = settings.access().unwrap_err().to_string();
            let path = path(file);
            let line = format!("{setting}={}: expected {expected}", path.display());
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
        let files = Files::new("server");
        let path = |name| files.path(name);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let option = |name| path(name).to_str().unwrap().to_owned();
        let _redis = RedisServer::start_with(&[
            "--tls-port",
            &port.to_string(),
            "--tls-cert-file",
            &option("server"),
            "--tls-key-file",
            &option("server-key"),
            "--tls-ca-cert-file",
            &option("ca"),
        ]);
        let with_key = tls().port(port).unwrap();
        let with_key = with_key
            .ssl_certfile(path("client"))
            .ssl_keyfile(path("client-key"));
        let trusting = with_key.clone().ssl_ca_certs(path("ca"));
        let address = trusting.clone().host("127.0.0.1").unwrap();
        let misled = with_key.clone().ssl_ca_certs(path("other-ca"));
        let by_url = format!("rediss://localhost:{port}");
        for (settings, succeeds) in [
            (trusting.clone(), true),
            (trusting.clone().ssl(false).url(by_url).unwrap(), true),
            (address.clone(), false),
            (address.ssl_check_hostname(false), true),
            (misled.clone(), false),
            (misled.ssl_check_hostname(false), false),
            (with_key, false),
            (tls().port(port).unwrap().ssl_ca_certs(path("ca")), false),
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
