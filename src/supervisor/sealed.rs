//! Texts that tell whether they are whole: a line with the format and the checksum of the rest, then the rest.

use std::io::{self, Write};

use serde::{Deserialize, Serialize};

/// Why a sealed text can't be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum SealError {
    #[error("it has no header")]
    NoHeader,
    #[error("it has the format {found}, only {known} is known")]
    Format { found: u32, known: u32 },
    #[error("its checksum doesn't match: it was cut or changed")]
    Checksum,
}

#[derive(Serialize, Deserialize)]
struct Header {
    format: u32,
    crc32: u32,
}

/// Seals `body`.
///
/// # Errors
/// Never in practice: two numbers can always be written as JSON.
pub(super) fn seal(format: u32, body: &str) -> serde_json::Result<String> {
    let header = serde_json::to_string(&Header { format, crc32: crc32fast::hash(body.as_bytes()) })?;
    Ok(format!("{header}\n{body}\n"))
}

/// Writes what [`seal`] makes of the body that `write` writes; it is called twice, so that the body is never in memory.
///
/// # Errors
/// When writing fails.
pub(super) fn seal_to(
    out: &mut dyn Write,
    format: u32,
    write: impl Fn(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let mut checksum = Checksum(crc32fast::Hasher::new());
    write(&mut checksum)?;
    serde_json::to_writer(&mut *out, &Header { format, crc32: checksum.0.finalize() })?;
    out.write_all(b"\n")?;
    write(out)?;
    out.write_all(b"\n")
}

struct Checksum(crc32fast::Hasher);

impl Write for Checksum {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The body of a sealed text.
///
/// # Errors
/// When it is damaged, or of another format than `known`.
pub(super) fn unseal(known: u32, text: &str) -> Result<&str, SealError> {
    let (header, body) = text.split_once('\n').ok_or(SealError::NoHeader)?;
    let header: Header = serde_json::from_str(header).map_err(|_| SealError::NoHeader)?;
    if header.format != known {
        return Err(SealError::Format { found: header.format, known });
    }
    let body = body.strip_suffix('\n').unwrap_or(body);
    if crc32fast::hash(body.as_bytes()) != header.crc32 {
        return Err(SealError::Checksum);
    }
    Ok(body)
}
