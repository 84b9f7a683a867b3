use std::path::PathBuf;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};

use crate::redis_process::text;
use crate::temp_dir::TempDir;

/// Files of certificates and keys in PEM format, made anew and removed with this.
pub struct Certificates {
    directory: TempDir,
}

impl Certificates {
    /// Makes them.
    pub fn new() -> Self {
        let this = Self {
            directory: TempDir::new(),
        };
        let any = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = this.write_self_signed("ca", &[], any);
        this.write_self_signed("unrelated-ca", &[], any);
        this.write_self_signed("self-signed-ca", &["localhost"], any);
        this.write_self_signed("self-signed", &["localhost"], IsCa::ExplicitNoCa);
        this.write_signed("server", ExtendedKeyUsagePurpose::ServerAuth, &ca);
        this.write_signed("client", ExtendedKeyUsagePurpose::ClientAuth, &ca);
        this
    }

    /// The certificate of who signed those of the server and the client.
    pub fn ca(&self) -> PathBuf {
        self.file("ca.pem")
    }

    /// The certificate of somebody who signed none of the others.
    pub fn unrelated_ca(&self) -> PathBuf {
        self.file("unrelated-ca.pem")
    }

    /// The certificate of the server `localhost` that signed itself, and its key. With `is_ca` it is also
    /// that of an authority, as `openssl req -x509` makes it.
    pub fn self_signed(&self, is_ca: bool) -> [PathBuf; 2] {
        let name = if is_ca {
            "self-signed-ca"
        } else {
            "self-signed"
        };
        ["pem", "key"].map(|kind| self.file(&format!("{name}.{kind}")))
    }

    /// The certificate of the server `localhost`. It is not valid for `127.0.0.1`.
    pub fn server(&self) -> PathBuf {
        self.file("server.pem")
    }

    /// The key of the server.
    pub fn server_key(&self) -> PathBuf {
        self.file("server.key")
    }

    /// The certificate of a client.
    pub fn client(&self) -> PathBuf {
        self.file("client.pem")
    }

    /// The key of the client.
    pub fn client_key(&self) -> PathBuf {
        self.file("client.key")
    }

    /// Returns the options of a server that uses the certificate of the server, and that of the client
    /// towards other servers.
    pub(crate) fn options(&self) -> Vec<String> {
        let files = [
            ("--tls-cert-file", self.server()),
            ("--tls-key-file", self.server_key()),
            ("--tls-client-cert-file", self.client()),
            ("--tls-client-key-file", self.client_key()),
            ("--tls-ca-cert-file", self.ca()),
        ];
        let files = files.iter().map(|(option, file)| [option, text(file)]);
        let options = files.chain([["--tls-auth-clients", "optional"]]);
        options.flatten().map(str::to_owned).collect()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: String) {
        std::fs::write(self.file(name), text).expect("a file in an own directory");
    }

    fn write_self_signed(
        &self,
        name: &str,
        hosts: &[&str],
        is_ca: IsCa,
    ) -> CertifiedIssuer<'static, KeyPair> {
        let mut params = params(name, hosts);
        params.is_ca = is_ca;
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let ca = CertifiedIssuer::self_signed(params, key()).expect("a certificate");
        self.write(&format!("{name}.pem"), ca.pem());
        self.write(&format!("{name}.key"), ca.key().serialize_pem());
        ca
    }

    fn write_signed(
        &self,
        name: &str,
        usage: ExtendedKeyUsagePurpose,
        ca: &CertifiedIssuer<'static, KeyPair>,
    ) {
        let mut params = params(name, &["localhost"]);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        let key = key();
        let certificate = params.signed_by(&key, ca).expect("a certificate");
        self.write(&format!("{name}.pem"), certificate.pem());
        self.write(&format!("{name}.key"), key.serialize_pem());
    }
}

impl Default for Certificates {
    fn default() -> Self {
        Self::new()
    }
}

fn params(name: &str, hosts: &[&str]) -> CertificateParams {
    let hosts: Vec<_> = hosts.iter().map(|host| (*host).to_owned()).collect();
    let mut params = CertificateParams::new(hosts).expect("valid names of hosts");
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn key() -> KeyPair {
    KeyPair::generate().expect("a key")
}
