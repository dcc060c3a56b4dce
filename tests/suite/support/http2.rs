//! As much of HTTP/2 as one request needs (RFC 9113, RFC 7541), over a connection without TLS.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::requests::SOON;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// The status and the body of the answer.
pub fn get(at: SocketAddr, authority: &str, path: &str) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(at)?;
    stream.set_read_timeout(Some(SOON))?;
    // :method GET and :scheme http, then :path and :authority as they are.
    let mut fields = vec![0x82, 0x86];
    for (name, value) in [(4, path), (1, authority)] {
        fields.push(name);
        fields.push(u8::try_from(value.len()).ok().filter(|length| *length < 127).expect("a short value"));
        fields.extend(value.as_bytes());
    }
    stream.write_all(PREFACE)?;
    write_frame(&mut stream, SETTINGS, 0, 0, &[])?;
    write_frame(&mut stream, HEADERS, END_STREAM | END_HEADERS, 1, &fields)?;
    let (mut status, mut body) = (0, Vec::new());
    loop {
        let (kind, flags, payload) = read_frame(&mut stream)?;
        match kind {
            HEADERS => status = read_status(&payload),
            DATA => body.extend(payload),
            GOAWAY => return Err(io::ErrorKind::ConnectionReset.into()),
            _ => continue,
        }
        if flags & END_STREAM != 0 {
            return Ok((status, String::from_utf8(body).expect("a text")));
        }
    }
}

fn write_frame(stream: &mut TcpStream, kind: u8, flags: u8, number: u32, payload: &[u8]) -> io::Result<()> {
    let length = u32::try_from(payload.len()).expect("a small frame").to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(number.to_be_bytes());
    frame.extend(payload);
    stream.write_all(&frame)
}

fn read_frame(stream: &mut TcpStream) -> io::Result<(u8, u8, Vec<u8>)> {
    let mut head = [0; 9];
    stream.read_exact(&mut head)?;
    let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
    stream.read_exact(&mut payload)?;
    Ok((head[3], head[4], payload))
}

/// The first field: one of the static table, or its name with a text of three digits.
fn read_status(fields: &[u8]) -> u16 {
    match fields {
        [indexed, ..] if indexed & 0x80 != 0 => {
            [200, 204, 206, 304, 400, 404, 500][usize::from(indexed & 0x7f) - 8]
        }
        [_name, 3, digits @ ..] => String::from_utf8_lossy(&digits[..3]).parse().expect("a status"),
        other => panic!("{other:?}"),
    }
}
