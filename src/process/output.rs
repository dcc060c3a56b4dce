//! What a child prints, line by line.
//!
//! `HAProxy` stops serving while it waits for a full stderr. So the pipe's write end never blocks, its read end is always
//! drained, and lines that nobody takes are dropped and counted.

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::sync::mpsc;

use crate::panics::supervised;

/// The longest line passed on, in bytes; the rest of a longer one is cut.
pub const MAX_LINE_BYTES: usize = 4096;
/// How many lines wait for a reader before further ones are dropped.
const MAX_WAITING_LINES: usize = 512;
const CHUNK_BYTES: usize = 8192;

/// A line of a child's output: valid UTF-8, control characters escaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputLine {
    /// The text without its line feed.
    pub text: String,
    /// How many lines before this one were dropped because nobody took them.
    pub dropped_before: u64,
}

/// The lines of one child, in order. Not reading them never holds the child up.
#[derive(Debug)]
pub struct OutputLines(mpsc::Receiver<OutputLine>);

impl OutputLines {
    /// The next line; `None` once the child and all that it started have closed their output. Cancel safe.
    pub async fn next(&mut self) -> Option<OutputLine> {
        self.0.recv().await
    }
}

/// Drains `pipe` in a task of the current tokio runtime until its end.
pub(super) fn drain(pipe: pipe::Receiver) -> OutputLines {
    let (sender, receiver) = mpsc::channel(MAX_WAITING_LINES);
    tokio::spawn(supervised("output of a child", (pipe, sender), |(pipe, sender)| {
        Box::pin(drain_until_closed(pipe, sender))
    }));
    OutputLines(receiver)
}

async fn drain_until_closed(pipe: &mut pipe::Receiver, sender: &mpsc::Sender<OutputLine>) {
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut lines = LineSplitter::default();
    let mut dropped = 0_u64;
    let mut deliver = |text: String| match sender.try_send(OutputLine { text, dropped_before: dropped }) {
        Ok(()) => dropped = 0,
        Err(_full_or_closed) => dropped = dropped.saturating_add(1),
    };
    // A read error means what an end means: nothing more can come.
    while let Ok(length @ 1..) = pipe.read(&mut chunk).await {
        lines.split(chunk.get(..length).unwrap_or_default(), &mut deliver);
        // Lets the reader take these lines before the next come.
        tokio::task::yield_now().await;
    }
    lines.end(&mut deliver);
}

/// Cuts chunks of bytes into printable lines.
#[derive(Default)]
struct LineSplitter {
    line: Vec<u8>,
    cut: bool,
}

impl LineSplitter {
    fn split(&mut self, chunk: &[u8], deliver: &mut impl FnMut(String)) {
        for part in chunk.split_inclusive(|byte| *byte == b'\n') {
            let (text, ended) = part.strip_suffix(b"\n").map_or((part, false), |text| (text, true));
            let room = MAX_LINE_BYTES.saturating_sub(self.line.len());
            self.cut |= text.len() > room;
            self.line.extend_from_slice(text.get(..room).unwrap_or(text));
            if ended {
                self.deliver_line(deliver);
            }
        }
    }

    fn end(&mut self, deliver: &mut impl FnMut(String)) {
        if !self.line.is_empty() {
            self.deliver_line(deliver);
        }
    }

    fn deliver_line(&mut self, deliver: &mut impl FnMut(String)) {
        let mut text = printable(&self.line);
        if self.cut {
            text.push_str(" [cut]");
        }
        self.line.clear();
        self.cut = false;
        deliver(text);
    }
}

fn printable(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line));
    if !text.contains(char::is_control) {
        return text.into_owned();
    }
    text.chars().fold(String::with_capacity(text.len()), |mut printable, c| {
        if c.is_control() {
            printable.extend(c.escape_default());
        } else {
            printable.push(c);
        }
        printable
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines(chunks: &[&[u8]]) -> Vec<String> {
        let (mut splitter, mut lines) = (LineSplitter::default(), Vec::new());
        for chunk in chunks {
            splitter.split(chunk, &mut |line| lines.push(line));
        }
        splitter.end(&mut |line| lines.push(line));
        lines
    }

    #[test]
    fn lines_may_come_in_pieces_and_without_an_end() {
        assert_eq!(lines(&[b"on", b"e\ntw", b"o\r\n\nend"]), ["one", "two", "", "end"]);
    }

    #[test]
    fn terminal_escapes_and_broken_utf8_can_not_reach_the_log() {
        assert_eq!(lines(&[b"\x1b[2J\tx\xff\n"]), ["\\u{1b}[2J\\tx\u{fffd}"]);
    }

    #[test]
    fn a_long_line_is_cut_once_and_the_next_is_whole() {
        let long = vec![b'x'; 3 * MAX_LINE_BYTES];
        let got = lines(&[&long, &long, b"\nnext\n"]);
        assert_eq!(got, [format!("{} [cut]", "x".repeat(MAX_LINE_BYTES)), "next".to_owned()]);
    }

    proptest! {
        #[test]
        fn how_the_bytes_are_cut_into_chunks_changes_nothing(bytes in prop::collection::vec(any::<u8>(), 0..200), at in 0_usize..200) {
            let at = at.min(bytes.len());
            prop_assert_eq!(lines(&[&bytes]), lines(&[&bytes[..at], &bytes[at..]]));
        }
    }
}
