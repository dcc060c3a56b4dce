//! Open files that are handed to the program which replaces this one by exec(2).
//!
//! They travel in a socket on stdin, the only file whose number both sides know (unix(7), `SCM_RIGHTS`). So no number of
//! a file that is in use changes before exec, and an exec that fails leaves everything as it was.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

/// The kernel takes 253 in one message (unix(7), `SCM_MAX_FD`).
const MOST_IN_A_MESSAGE: usize = 200;

/// Stdin holds the files. Dropped without an exec, it is what it was.
#[derive(Debug)]
pub struct FileParcel {
    stdin_before: OwnedFd,
    /// Kept open until exec, though the files would stay in the socket without it.
    _sender: OwnedFd,
}

impl FileParcel {
    /// Puts `files` into stdin, in order.
    ///
    /// # Errors
    /// When no further file can be opened, or the kernel takes no more.
    pub fn pack(files: &[BorrowedFd<'_>]) -> io::Result<Self> {
        let (sender, receiver) = socketpair(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            None,
        )?;
        for some in files.chunks(MOST_IN_A_MESSAGE) {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_IN_A_MESSAGE))];
            let mut message = SendAncillaryBuffer::new(&mut space);
            if !message.push(SendAncillaryMessage::ScmRights(some)) {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            // A message without a byte carries nothing.
            sendmsg(&sender, &[IoSlice::new(b"f")], &mut message, SendFlags::empty())?;
        }
        let stdin_before = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
        rustix::stdio::dup2_stdin(&receiver)?;
        Ok(Self { stdin_before, _sender: sender })
    }

    /// Takes the `count` files out of stdin, where a predecessor put them; stdin is `/dev/null` afterwards.
    ///
    /// # Errors
    /// When stdin holds no such files.
    pub fn unpack(count: usize) -> io::Result<Vec<OwnedFd>> {
        let mut files = Vec::with_capacity(count);
        while files.len() < count {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_IN_A_MESSAGE))];
            let mut message = RecvAncillaryBuffer::new(&mut space);
            let mut byte = [0_u8; 1];
            recvmsg(
                rustix::stdio::stdin(),
                &mut [IoSliceMut::new(&mut byte)],
                &mut message,
                RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT,
            )?;
            let before = files.len();
            for part in message.drain() {
                if let RecvAncillaryMessage::ScmRights(some) = part {
                    files.extend(some);
                }
            }
            if files.len() == before {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
        Ok(files)
    }
}

impl Drop for FileParcel {
    fn drop(&mut self) {
        if let Err(error) = rustix::stdio::dup2_stdin(&self.stdin_before) {
            tracing::warn!(%error, "stdin can't be given back");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::fd::AsFd as _;

    use super::*;

    #[test]
    fn more_files_than_a_message_takes_arrive_in_order() {
        let pipes: Vec<_> = (0..450).map(|_| io::pipe().unwrap()).collect();
        let readers: Vec<_> = pipes.iter().map(|(reader, _)| reader.as_fd()).collect();
        let parcel = FileParcel::pack(&readers).unwrap();
        let arrived = FileParcel::unpack(readers.len()).unwrap();
        assert!(FileParcel::unpack(1).is_err(), "stdin is /dev/null now");
        drop(parcel);
        for (number, ((_, mut writer), arrived)) in pipes.into_iter().zip(arrived).enumerate() {
            writer.write_all(number.to_string().as_bytes()).unwrap();
            drop(writer);
            let mut text = String::new();
            File::from(arrived).read_to_string(&mut text).unwrap();
            assert_eq!(text, number.to_string());
        }
    }
}
