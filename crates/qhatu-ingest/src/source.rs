//! Bytes of a file as records: unpacked, decoded to UTF-8, cut into lines, none longer than memory allows.
//!
//! CSV is cut here and not by a library, because a record that never ends (an unclosed quote, a line of
//! 10 MB) must be one refused record and not the rest of the file: RFC 4180 with bounds.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use encoding_rs::{CoderResult, Decoder, Encoding};

use crate::error::IngestError;

/// A record longer than this is refused.
const RECORD_MAX: usize = 1 << 20;
/// Of a refused record so much is kept.
const KEPT_MAX: usize = 64 << 10;

/// One record: a line, or the lines that a quoted value joins.
#[derive(Debug, Default)]
pub(crate) struct Record {
    /// Its first line, from 1.
    pub(crate) line: u64,
    /// Its bytes without the line's end.
    pub(crate) bytes: Vec<u8>,
    /// Why it cannot be used at all.
    pub(crate) fault: Option<&'static str>,
}

/// Reads records from a file.
pub(crate) struct Records {
    input: BufReader<Box<dyn Read>>,
    line: u64,
    quotes: bool,
    /// Lines that were read to find the end of a quote that never came.
    pushed_back: std::collections::VecDeque<Record>,
}

impl Records {
    /// Opens a file; `.gz` and `.zst` are unpacked, `quotes` says whether a quote joins lines.
    pub(crate) fn open(path: &Path, encoding: &str, quotes: bool) -> Result<Self, IngestError> {
        let io = |source| IngestError::Io { path: path.to_owned(), source };
        let file = File::open(path).map_err(io)?;
        let unpacked: Box<dyn Read> = match path.extension().and_then(|end| end.to_str()) {
            Some("gz") => Box::new(flate2::read::MultiGzDecoder::new(BufReader::new(file))),
            Some("zst") => Box::new(zstd::stream::read::Decoder::new(file).map_err(io)?),
            _ => Box::new(file),
        };
        let unknown = || IngestError::UnknownEncoding { label: encoding.to_owned() };
        let known = Encoding::for_label(encoding.as_bytes()).ok_or_else(unknown)?;
        Self::new(unpacked, known, quotes).map_err(io)
    }

    fn new(input: Box<dyn Read>, encoding: &'static Encoding, quotes: bool) -> io::Result<Self> {
        let mut start = BufReader::new(input);
        // A byte order mark is stronger than the setting.
        let head = start.fill_buf()?;
        let (encoding, mark) = Encoding::for_bom(head).unwrap_or((encoding, 0));
        start.consume(mark);
        let input: Box<dyn Read> = match encoding == encoding_rs::UTF_8 {
            true => Box::new(start),
            false => Box::new(Transcoder::new(start, encoding)),
        };
        let input = BufReader::with_capacity(1 << 18, input);
        Ok(Self { input, line: 0, quotes, pushed_back: Default::default() })
    }

    /// The next record; `None` at the end.
    pub(crate) fn next(&mut self) -> io::Result<Option<Record>> {
        let Some(mut record) = self.next_line()? else { return Ok(None) };
        if !self.quotes || record.fault.is_some() || !open_quote(&record.bytes) {
            return Ok(Some(record));
        }
        let mut joined = record.bytes.clone();
        let mut lines = Vec::new();
        while joined.len() < RECORD_MAX && lines.len() < 1000 {
            let Some(line) = self.next_line()? else { break };
            joined.push(b'\n');
            joined.extend_from_slice(&line.bytes);
            let faulty = line.fault.is_some();
            lines.push(line);
            if faulty {
                break;
            }
            if !open_quote(&joined) {
                record.bytes = joined;
                return Ok(Some(record));
            }
        }
        lines.into_iter().rev().for_each(|line| self.pushed_back.push_front(line));
        record.fault = Some("a quote is opened and never closed");
        Ok(Some(record))
    }

    fn next_line(&mut self) -> io::Result<Option<Record>> {
        if let Some(line) = self.pushed_back.pop_front() {
            return Ok(Some(line));
        }
        let mut record = Record { line: self.line + 1, ..Record::default() };
        let read = (&mut self.input).take(RECORD_MAX as u64 + 1).read_until(b'\n', &mut record.bytes)?;
        if read == 0 {
            return Ok(None);
        }
        self.line += 1;
        if record.bytes.last() == Some(&b'\n') {
            record.bytes.pop();
            if record.bytes.last() == Some(&b'\r') {
                record.bytes.pop();
            }
        } else if record.bytes.len() > RECORD_MAX {
            self.skip_line()?;
            record.bytes.truncate(KEPT_MAX);
            record.fault = Some("the line is longer than 1 MiB");
        }
        Ok(Some(record))
    }

    fn skip_line(&mut self) -> io::Result<()> {
        loop {
            let buffer = self.input.fill_buf()?;
            if buffer.is_empty() {
                return Ok(());
            }
            let end = buffer.iter().position(|&byte| byte == b'\n');
            let used = end.map_or(buffer.len(), |end| end + 1);
            self.input.consume(used);
            if end.is_some() {
                return Ok(());
            }
        }
    }
}

/// Whether a quote is still open at the end.
fn open_quote(bytes: &[u8]) -> bool {
    bytes.iter().filter(|&&byte| byte == b'"').count() % 2 == 1
}

/// Cuts a CSV record into its values; quoted ones lose their quotes. Values are ranges of `text` where
/// nothing has to be changed.
pub(crate) fn split_csv<'a>(text: &'a str, delimiter: u8, values: &mut Vec<std::borrow::Cow<'a, str>>) {
    values.clear();
    let bytes = text.as_bytes();
    let mut at = 0;
    loop {
        if bytes.get(at) == Some(&b'"') {
            let mut end = at + 1;
            let mut doubled = false;
            while end < bytes.len() {
                match (bytes[end], bytes.get(end + 1)) {
                    (b'"', Some(b'"')) => {
                        doubled = true;
                        end += 2;
                    }
                    (b'"', _) => break,
                    _ => end += 1,
                }
            }
            let inner = &text[at + 1..end.min(bytes.len())];
            let value = if doubled { inner.replace("\"\"", "\"").into() } else { inner.into() };
            values.push(value);
            at = end.min(bytes.len());
            while at < bytes.len() && bytes[at] != delimiter {
                at += 1;
            }
        } else {
            let length = bytes[at..].iter().position(|&byte| byte == delimiter);
            let end = length.map_or(bytes.len(), |length| at + length);
            values.push(text[at..end].into());
            at = end;
        }
        if at >= bytes.len() {
            return;
        }
        at += 1;
    }
}

/// Turns another encoding into UTF-8 while reading; what is no character becomes U+FFFD.
struct Transcoder<R> {
    input: R,
    decoder: Decoder,
    ready: Vec<u8>,
    used: usize,
    ended: bool,
}

impl<R: BufRead> Transcoder<R> {
    fn new(input: R, encoding: &'static Encoding) -> Self {
        let decoder = encoding.new_decoder_without_bom_handling();
        Self { input, decoder, ready: Vec::new(), used: 0, ended: false }
    }

    fn refill(&mut self) -> io::Result<()> {
        self.ready.resize(1 << 16, 0);
        self.used = 0;
        let raw = self.input.fill_buf()?;
        self.ended = raw.is_empty();
        let (result, read, written, _) = self.decoder.decode_to_utf8(raw, &mut self.ready, self.ended);
        self.ready.truncate(written);
        if result == CoderResult::OutputFull {
            self.ended = false;
        }
        self.input.consume(read);
        Ok(())
    }
}

impl<R: BufRead> Read for Transcoder<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.used == self.ready.len() && !self.ended {
            self.refill()?;
        }
        let length = out.len().min(self.ready.len() - self.used);
        out[..length].copy_from_slice(&self.ready[self.used..self.used + length]);
        self.used += length;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(bytes: &'static [u8], encoding: &str) -> Vec<Record> {
        let encoding = Encoding::for_label(encoding.as_bytes()).unwrap();
        let mut records = Records::new(Box::new(bytes), encoding, true).unwrap();
        std::iter::from_fn(|| records.next().unwrap()).collect()
    }

    fn cut(text: &str) -> Vec<String> {
        let mut values = Vec::new();
        split_csv(text, b',', &mut values);
        values.into_iter().map(|value| value.into_owned()).collect()
    }

    #[test]
    fn values_are_cut_as_rfc_4180_says() {
        assert_eq!(cut("a,b,"), ["a", "b", ""]);
        assert_eq!(cut(r#""a,b",c"#), ["a,b", "c"]);
        assert_eq!(cut(r#""say ""hi""",x"#), [r#"say "hi""#, "x"]);
        assert_eq!(cut(""), [""]);
        assert_eq!(cut(r#""open"#), ["open"]);
    }

    #[test]
    fn a_quoted_value_may_hold_lines() {
        let found = records(b"a,\"two\nlines\"\nnext\r\n", "utf-8");
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].line, found[0].bytes.as_slice()), (1, b"a,\"two\nlines\"".as_slice()));
        assert_eq!((found[1].line, found[1].bytes.as_slice()), (3, b"next".as_slice()));
    }

    #[test]
    fn a_quote_that_never_closes_costs_one_line() {
        let found = records(b"a\n\"open\nb\nc\n", "utf-8");
        let faults: Vec<bool> = found.iter().map(|record| record.fault.is_some()).collect();
        assert_eq!(faults, [false, true, false, false]);
    }

    #[test]
    fn marks_and_encodings_are_understood() {
        assert_eq!(records(b"\xEF\xBB\xBFa\n", "utf-8")[0].bytes, b"a");
        assert_eq!(records(b"ma\xF1ana\n", "windows-1252")[0].bytes, "mañana".as_bytes());
        assert_eq!(records(b"\xFF\xFEa\0\n\0b\0", "utf-8")[1].bytes, b"b");
    }
}
