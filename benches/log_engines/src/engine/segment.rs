//! Our own: frames appended to one file, each with its length and checksum; ids as 128-bit hashes and
//! places in memory, made anew at opening by reading the file. A torn frame at the end is cut off.
//!
//! ```text
//! length of the rest: u32 | CRC-32 of the rest: u32 | length of the id: u16 | id | body
//! ```

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustc_hash::FxHashSet;

use super::{Engine, hash};
use crate::group::Entry;

const FRAME_BYTES_MAX: u32 = 64 * 1024 * 1024;

pub struct Segment {
    file: File,
    /// Where each frame begins, and where the next one will.
    places: Vec<u64>,
    end: u64,
    ids: FxHashSet<u128>,
}

impl Segment {
    pub fn open(dir: &Path) -> Result<Self, String> {
        let path = dir.join("events.segment");
        let text = |error: std::io::Error| format!("{}: {error}", path.display());
        let file =
            File::options().create(true).truncate(false).read(true).write(true).open(&path).map_err(text)?;
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(text)?;
        let mut log = Self { file, places: Vec::new(), end: 0, ids: FxHashSet::default() };
        log.scan().map_err(text)?;
        log.file.set_len(log.end).map_err(text)?;
        log.file.seek(SeekFrom::Start(log.end)).map_err(text)?;
        Ok(log)
    }

    fn scan(&mut self) -> std::io::Result<()> {
        let mut reader = BufReader::with_capacity(1 << 20, &self.file);
        let mut rest = Vec::new();
        while let Some(id) = next_frame(&mut reader, &mut rest)? {
            self.places.push(self.end);
            self.ids.insert(id);
            self.end += 8 + rest.len() as u64;
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.file.write_all(bytes)?;
        self.file.sync_data()
    }
}

/// The hash of the next whole frame's id; none at the end or where a frame is torn.
fn next_frame(reader: &mut impl Read, rest: &mut Vec<u8>) -> std::io::Result<Option<u128>> {
    let mut head = [0; 8];
    if !filled(reader, &mut head)? {
        return Ok(None);
    }
    let [a, b, c, d, e, f, g, h] = head;
    let length = u32::from_le_bytes([a, b, c, d]);
    if !(2..=FRAME_BYTES_MAX).contains(&length) {
        return Ok(None);
    }
    rest.resize(length as usize, 0);
    if !filled(reader, rest)? || crc32fast::hash(rest) != u32::from_le_bytes([e, f, g, h]) {
        return Ok(None);
    }
    let id_length = usize::from(u16::from_le_bytes([rest[0], rest[1]]));
    let id = rest.get(2..2 + id_length).and_then(|id| std::str::from_utf8(id).ok());
    Ok(id.map(hash))
}

fn filled(reader: &mut impl Read, bytes: &mut [u8]) -> std::io::Result<bool> {
    match reader.read_exact(bytes) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

impl Engine for Segment {
    fn append(&mut self, events: &[&Entry]) -> Result<Vec<bool>, String> {
        let mut bytes = Vec::new();
        let mut new = Vec::with_capacity(events.len());
        for event in events {
            let is_new = self.ids.insert(hash(&event.id));
            new.push(is_new);
            if !is_new {
                continue;
            }
            self.places.push(self.end + bytes.len() as u64);
            let id_length = u16::try_from(event.id.len()).map_err(|_| "an id of more than 64 KiB")?;
            let rest = [&id_length.to_le_bytes()[..], event.id.as_bytes(), &event.body].concat();
            let length = u32::try_from(rest.len()).map_err(|_| "an event of more than 4 GiB")?;
            bytes.extend_from_slice(&length.to_le_bytes());
            bytes.extend_from_slice(&crc32fast::hash(&rest).to_le_bytes());
            bytes.extend_from_slice(&rest);
        }
        if !bytes.is_empty() {
            // A fault here ends the comparison, so ids and places need not be taken back.
            self.write(&bytes).map_err(|error| error.to_string())?;
        }
        self.end += bytes.len() as u64;
        Ok(new)
    }

    fn read(&self, from: u64, limit: usize) -> Result<Vec<(u64, Vec<u8>)>, String> {
        let first = usize::try_from(from).map_err(|error| error.to_string())?.max(1) - 1;
        let last = self.places.len().min(first.saturating_add(limit));
        let Some(&begin) = self.places.get(first) else { return Ok(Vec::new()) };
        let end = self.places.get(last).copied().unwrap_or(self.end);
        let length = usize::try_from(end - begin).map_err(|error| error.to_string())?;
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, begin).map_err(|error| error.to_string())?;
        let mut rows = Vec::with_capacity(last - first);
        for row in first..last {
            let place = |at: u64| usize::try_from(at - begin).map_err(|error| error.to_string());
            let frame =
                place(self.places[row])?..place(self.places.get(row + 1).copied().unwrap_or(self.end))?;
            let frame = &bytes[frame];
            let id_length = usize::from(u16::from_le_bytes([frame[8], frame[9]]));
            rows.push((row as u64 + 1, frame[10 + id_length..].to_vec()));
        }
        Ok(rows)
    }

    fn last_offset(&self) -> Result<u64, String> {
        Ok(self.places.len() as u64)
    }
}
