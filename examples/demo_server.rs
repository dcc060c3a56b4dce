//! A server for the demo: answers every HTTP request with its name.
//!
//! `cargo run --example demo_server -- ADDRESS:PORT [NAME]`. Ends on SIGTERM.

use std::io;
use std::process::ExitCode;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(address) = arguments.next() else {
        eprintln!("usage: demo_server ADDRESS:PORT [NAME]");
        return ExitCode::from(64);
    };
    let name = arguments.next().unwrap_or_else(|| format!("server {address}"));
    match run(&address, &name).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo_server {address}: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(address: &str, name: &str) -> io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    let mut terminate = signal(SignalKind::terminate())?;
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted?;
                tokio::spawn(serve(stream, format!("Hello from {name}\n")));
            }
            _ = terminate.recv() => return Ok(()),
        }
    }
}

/// Answers one client's requests until it leaves. Requests with a body are not understood.
async fn serve(mut stream: TcpStream, text: String) -> io::Result<()> {
    let (reader, mut writer) = stream.split();
    let mut lines = BufReader::new(reader).lines();
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{text}",
        text.len()
    );
    while let Some(line) = lines.next_line().await? {
        // The empty line ends a request.
        if line.is_empty() {
            writer.write_all(answer.as_bytes()).await?;
        }
    }
    Ok(())
}
