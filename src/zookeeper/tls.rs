//! Reads the files for TLS, and says which of them is of no use.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use zookeeper_client::TlsOptions;

use crate::engine::printable::printable;
use crate::engine::tls_files::TlsFiles;

/// More than any bundle of certificates holds.
const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// Which file is of no use, and why. No text holds anything of a file's content.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}: {reason}", printable(&file.to_string_lossy()))]
pub struct TlsFileError {
    /// The file.
    pub file: PathBuf,
    /// What is wrong with it.
    #[source]
    pub reason: TlsFileReason,
}

/// What is wrong with a file for TLS.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TlsFileReason {
    /// The system's word.
    #[error("can't be read: {0}; check the path and who may read it")]
    Unreadable(#[source] Arc<io::Error>),
    /// A directory, a pipe, a device.
    #[error("is no regular file; write the path of a PEM file")]
    NoFile,
    /// It goes on and on.
    #[error("is larger than 4 MiB; write the path of a PEM file")]
    TooLarge,
    /// No block `BEGIN CERTIFICATE` in it that holds one.
    #[error("holds no good certificate in PEM form (BEGIN CERTIFICATE)")]
    NoCertificate,
    /// A revocation list is damaged.
    #[error("holds a revocation list that can't be used: {0}")]
    RevocationList(String),
    /// No key in it that is not encrypted.
    #[error("holds no private key in PEM form (BEGIN PRIVATE KEY, without a passphrase)")]
    NoKey,
    /// It belongs to another certificate, or its kind is not known.
    #[error("is no key for the certificate that stands beside it in the configuration: {0}")]
    WrongKey(String),
}

/// What the files held at one moment.
pub(super) struct Tls {
    /// The files they came from.
    pub(super) files: TlsFiles,
    pub(super) config: Arc<ClientConfig>,
    ca: String,
    identity: Option<(String, String)>,
}

/// Whether a session could be made with the files as they are now.
///
/// # Errors
/// The first file that is of no use.
pub fn check_tls_files(files: &TlsFiles) -> Result<(), TlsFileError> {
    read(files).map(drop)
}

/// Reads the files anew.
pub(super) fn read(files: &TlsFiles) -> Result<Tls, TlsFileError> {
    let wrong = |file: &Path| {
        let file = file.to_owned();
        move |reason| TlsFileError { file, reason }
    };
    let ca = read_pem(&files.ca).map_err(wrong(&files.ca))?;
    let verifier = verifier(&ca).map_err(wrong(&files.ca))?;
    let builder = ClientConfig::builder().with_webpki_verifier(verifier);
    let Some(identity) = &files.identity else {
        let config = Arc::new(builder.with_no_client_auth());
        return Ok(Tls { files: files.clone(), config, ca, identity: None });
    };
    let cert = read_pem(&identity.cert).map_err(wrong(&identity.cert))?;
    let chain = certificates(&cert);
    if chain.is_empty() {
        return Err(wrong(&identity.cert)(TlsFileReason::NoCertificate));
    }
    let key = read_pem(&identity.key).map_err(wrong(&identity.key))?;
    let parsed = PrivateKeyDer::from_pem_slice(key.as_bytes())
        .map_err(|_| TlsFileReason::NoKey)
        .map_err(wrong(&identity.key))?;
    let config = builder
        .with_client_auth_cert(chain, parsed)
        .map_err(|error| TlsFileReason::WrongKey(error.to_string()))
        .map_err(wrong(&identity.key))?;
    Ok(Tls { files: files.clone(), config: Arc::new(config), ca, identity: Some((cert, key)) })
}

impl Tls {
    /// The same for the `ZooKeeper` client.
    pub(super) fn options(&self) -> Result<TlsOptions, zookeeper_client::Error> {
        let options = TlsOptions::new().with_pem_ca(&self.ca)?;
        match &self.identity {
            Some((cert, key)) => options.with_pem_identity(cert, key),
            None => Ok(options),
        }
    }
}

fn read_pem(file: &Path) -> Result<String, TlsFileReason> {
    let unreadable = |error| TlsFileReason::Unreadable(Arc::new(error));
    // Before it is opened: opening a pipe would wait for its writer.
    if !fs::metadata(file).map_err(unreadable)?.is_file() {
        return Err(TlsFileReason::NoFile);
    }
    let mut bytes = Vec::new();
    File::open(file).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes)).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(TlsFileReason::TooLarge);
    }
    // What stands around the blocks may be of any encoding; PEM itself is ASCII (RFC 7468).
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn certificates(pem: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem.as_bytes()).filter_map(Result::ok).collect()
}

fn verifier(ca: &str) -> Result<Arc<WebPkiServerVerifier>, TlsFileReason> {
    let mut roots = RootCertStore::empty();
    let (good, _ignored) = roots.add_parsable_certificates(certificates(ca));
    if good == 0 {
        return Err(TlsFileReason::NoCertificate);
    }
    let lists: Vec<_> = CertificateRevocationListDer::pem_slice_iter(ca.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| TlsFileReason::RevocationList(error.to_string()))?;
    WebPkiServerVerifier::builder(Arc::new(roots))
        .with_crls(lists)
        .build()
        .map_err(|error| TlsFileReason::RevocationList(error.to_string()))
}
