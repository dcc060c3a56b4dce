//! An authority that signs certificates, made anew for each test.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};

/// It signs; its own certificate is what others trust.
pub struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its key, in PEM form.
pub struct Certificate {
    pub cert: String,
    pub key: String,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    /// For a server or a client that is found at `host`.
    pub fn sign(&self, host: &str) -> Certificate {
        let mut params = CertificateParams::new([host.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, host);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap().pem();
        Certificate { cert, key: key.serialize_pem() }
    }

    pub fn write(&self, file: PathBuf) -> PathBuf {
        write(file, &self.certificate)
    }
}

impl Certificate {
    /// `NAME.pem` and `NAME.key` in `directory`.
    pub fn write(&self, directory: &Path, name: &str) -> [PathBuf; 2] {
        [("pem", &self.cert), ("key", &self.key)]
            .map(|(extension, text)| write(directory.join(name).with_extension(extension), text))
    }
}

fn write(file: PathBuf, text: &str) -> PathBuf {
    fs::write(&file, text).unwrap();
    file
}
