//! A client that asks all the time and notes who answers.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The longest wait for any change.
const DEADLINE: Duration = Duration::from_secs(30);
/// A server that has not answered for so long, while others did, answers no more.
const SILENCE: Duration = Duration::from_millis(60);

/// A thread that asks, one request per connection, until it is dropped.
pub struct Probe {
    answers: Receiver<Answer>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

struct Answer {
    at: Instant,
    by: String,
}

impl Probe {
    /// Asks `address`. While nobody listens there it tries again.
    pub fn start(address: SocketAddr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (sender, answers) = channel();
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let Ok(by) = ask(address) else {
                    std::thread::sleep(Duration::from_micros(100));
                    continue;
                };
                if sender.send(Answer { at: Instant::now(), by }).is_err() {
                    return;
                }
            }
        });
        Self { answers, stop, thread: Some(thread) }
    }

    /// When the first answer of `name` came.
    pub fn first_answer_of(&self, name: &str) -> Instant {
        let end = Instant::now() + DEADLINE;
        loop {
            let answer = self.next(end, name);
            if answer.by == name {
                return answer.at;
            }
        }
    }

    /// When the last answer of `name` came, after others alone have answered for a while; `begin` when none has come
    /// since.
    pub fn last_answer_of(&self, name: &str, begin: Instant) -> Instant {
        let end = begin + DEADLINE;
        let mut last = begin;
        loop {
            let answer = self.next(end, name);
            if answer.by == name {
                last = last.max(answer.at);
            } else if answer.at.saturating_duration_since(last) > SILENCE {
                return last;
            }
        }
    }

    fn next(&self, end: Instant, name: &str) -> Answer {
        let left = end.saturating_duration_since(Instant::now());
        assert!(!left.is_zero(), "the answers of {name} did not change within {DEADLINE:?}");
        self.answers.recv_timeout(left).expect("an answer in time")
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// One request; gives the body, which is the server's name.
fn ask(address: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.1 200 ") => Ok(body.to_owned()),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}
