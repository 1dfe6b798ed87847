//! A certificate authority of the tests' own, with a certificate for this machine, in files.

use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use tempfile::TempDir;

use crate::group::temporary_folder;

#[derive(Debug)]
pub struct Certificates {
    folder: TempDir,
}

impl Certificates {
    /// One authority, and one certificate that it signed, for servers on this machine and for their clients.
    #[must_use]
    pub fn new() -> Self {
        let folder = temporary_folder("certificates");
        let mut authority = CertificateParams::new(Vec::new()).expect("no names to be wrong");
        // Another name than the certificate's, which would look self-signed.
        authority.distinguished_name.push(DnType::CommonName, "authority of the tests");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let authority =
            CertifiedIssuer::self_signed(authority, KeyPair::generate().expect("a key")).expect("signed");
        let key = KeyPair::generate().expect("a key");
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let certificate = CertificateParams::new(names).expect("these are names").signed_by(&key, &authority);
        let certificate = certificate.expect("signed");
        let this = Self { folder };
        for (file, text) in [
            (this.authority(), authority.pem()),
            (this.certificate(), certificate.pem()),
            (this.key(), key.serialize_pem()),
        ] {
            std::fs::write(file, text).expect("a writable folder");
        }
        this
    }

    /// For a Redis client of the tests.
    pub(crate) fn for_redis(&self) -> redis::TlsCertificates {
        let read = |file: PathBuf| std::fs::read(file).expect("the file is there");
        redis::TlsCertificates {
            client_tls: Some(redis::ClientTlsConfig {
                client_cert: read(self.certificate()),
                client_key: read(self.key()),
            }),
            root_cert: Some(read(self.authority())),
        }
    }

    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.folder.path().join("authority.pem")
    }

    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.folder.path().join("certificate.pem")
    }

    #[must_use]
    pub fn key(&self) -> PathBuf {
        self.folder.path().join("key.pem")
    }
}

impl Default for Certificates {
    fn default() -> Self {
        Self::new()
    }
}
