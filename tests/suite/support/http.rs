//! As much of HTTP/1.1 as the tests need, written out by hand so that nothing is retried or hidden.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

/// One message's head and body, cut out of a connection's bytes.
pub struct Message {
    /// Up to and without the empty line.
    pub head: String,
    pub body: Vec<u8>,
}

impl Message {
    /// The three digits of a status line; none for a request or for nonsense.
    pub fn status(&self) -> Option<u16> {
        self.head.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()
    }

    /// Whether the sender ends the connection after this message.
    pub fn closes(&self) -> bool {
        header(&self.head, "connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

/// Why no whole message came.
#[derive(Debug)]
pub enum ReadError {
    /// The peer ended the connection before the first byte.
    Nothing,
    /// The peer ended the connection in the middle.
    Cut,
    /// Neither `Content-Length` nor a head that can be read.
    Malformed(String),
    Io(io::Error),
}

/// The most that a head may take.
const MAX_HEAD: usize = 16_384;

/// Reads one message; `buffer` keeps what arrived beyond it for the next call. Its length comes from
/// `Content-Length`, and a message without one has no body.
pub async fn read_message(
    stream: &mut (impl AsyncRead + Unpin),
    buffer: &mut Vec<u8>,
) -> Result<Message, ReadError> {
    let head_end = loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        if buffer.len() > MAX_HEAD {
            return Err(ReadError::Malformed(format!("a head of more than {MAX_HEAD} bytes")));
        }
        more(stream, buffer).await?;
    };
    let Ok(head) = String::from_utf8(buffer[..head_end].to_vec()) else {
        return Err(ReadError::Malformed("a head that is no text".into()));
    };
    let length = match header(&head, "content-length").map(str::parse::<usize>) {
        None => 0,
        Some(Ok(length)) => length,
        Some(Err(error)) => return Err(ReadError::Malformed(format!("content-length: {error}"))),
    };
    let end = head_end + 4 + length;
    while buffer.len() < end {
        more(stream, buffer).await?;
    }
    let body = buffer[head_end + 4..end].to_vec();
    buffer.drain(..end);
    Ok(Message { head, body })
}

async fn more(stream: &mut (impl AsyncRead + Unpin), buffer: &mut Vec<u8>) -> Result<(), ReadError> {
    match stream.read_buf(buffer).await {
        Ok(0) if buffer.is_empty() => Err(ReadError::Nothing),
        Ok(0) => Err(ReadError::Cut),
        Ok(_) => Ok(()),
        Err(error) => Err(ReadError::Io(error)),
    }
}

fn header<'head>(head: &'head str, name: &str) -> Option<&'head str> {
    head.split("\r\n").skip(1).find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}
