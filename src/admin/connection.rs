//! One client of the control socket: line by line, with a limit on everything that it does.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize as _, Serialize};
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

use super::exposition::{Format, encode};
use super::history::{EventsAnswer, EventsQuery, Reader};
use super::inquiry::Inquiry;
use super::origin::Origins;
use super::protocol::{Command, Failure, FailureCode, Hello, Reply};
use super::request::{Answer, Asked, Asker, StatusAnswer, Told};
use super::status::StatusQuery;
use super::why::{Why, WhyTold};

/// The longest line of a client, in bytes.
const LONGEST_LINE: u64 = 16 * 1024;
/// How long a client may take to send a whole line.
const LINE_LIMIT: Duration = Duration::from_secs(5);
/// How long a client may take to read one.
const WRITE_LIMIT: Duration = Duration::from_secs(10);

/// How often a client that waits is told so: it may have left, and takes silence for a fault.
const REMIND_EVERY: Duration = Duration::from_secs(10);
/// What is waited for as long as the loop has said nothing.
const BUSY: &str = "ProxyMgr, which is busy";

/// What one that follows waits for.
const NEWS: &str = "the next change";

/// A client that is served.
#[derive(Debug)]
pub(super) struct Connection {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    requests: mpsc::Sender<Asked>,
}

enum Line {
    Whole(Vec<u8>),
    TooLong,
    /// The client is gone.
    End,
}

impl Connection {
    pub(super) fn new(stream: UnixStream, requests: mpsc::Sender<Asked>) -> Self {
        let (reader, writer) = stream.into_split();
        Self { reader: BufReader::with_capacity(1024, reader), writer, requests }
    }

    /// Serves the client until it leaves, is silent for too long, or sends what is no line.
    pub(super) async fn serve(mut self, hello: &Hello) -> io::Result<()> {
        self.say(&Reply::<()>::Hello(hello.clone())).await?;
        loop {
            let failure = match timeout(LINE_LIMIT, self.line()).await {
                Ok(line) => match line? {
                    Line::Whole(line) => {
                        self.request(&line).await?;
                        continue;
                    }
                    Line::End => return Ok(()),
                    Line::TooLong => {
                        let message = format!("the line is longer than {LONGEST_LINE} bytes");
                        Failure::new(FailureCode::Malformed, message)
                    }
                },
                Err(_elapsed) => {
                    let message = format!("no whole line came within {LINE_LIMIT:?}");
                    Failure::new(FailureCode::Slow, message)
                }
            };
            return self.say(&Reply::<()>::Error(failure)).await;
        }
    }

    async fn line(&mut self) -> io::Result<Line> {
        let mut line = Vec::new();
        (&mut self.reader).take(LONGEST_LINE).read_until(b'\n', &mut line).await?;
        let is_full = line.len() as u64 == LONGEST_LINE;
        Ok(match line.pop() {
            Some(b'\n') => Line::Whole(line),
            Some(_) if is_full => Line::TooLong,
            Some(_) | None => Line::End,
        })
    }

    async fn request(&mut self, line: &[u8]) -> io::Result<()> {
        match Inquiry::from_line(line) {
            Ok(Inquiry::Command(command)) => match self.ask(command.clone()).await? {
                Ok(answer) => self.tell(&command, answer).await,
                Err(failure) => self.say(&Reply::<()>::Error(failure)).await,
            },
            Ok(Inquiry::Why { service, server }) => self.why(service, server).await,
            Err(failure) => self.say(&Reply::<()>::Error(failure)).await,
        }
    }

    /// The loop's answer; until it comes the client is told what it waits for.
    async fn ask(&mut self, command: Command) -> io::Result<Result<Answer, Failure>> {
        let (asker, mut hearing) = Asker::new();
        // Of a loop that has ended the asker, which comes back and is dropped, tells.
        drop(self.requests.send(Asked { command, asker }).await);
        let mut waits_for = BUSY.to_owned();
        loop {
            match timeout(REMIND_EVERY, hearing.next()).await.unwrap_or(Told::Nothing) {
                Told::Nothing => self.say(&Reply::<()>::WaitingFor(waits_for.clone())).await?,
                Told::WaitingFor(what) => {
                    waits_for.clone_from(&what);
                    self.say(&Reply::<()>::WaitingFor(what)).await?;
                }
                Told::Answered(answer) => return Ok(answer),
            }
        }
    }

    async fn tell(&mut self, command: &Command, answer: Answer) -> io::Result<()> {
        match answer {
            Answer::Said(said) => self.say(&Reply::Result(said)).await,
            Answer::Status(answer) => self.say_status(answer).await,
            Answer::Events(events) => self.say_events(command, &events).await,
            Answer::Metrics(families) => {
                let text = encode(&families, Format::OpenMetrics);
                self.say(&Reply::Result(json!({"text": text}))).await
            }
        }
    }

    /// Tells what `why --json` prints.
    async fn why(&mut self, service: String, server: Option<String>) -> io::Result<()> {
        let query = StatusQuery { service: Some(service.clone()), servers: true };
        let why = match self.ask(Command::Status(query)).await? {
            // Others wait until this answer is put away.
            Ok(Answer::Status(answer)) => {
                Why::of(&answer.status, server.as_deref()).map(|why| WhyTold::of(&why))
            }
            Ok(Answer::Said(_) | Answer::Events(_) | Answer::Metrics(_)) => {
                let message = "ProxyMgr gave an answer to another question; this is a defect";
                Err(Failure::new(FailureCode::Internal, message))
            }
            Err(failure) => Err(failure),
        };
        let why = match why {
            Ok(why) => why,
            Err(failure) => return self.say(&Reply::<()>::Error(failure)).await,
        };
        // A service that was never defined, and one that has just gone, have none.
        let origin = match self.ask(Command::Origin { service, server }).await? {
            Ok(Answer::Said(origins)) => Origins::deserialize(origins).ok(),
            Ok(Answer::Status(_) | Answer::Events(_) | Answer::Metrics(_)) | Err(_) => None,
        };
        self.say(&Reply::Result(why.with(origin.as_ref()))).await
    }

    /// Megabytes, where there are many servers: they are not written by the loop's thread.
    async fn say_status(&mut self, answer: Arc<StatusAnswer>) -> io::Result<()> {
        let line = spawn_blocking(move || {
            let line = line_of(&Reply::Result(&answer.status));
            line.map(|line| (line, answer))
        });
        let (line, _turn) = line.await.map_err(io::Error::other)??;
        self.write(&line).await
    }

    async fn say_events(&mut self, command: &Command, events: &Reader) -> io::Result<()> {
        let Command::Events(query) = command else { return Ok(()) };
        if query.follow {
            return self.follow(query, events).await;
        }
        let (query, events) = (query.clone(), events.clone());
        let line = spawn_blocking(move || line_of(&Reply::Result(&EventsAnswer::of(&events.select(&query)))));
        let line = line.await.map_err(io::Error::other)??;
        self.write(&line).await
    }

    /// Tells each change as it comes until the client leaves, or asks something else.
    async fn follow(&mut self, query: &EventsQuery, events: &Reader) -> io::Result<()> {
        let mut news = events.watch();
        let mut query = query.clone();
        loop {
            let mut seen = *news.borrow_and_update();
            for change in events.select(&query) {
                seen = seen.max(change.number);
                self.say(&Reply::Event(&*change)).await?;
            }
            (query.after, query.last) = (Some(seen), None);
            tokio::select! {
                changed = news.changed() => if changed.is_err() {
                    return Ok(());
                },
                // Nothing comes at the end of the connection, which the next look for a line finds.
                _more = self.reader.fill_buf() => return Ok(()),
                () = sleep(REMIND_EVERY) => self.say(&Reply::<()>::WaitingFor(NEWS.to_owned())).await?,
            }
        }
    }

    async fn say<R: Serialize>(&mut self, reply: &Reply<R>) -> io::Result<()> {
        self.write(&line_of(reply)?).await
    }

    async fn write(&mut self, line: &[u8]) -> io::Result<()> {
        timeout(WRITE_LIMIT, self.writer.write_all(line)).await.map_err(io::Error::from)?
    }
}

/// The line that says it.
pub(super) fn line_of<R: Serialize>(reply: &Reply<R>) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(reply)?;
    line.push(b'\n');
    Ok(line)
}
