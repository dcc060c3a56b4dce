//! A TCP proxy whose way back is slow: each byte of the server arrives later, in order, however many there are.

use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::{mpsc as queue, oneshot};
use tokio::time::{Instant, sleep_until};

/// Ends with the value, and its connections with it.
pub struct SlowProxy {
    pub address: SocketAddr,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl SlowProxy {
    /// Everything that `server` says comes `late`.
    pub fn start(server: SocketAddr, late: Duration) -> Self {
        let (end, ended) = oneshot::channel::<()>();
        let (addresses, address) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                addresses.send(listener.local_addr().unwrap()).unwrap();
                let serve = async {
                    loop {
                        let (client, _) = listener.accept().await.unwrap();
                        tokio::spawn(join(client, server, late));
                    }
                };
                tokio::select! {
                    () = serve => {}
                    _dropped = ended => {}
                }
            });
        });
        Self { address: address.recv().unwrap(), end: Some(end), thread: Some(thread) }
    }
}

impl Drop for SlowProxy {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the proxy's thread did not panic");
        }
    }
}

/// Until one side closes.
async fn join(client: TcpStream, server: SocketAddr, late: Duration) {
    let Ok(server) = TcpStream::connect(server).await else { return };
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    let (sender, mut waiting) = queue::unbounded_channel::<(Instant, Vec<u8>)>();
    let there = tokio::io::copy(&mut from_client, &mut to_server);
    let read = async {
        let mut chunk = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = from_server.read(&mut chunk).await {
            if sender.send((Instant::now() + late, chunk[..length].to_vec())).is_err() {
                return;
            }
        }
    };
    let back = async {
        while let Some((due, bytes)) = waiting.recv().await {
            sleep_until(due).await;
            if to_client.write_all(&bytes).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        _closed = there => {}
        () = read => {}
        () = back => {}
    }
}
