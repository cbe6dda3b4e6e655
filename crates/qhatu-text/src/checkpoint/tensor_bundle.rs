//! TensorFlow's tensor bundle: `NAME.index`, a sorted table (LevelDB's format) from names to where a
//! tensor lies, and `NAME.data-00000-of-00001` with the numbers.
//!
//! Sources: `tensorflow/core/protobuf/tensor_bundle.proto` for the entries' fields, LevelDB's
//! `doc/table_format.md` for the table. Every offset, size, shape and checksum (CRC-32C of blocks and of
//! tensors) is checked before numbers are made. Blocks and tensors that share bytes are refused, so reading takes
//! memory and time in proportion to the files.

use std::path::{Path, PathBuf};

use super::weights::{Tensor, Weights};
use super::wire::{Field, Wire};
use crate::TextError;
use crate::file::read_bounded;

const MAGIC: u64 = 0xdb47_7524_8b80_fb57;
const FOOTER: usize = 48;
/// BERT-large's with both of Adam's moments holds 0.1 MB.
const MOST_INDEX_BYTES: u64 = 8 << 20;
/// A key may share its beginning with the one before, so a table may grow when it is read; names of BERT's
/// tensors are shorter than 120 bytes, and grow it by less than 4.
const MOST_KEY_BYTES: usize = 1_024;
const MOST_GROWTH: usize = 16;
/// BERT-large with both of Adam's moments holds 4 GB.
const MOST_DATA_BYTES: u64 = 8 << 30;
const FLOAT: u64 = 1;
const HALF: u64 = 19;
const BFLOAT16: u64 = 14;

/// Where a tensor lies.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Entry {
    kind: u64,
    shape: Vec<usize>,
    shard: u64,
    offset: usize,
    size: usize,
    checksum: u32,
    sliced: bool,
}

/// Reads the float tensors whose names are `wanted`.
pub(crate) fn read(prefix: &Path, wanted: impl Fn(&str) -> bool) -> Result<Weights, TextError> {
    let index_path = with_end(prefix, ".index");
    let index = read_bounded(&index_path, MOST_INDEX_BYTES)?;
    let fault = |fault: String| TextError::file(index_path.display().to_string(), fault);
    let entries = table(&index).map_err(fault)?;
    let shards = header(&entries).map_err(fault)?;
    if shards != 1 {
        return Err(fault(format!("{shards} files of data; only a checkpoint of one is read here")));
    }
    let data_path = with_end(prefix, ".data-00000-of-00001");
    let data = read_bounded(&data_path, MOST_DATA_BYTES)?;
    let mut weights = Weights::default();
    let mut unread = data.len();
    for (key, value) in &entries {
        let Ok(name) = std::str::from_utf8(key) else { continue };
        if !name.is_empty() && wanted(name) {
            let entry = entry(value).ok_or_else(|| TextError::tensor(name, "its entry is damaged"))?;
            let shared =
                || TextError::tensor(name, "shares its bytes with other tensors: the file is damaged");
            let tensor = tensor(&entry, &data).map_err(|fault| TextError::tensor(name, fault))?;
            unread = unread.checked_sub(entry.size).ok_or_else(shared)?;
            weights.tensors.insert(name.to_owned(), tensor);
        }
    }
    Ok(weights)
}

fn with_end(prefix: &Path, end: &str) -> PathBuf {
    let mut name = prefix.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}

type Table = Vec<(Vec<u8>, Vec<u8>)>;

/// All entries of a table, by its index block.
fn table(bytes: &[u8]) -> Result<Table, String> {
    let start = bytes.len().checked_sub(FOOTER).ok_or("shorter than a table's footer")?;
    let footer = &bytes[start..];
    if Wire::new(&footer[FOOTER - 8..]).number(8) != Some(MAGIC) {
        return Err("no table of TensorFlow's: its last bytes are others".to_owned());
    }
    let mut handles = Wire::new(footer);
    let (_, index) = handle(&mut handles).zip(handle(&mut handles)).ok_or("damaged footer")?;
    let mut entries = Vec::new();
    let mut unread = bytes.len();
    for (_, place) in block(bytes, index)? {
        let place = handle(&mut Wire::new(&place)).ok_or("damaged index block")?;
        unread = unread.checked_sub(place.1).ok_or("its blocks share bytes")?;
        entries.extend(block(bytes, place)?);
    }
    Ok(entries)
}

type Handle = (usize, usize);

fn handle(wire: &mut Wire) -> Option<Handle> {
    Some((wire.varint_size()?, wire.varint_size()?))
}

/// A block's entries. A key is kept as what it shares with the one before, and the rest.
fn block(bytes: &[u8], (offset, size): Handle) -> Result<Table, String> {
    let end = offset.checked_add(size).and_then(|end| end.checked_add(5));
    let whole = end.and_then(|end| bytes.get(offset..end)).ok_or("a block lies outside the file")?;
    let (content, trailer) = whole.split_at(size);
    let checksum = Wire::new(&trailer[1..]).number(4).unwrap_or(0) as u32;
    if !holds(checksum, &whole[..=size]) {
        return Err("a block's checksum does not hold".to_owned());
    }
    if trailer[0] != 0 {
        return Err(format!("a block is compressed (kind {}), which is not read here", trailer[0]));
    }
    entries(content).ok_or_else(|| "a block's entries are damaged".to_owned())
}

fn entries(content: &[u8]) -> Option<Table> {
    let count = Wire::new(content.get(content.len().checked_sub(4)?..)?).number(4)? as usize;
    let restarts = count.checked_mul(4)?.checked_add(4)?;
    let mut wire = Wire::new(content.get(..content.len().checked_sub(restarts)?)?);
    let mut entries: Table = Vec::new();
    let mut room = MOST_GROWTH.checked_mul(content.len())?;
    while !wire.is_empty() {
        let (shared, own, size) = (wire.varint_size()?, wire.varint_size()?, wire.varint_size()?);
        let mut key = match (shared, entries.last()) {
            (0, _) => Vec::new(),
            (shared, Some((before, _))) => before.get(..shared)?.to_vec(),
            _ => return None,
        };
        key.extend_from_slice(wire.take(own)?);
        room = room.checked_sub(key.len()).filter(|_| key.len() <= MOST_KEY_BYTES)?;
        entries.push((key, wire.take(size)?.to_vec()));
    }
    Some(entries)
}

/// The bundle's header, under the empty key: how many files of data there are.
fn header(entries: &Table) -> Result<u64, String> {
    let (_, value) = entries.iter().find(|(key, _)| key.is_empty()).ok_or("it has no header")?;
    let (mut shards, mut wire) = (0, Wire::new(value));
    while !wire.is_empty() {
        match wire.field().ok_or("its header is damaged")? {
            (1, Field::Number(count)) => shards = count,
            (2, Field::Number(order)) if order != 0 => return Err("its numbers are big-endian".to_owned()),
            _ => {}
        }
    }
    Ok(shards)
}

fn entry(value: &[u8]) -> Option<Entry> {
    let (mut entry, mut wire) = (Entry::default(), Wire::new(value));
    while !wire.is_empty() {
        match wire.field()? {
            (1, Field::Number(kind)) => entry.kind = kind,
            (2, Field::Bytes(shape)) => entry.shape = dimensions(shape)?,
            (3, Field::Number(shard)) => entry.shard = shard,
            (4, Field::Number(offset)) => entry.offset = usize::try_from(offset).ok()?,
            (5, Field::Number(size)) => entry.size = usize::try_from(size).ok()?,
            (6, Field::Number(checksum)) => entry.checksum = checksum as u32,
            (7, _) => entry.sliced = true,
            _ => {}
        }
    }
    Some(entry)
}

fn dimensions(shape: &[u8]) -> Option<Vec<usize>> {
    let (mut dimensions, mut wire) = (Vec::new(), Wire::new(shape));
    while !wire.is_empty() {
        if let (2, Field::Bytes(dimension)) = wire.field()? {
            let (mut size, mut wire) = (0, Wire::new(dimension));
            while !wire.is_empty() {
                if let (1, Field::Number(found)) = wire.field()? {
                    size = usize::try_from(found).ok()?;
                }
            }
            dimensions.push(size);
        }
    }
    Some(dimensions)
}

fn tensor(entry: &Entry, data: &[u8]) -> Result<Tensor, String> {
    if entry.sliced || entry.shard != 0 {
        return Err("is kept in slices, which are not read here".to_owned());
    }
    let width = match entry.kind {
        FLOAT => 4,
        HALF | BFLOAT16 => 2,
        other => return Err(format!("holds numbers of kind {other}, expected floats")),
    };
    let count = entry.shape.iter().try_fold(1_usize, |count, size| count.checked_mul(*size));
    if count.and_then(|count| count.checked_mul(width)) != Some(entry.size) {
        return Err(format!("{} bytes do not fit the shape {:?}", entry.size, entry.shape));
    }
    let end = entry.offset.checked_add(entry.size);
    let bytes = end.and_then(|end| data.get(entry.offset..end)).ok_or("lies outside the file of data")?;
    if !holds(entry.checksum, bytes) {
        return Err("its checksum does not hold: the file is damaged".to_owned());
    }
    let halves = || bytes.as_chunks::<2>().0.iter().map(|half| u16::from_le_bytes(*half));
    let values = match entry.kind {
        FLOAT => bytes.as_chunks::<4>().0.iter().map(|word| f32::from_le_bytes(*word)).collect(),
        HALF => halves().map(qhatu_nn::tensor_file::from_f16).collect(),
        _ => halves().map(qhatu_nn::tensor_file::from_bf16).collect(),
    };
    Ok(Tensor { shape: entry.shape.clone(), values })
}

/// Whether a checksum, as it is kept, is that of these bytes. A fuzzer that had to find checksums would find
/// nothing else, so there it always is.
fn holds(checksum: u32, bytes: &[u8]) -> bool {
    cfg!(fuzzing) || unmasked(checksum) == crc32c(bytes)
}

/// LevelDB turns and shifts a checksum that is kept beside what it is of.
fn unmasked(checksum: u32) -> u32 {
    checksum.wrapping_sub(0xa282_ead8).rotate_left(15)
}

/// CRC-32C (Castagnoli), table-driven.
fn crc32c(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut byte = 0;
        while byte < 256 {
            let mut crc = byte as u32;
            let mut bit = 0;
            while bit < 8 {
                crc = if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
                bit += 1;
            }
            table[byte] = crc;
            byte += 1;
        }
        table
    };
    !bytes.iter().fold(!0, |crc, byte| crc >> 8 ^ TABLE[usize::from(crc as u8 ^ byte)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn checksums_are_those_of_rfc_3720() {
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn an_entry_that_lies_is_refused() {
        let good =
            Entry { kind: FLOAT, shape: vec![2], size: 8, checksum: masked(&[0; 8]), ..Entry::default() };
        assert_eq!(tensor(&good, &[0; 8]).unwrap().values, [0.0; 2]);
        let refused = |entry: Entry, data: &[u8]| tensor(&entry, data).unwrap_err();
        assert!(refused(good.clone(), &[0; 7]).contains("outside"));
        assert!(refused(good.clone(), &[1; 8]).contains("checksum"));
        assert!(refused(Entry { kind: 9, ..good.clone() }, &[0; 8]).contains("kind 9"));
        assert!(refused(Entry { shape: vec![usize::MAX, 2], ..good.clone() }, &[0; 8]).contains("fit"));
        assert!(refused(Entry { offset: usize::MAX, ..good.clone() }, &[0; 8]).contains("outside"));
        assert!(refused(Entry { sliced: true, ..good }, &[0; 8]).contains("slices"));
    }

    /// Three bytes an entry, each with a longer key than the one before.
    #[test]
    fn a_table_that_grows_when_it_is_read_is_refused() {
        let block = |count: u32| {
            let entry = |shared: u32| {
                let mut bytes = Vec::new();
                for number in [shared, 1, 0] {
                    let (low, high) = ((number & 0x7f) as u8, (number >> 7) as u8);
                    bytes.extend(if high > 0 { vec![low | 0x80, high] } else { vec![low] });
                }
                bytes.push(b'k');
                bytes
            };
            let mut bytes: Vec<u8> = (0..count).flat_map(entry).collect();
            bytes.extend(0_u32.to_le_bytes());
            entries(&bytes)
        };
        assert_eq!(block(20).unwrap().last().unwrap().0.len(), 20);
        assert!(block(500).is_none());
    }

    fn masked(bytes: &[u8]) -> u32 {
        crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(mut bytes: Vec<u8>, magic: bool) {
            let _ = entry(&bytes);
            let _ = entries(&bytes);
            if magic && bytes.len() >= 8 {
                let end = bytes.len() - 8;
                bytes[end..].copy_from_slice(&MAGIC.to_le_bytes());
            }
            let _ = table(&bytes);
        }
    }
}
