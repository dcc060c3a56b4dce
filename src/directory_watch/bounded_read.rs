//! Reads files that others write, without trusting their size or kind.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

/// The contents of the regular file at `path`.
///
/// # Errors
/// When it can't be read, is no regular file or is larger than `max_bytes`.
pub fn bounded_read(path: &Path, max_bytes: u64) -> io::Result<Vec<u8>> {
    // Asked first: opening a pipe would wait for its writer.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut data = Vec::new();
    File::open(path)?.take(max_bytes + 1).read_to_end(&mut data)?;
    if data.len() as u64 > max_bytes {
        return Err(io::Error::other(format!("it is larger than {max_bytes} bytes")));
    }
    Ok(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_of_bounded_size_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("f");
        fs::write(&file, "1234").unwrap();
        assert_eq!(bounded_read(&file, 4).unwrap(), b"1234");
        assert!(bounded_read(&file, 3).is_err());
        assert!(bounded_read(dir.path(), 3).is_err());
        assert!(bounded_read(Path::new("/dev/zero"), 3).is_err());
    }
}
