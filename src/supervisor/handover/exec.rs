//! Replacing the program.

use std::ffi::{CString, OsString};
use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use nix::sys::memfd::{MFdFlags, memfd_create};
use tracing::error;

use super::inherited::Inherited;
use super::record::{Files, Record, RecordError};
use crate::engine::error_text::with_causes;
use crate::process::file_parcel::FileParcel;
use crate::systemd::LISTEN_VARIABLES;
use crate::systemd::files::{self, ReceiveError};

/// Names the number of files in stdin; the first is the record, the others follow in the order of [`names`].
pub(in crate::supervisor) const VARIABLE: &str = "PROXYMGR_HANDOVER";

/// Why nothing was handed over.
#[derive(Debug, thiserror::Error)]
pub(in crate::supervisor) enum HandoverError {
    #[error("the state can't be written")]
    Record(#[from] serde_json::Error),
    #[error("the state can't be read")]
    Read(#[from] RecordError),
    #[error("the open files can't be passed on; raise the limit of open files (ulimit -n)")]
    Files(#[source] io::Error),
    #[error("'{}' can't be started", program.display())]
    Exec {
        program: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{VARIABLE} is no number of files; it is ProxyMgr's own, remove it from the environment")]
    Variable,
    #[error("the names of the open files are missing")]
    Names,
}

/// The record and the names of its files, in memory.
pub(super) fn memory_file(record: &Record, files: &Files) -> Result<File, HandoverError> {
    let names: Vec<_> = files.keys().map(String::as_str).collect();
    let text = format!("{}\n{}", names.join(" "), record.to_text()?);
    let write = || {
        let mut file = File::from(memfd_create("proxymgr-handover", MFdFlags::MFD_CLOEXEC)?);
        file.write_all(text.as_bytes())?;
        file.rewind()?;
        Ok(file)
    };
    write().map_err(HandoverError::Files)
}

/// Becomes `program` with the arguments of this one; returns only when that fails, and then nothing has changed.
pub(in crate::supervisor) fn replace_program(
    program: &Path,
    record: &Record,
    files: &Files,
) -> HandoverError {
    match try_replace(program, record, files) {
        Ok(never) => match never {},
        Err(error) => error,
    }
}

fn try_replace(
    program: &Path,
    record: &Record,
    files: &Files,
) -> Result<std::convert::Infallible, HandoverError> {
    let record = memory_file(record, files)?;
    let all: Vec<_> =
        std::iter::once(record.as_fd()).chain(files.values().map(|file| file.as_fd())).collect();
    let _parcel = FileParcel::pack(&all).map_err(HandoverError::Files)?;
    let failed = |source: io::Error| HandoverError::Exec { program: program.to_owned(), source };
    let c_string = |text: OsString| CString::new(text.into_vec()).map_err(|error| failed(error.into()));
    let args: Vec<_> = std::env::args_os().map(c_string).collect::<Result<_, _>>()?;
    let variable = (OsString::from(VARIABLE), OsString::from(all.len().to_string()));
    // What systemd passed was for this program; it is handed over as all else.
    let stays = |name: &OsString| name != VARIABLE && !LISTEN_VARIABLES.iter().any(|listen| name == listen);
    let env = std::env::vars_os().filter(|(name, _)| stays(name)).chain([variable]);
    let env: Vec<_> = env
        .map(|(mut entry, value)| {
            entry.push("=");
            entry.push(value);
            c_string(entry)
        })
        .collect::<Result<_, _>>()?;
    let path = c_string(program.into())?;
    let Err(error) = nix::unistd::execve(&path, &args, &env);
    Err(failed(error.into()))
}

/// What a predecessor handed over, or systemd passed.
#[derive(Debug)]
pub struct Received {
    handed: Result<Option<(Record, Files)>, HandoverError>,
    passed: Result<Vec<(String, OwnedFd)>, ReceiveError>,
}

impl Received {
    /// Takes it out of the environment and stdin; to be called once, before any file is opened.
    pub fn take() -> Self {
        let handed = receive();
        Self { handed, passed: files::received() }
    }

    /// The proxymgr.yml to be used in place of the file, which may have changed since it was asked for.
    pub fn config(&self) -> Option<&str> {
        self.handed.as_ref().ok()?.as_ref()?.0.config()
    }

    /// What the program handed over which this one replaced within its process, if it did; and what systemd passed.
    pub(in crate::supervisor) fn sort(self) -> (Option<Inherited>, Vec<(String, OwnedFd)>) {
        let understood = |handed: Option<(Record, Files)>| {
            handed.map(|(record, files)| Inherited::of(&record, files)).transpose()
        };
        let inherited = self.handed.and_then(|handed| Ok(understood(handed)?)).unwrap_or_else(|error| {
            error!(
                error = with_causes(&error),
                "what was handed over can't be used; HAProxy is started anew"
            );
            None
        });
        let passed = self.passed.unwrap_or_else(|error| {
            error!(error = with_causes(&error), "what systemd passed can't be taken");
            Vec::new()
        });
        (inherited, passed)
    }
}

fn receive() -> Result<Option<(Record, Files)>, HandoverError> {
    let Some(count) = std::env::var_os(VARIABLE) else { return Ok(None) };
    let count: usize = count.to_str().and_then(|text| text.parse().ok()).ok_or(HandoverError::Variable)?;
    let mut files = FileParcel::unpack(count).map_err(HandoverError::Files)?.into_iter();
    let record = files.next().ok_or(HandoverError::Names)?;
    let (record, names) = read(File::from(record))?;
    if names.len() != files.len() {
        return Err(HandoverError::Names);
    }
    Ok(Some((record, names.into_iter().zip(files).collect())))
}

/// Reads what [`memory_file`] wrote.
pub(super) fn read(mut file: File) -> Result<(Record, Vec<String>), HandoverError> {
    let mut text = String::new();
    file.rewind().and_then(|()| file.read_to_string(&mut text)).map_err(HandoverError::Files)?;
    let (names, record) = text.split_once('\n').ok_or(HandoverError::Names)?;
    Ok((Record::from_text(record)?, names.split_whitespace().map(str::to_owned).collect()))
}
