//! Reads the files for TLS towards a registry, says which of them is of no use, and why a server is refused or refuses us.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::{AlertDescription, CertificateError, ClientConfig, Error, RootCertStore};

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

/// What the files held at one moment. No Debug: it holds a private key.
pub struct Tls {
    /// The files they came from.
    pub files: TlsFiles,
    /// The same as the library takes it.
    pub config: Arc<ClientConfig>,
    /// The authorities, PEM.
    pub ca: String,
    /// Our own certificate and its key, PEM.
    pub identity: Option<(String, String)>,
}

/// Whether a connection could be made with the files as they are now.
///
/// # Errors
/// The first file that is of no use.
pub fn check_tls_files(files: &TlsFiles) -> Result<(), TlsFileError> {
    read(files).map(drop)
}

/// Reads the files anew.
///
/// # Errors
/// The first file that is of no use.
pub fn read(files: &TlsFiles) -> Result<Tls, TlsFileError> {
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

/// What a failed handshake says of certificates; `None` when it is about something else.
pub fn explain(error: &Error, files: &TlsFiles) -> Option<String> {
    if let Error::InvalidCertificate(problem) = error {
        let advice = if *problem == CertificateError::UnknownIssuer {
            format!("no authority in {} has signed it; check tls.ca", files.ca.display())
        } else if matches!(
            problem,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }
        ) {
            "it is for other names (subjectAltName); write the server as its certificate does".to_owned()
        } else {
            "renew it".to_owned()
        };
        return Some(format!("the server's certificate is refused: {problem}; {advice}"));
    }
    let Error::AlertReceived(alert) = error else { return None };
    let (shown, advice) = if files.identity.is_some() {
        ("our certificate", "check tls.cert, and which authorities the server trusts")
    } else {
        ("a client without a certificate", "give it one with tls.cert and tls.key")
    };
    is_about_certificates(*alert).then(|| format!("the server refuses {shown} ({alert:?}); {advice}"))
}

fn is_about_certificates(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::BadCertificate
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRequired
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateUnknown
            | AlertDescription::NoCertificate
            | AlertDescription::UnknownCA
            | AlertDescription::UnsupportedCertificate
    )
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
