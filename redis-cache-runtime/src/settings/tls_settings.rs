//! The TLS settings for the servers with the data, and those for the Sentinels.

use std::path::PathBuf;

use super::CertReqs;

/// A file, and the setting that names it.
#[derive(Clone, Debug)]
#[cfg_attr(not(feature = "tls"), allow(dead_code, reason = "no file is read"))]
pub(super) struct TlsFile {
    pub(super) setting: &'static str,
    pub(super) path: PathBuf,
}

/// The TLS settings for one kind of server, as far as they are set.
#[derive(Clone, Debug, Default)]
pub(super) struct TlsSettings {
    pub(super) certfile: Option<TlsFile>,
    pub(super) keyfile: Option<TlsFile>,
    pub(super) ca_certs: Option<TlsFile>,
    pub(super) check_hostname: Option<bool>,
    pub(super) cert_reqs: Option<CertReqs>,
}

impl TlsFile {
    pub(super) fn new(setting: &'static str, path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        Self { setting, path }
    }
}

#[cfg(feature = "redis")]
impl TlsSettings {
    /// Takes the settings that are not set from those for the other kind of server. A certificate and
    /// its key belong together.
    pub(super) fn or(self, other: Self) -> Self {
        let has_identity = self.certfile.is_some() || self.keyfile.is_some();
        let (certfile, keyfile) = if has_identity {
            (self.certfile, self.keyfile)
        } else {
            (other.certfile, other.keyfile)
        };
        Self {
            certfile,
            keyfile,
            ca_certs: self.ca_certs.or(other.ca_certs),
            check_hostname: self.check_hostname.or(other.check_hostname),
            cert_reqs: self.cert_reqs.or(other.cert_reqs),
        }
    }

    /// Returns the certificates that are accepted.
    pub(super) fn cert_reqs(&self) -> CertReqs {
        self.cert_reqs.unwrap_or_default()
    }

    /// Returns whether any certificate is accepted.
    pub(super) fn accepts_any(&self) -> bool {
        self.cert_reqs() == CertReqs::None
    }

    /// Returns whether the certificate has to name the host of the connection.
    #[cfg(any(feature = "tls", test))]
    pub(super) fn checks_hostname(&self) -> bool {
        self.check_hostname.unwrap_or(true)
    }
}
