//! Bytes of a file as records: unpacked, decoded to UTF-8, cut into lines, none longer than memory allows.
//!
//! CSV is cut here and not by a library, because a record that never ends (an unclosed quote, a line of
//! 10 MB) must be one refused record and not the rest of the file: RFC 4180 with bounds. Records are read
//! in batches that share one buffer, so that a row costs no allocation of its own.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use encoding_rs::{CoderResult, Decoder, Encoding};

use crate::error::IngestError;

/// A record longer than this is refused.
const RECORD_MAX: usize = 1 << 20;
/// Of a refused record so much is kept.
const KEPT_MAX: usize = 64 << 10;
/// Lines that a quoted value may join.
const LINES_MAX: usize = 1000;
/// A batch ends with the record that reaches one of these.
const BATCH_BYTES: usize = 1 << 20;
const BATCH_RECORDS: usize = 8192;

/// One record: a line, or the lines that a quoted value joins, without the line's end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record<'b> {
    /// Its first line, from 1.
    pub(crate) line: u64,
    /// Its bytes.
    pub(crate) bytes: &'b [u8],
    /// Why it cannot be used at all.
    pub(crate) fault: Option<&'static str>,
}

/// Records that were read together.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    lines: Vec<Line>,
    /// Why reading ended before the file did, and the line and bytes that it ended in.
    cut: Option<(String, u64, usize)>,
}

#[derive(Debug, Clone, Copy)]
struct Line {
    number: u64,
    start: usize,
    end: usize,
    fault: Option<&'static str>,
}

impl Batch {
    /// The records in their order.
    pub(crate) fn records(&self) -> impl Iterator<Item = Record<'_>> {
        self.lines.iter().map(|line| Record {
            line: line.number,
            bytes: &self.bytes[line.start..line.end],
            fault: line.fault,
        })
    }

    /// Where the file broke off: why, and what had been read of the record that it broke off in.
    pub(crate) fn cut(&self) -> Option<(&str, Record<'_>)> {
        let (fault, line, start) = self.cut.as_ref()?;
        let end = self.bytes.len().min(start + KEPT_MAX);
        Some((fault, Record { line: *line, bytes: &self.bytes[*start..end], fault: None }))
    }
}

/// Reads records from a file.
pub(crate) struct Records {
    input: BufReader<Box<dyn Read + Send>>,
    line: u64,
    quotes: bool,
    ended: bool,
    /// Lines that were read to find the end of a quote that never came: number, bytes, fault.
    pushed_back: VecDeque<(u64, Vec<u8>, Option<&'static str>)>,
}

impl Records {
    /// Opens a file; `.gz` and `.zst` are unpacked, `quotes` says whether a quote joins lines.
    pub(crate) fn open(path: &Path, encoding: &str, quotes: bool) -> Result<Self, IngestError> {
        let io = |source| IngestError::Io { path: path.to_owned(), source };
        let unknown = || IngestError::UnknownEncoding { label: encoding.to_owned() };
        let known = Encoding::for_label(encoding.as_bytes()).ok_or_else(unknown)?;
        let file = File::open(path).map_err(io)?;
        let end = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        let unpacked: Box<dyn Read + Send> = match end.as_str() {
            "gz" => Box::new(flate2::read::MultiGzDecoder::new(BufReader::new(file))),
            "zst" => Box::new(zstd::stream::read::Decoder::new(file).map_err(io)?),
            _ => Box::new(file),
        };
        Self::new(unpacked, known, quotes).map_err(io)
    }

    fn new(input: Box<dyn Read + Send>, encoding: &'static Encoding, quotes: bool) -> io::Result<Self> {
        let mut start = BufReader::with_capacity(1 << 18, input);
        // A byte order mark is stronger than the setting.
        let head = start.fill_buf()?;
        let (encoding, mark) = Encoding::for_bom(head).unwrap_or((encoding, 0));
        start.consume(mark);
        let input: Box<dyn Read + Send> = match encoding == encoding_rs::UTF_8 {
            true => Box::new(start),
            false => Box::new(Transcoder::new(start, encoding)),
        };
        let input = BufReader::with_capacity(1 << 18, input);
        Ok(Self { input, line: 0, quotes, ended: false, pushed_back: VecDeque::new() })
    }

    /// The next records; `None` at the end.
    pub(crate) fn next_batch(&mut self) -> Option<Batch> {
        self.batch_of(BATCH_RECORDS)
    }

    /// The first record alone, where names of columns stand.
    pub(crate) fn first(&mut self) -> Option<Batch> {
        self.batch_of(1)
    }

    fn batch_of(&mut self, most: usize) -> Option<Batch> {
        let mut batch = Batch::default();
        while !self.ended && batch.lines.len() < most && batch.bytes.len() < BATCH_BYTES {
            let start = batch.bytes.len();
            match self.next_record(&mut batch.bytes) {
                Ok(Some(line)) => batch.lines.push(line),
                Ok(None) => self.ended = true,
                Err(fault) => {
                    batch.cut = Some((fault.to_string(), self.line + 1, start));
                    self.ended = true;
                }
            }
        }
        (!batch.lines.is_empty() || batch.cut.is_some()).then_some(batch)
    }

    fn next_record(&mut self, bytes: &mut Vec<u8>) -> io::Result<Option<Line>> {
        let Some(first) = self.next_line(bytes)? else { return Ok(None) };
        if !self.quotes || first.fault.is_some() || !odd_quotes(&bytes[first.start..]) {
            return Ok(Some(first));
        }
        let mut joined = Vec::new();
        while bytes.len() - first.start < RECORD_MAX && joined.len() < LINES_MAX {
            bytes.push(b'\n');
            let Some(line) = self.next_line(bytes)? else { break };
            joined.push(line);
            if line.fault.is_some() {
                break;
            }
            if odd_quotes(&bytes[line.start..]) {
                return Ok(Some(Line { end: bytes.len(), ..first }));
            }
        }
        for line in joined.into_iter().rev() {
            self.pushed_back.push_front((line.number, bytes[line.start..line.end].to_vec(), line.fault));
        }
        bytes.truncate(first.end);
        Ok(Some(Line { fault: Some("a quote is opened and never closed"), ..first }))
    }

    /// Puts the next line behind `bytes`.
    fn next_line(&mut self, bytes: &mut Vec<u8>) -> io::Result<Option<Line>> {
        let start = bytes.len();
        if let Some((number, line, fault)) = self.pushed_back.pop_front() {
            bytes.extend_from_slice(&line);
            return Ok(Some(Line { number, start, end: bytes.len(), fault }));
        }
        let read = (&mut self.input).take(RECORD_MAX as u64 + 1).read_until(b'\n', bytes)?;
        if read == 0 {
            return Ok(None);
        }
        self.line += 1;
        let mut fault = None;
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
            if bytes.len() > start && bytes.last() == Some(&b'\r') {
                bytes.pop();
            }
        } else if bytes.len() - start > RECORD_MAX {
            self.skip_line()?;
            bytes.truncate(start + KEPT_MAX);
            fault = Some("the line is longer than 1 MiB");
        }
        Ok(Some(Line { number: self.line, start, end: bytes.len(), fault }))
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

/// Whether a quote is opened and not closed, or closed that was opened before.
fn odd_quotes(bytes: &[u8]) -> bool {
    // Sums of bytes in groups small enough not to run over: what compilers turn into wide instructions.
    let in_group = |group: &[u8]| group.iter().map(|&byte| u8::from(byte == b'"')).sum::<u8>();
    bytes.chunks(255).fold(0, |odd, group| odd ^ (in_group(group) & 1)) == 1
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

    /// Line, text and whether it is refused, of each record.
    fn records(bytes: &'static [u8], encoding: &str) -> Vec<(u64, String, bool)> {
        let encoding = Encoding::for_label(encoding.as_bytes()).unwrap();
        let mut records = Records::new(Box::new(bytes), encoding, true).unwrap();
        let mut found = Vec::new();
        while let Some(batch) = records.next_batch() {
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            found.extend(batch.records().map(|r| (r.line, text(r.bytes), r.fault.is_some())));
        }
        found
    }

    #[test]
    fn a_quoted_value_may_hold_lines() {
        let found = records(b"a,\"two\r\nlines\"\nnext\r\n", "utf-8");
        assert_eq!(found, [(1, "a,\"two\nlines\"".into(), false), (3, "next".into(), false)]);
    }

    #[test]
    fn a_quote_that_never_closes_costs_one_line() {
        let found = records(b"a\n\"open\nb\nc\n", "utf-8");
        let expected = [(1, "a", false), (2, "\"open", true), (3, "b", false), (4, "c", false)];
        assert_eq!(found, expected.map(|(line, text, refused)| (line, text.to_owned(), refused)));
    }

    #[test]
    fn marks_and_encodings_are_understood() {
        assert_eq!(records(b"\xEF\xBB\xBFa\n", "utf-8")[0].1, "a");
        assert_eq!(records(b"ma\xF1ana\n", "windows-1252")[0].1, "mañana");
        assert_eq!(records(b"\xFF\xFEa\0\n\0b\0", "utf-8")[1].1, "b");
    }

    #[test]
    fn what_had_been_read_of_the_last_record_is_kept() {
        struct Breaks(&'static [u8]);
        impl Read for Breaks {
            fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
                match self.0.read(out)? {
                    0 => Err(io::ErrorKind::UnexpectedEof.into()),
                    read => Ok(read),
                }
            }
        }
        let mut records = Records::new(Box::new(Breaks(b"a\nhal")), encoding_rs::UTF_8, true).unwrap();
        let batch = records.next_batch().unwrap();
        assert_eq!(batch.records().count(), 1);
        let (_, record) = batch.cut().unwrap();
        assert_eq!((record.line, record.bytes), (2, b"hal".as_slice()));
        assert!(records.next_batch().is_none());
    }
}
