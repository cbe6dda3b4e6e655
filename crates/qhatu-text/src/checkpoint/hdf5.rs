//! As much of HDF5 as Keras writes: groups kept as symbol tables, and whole arrays of floats.
//!
//! Keras and h5py write the oldest form of the format unless told otherwise: superblock 0, object headers 1,
//! groups as B-trees of names over a heap, contiguous data. Of the pure-Rust readers, one brings 8 packages
//! and 105,000 lines and the other 32 packages and 23,000 lines; this corner needs neither. What is kept in
//! another form (chunks, compression, newer headers) is refused by name. Source: HDF5 File Format
//! Specification, version 3.0.
//!
//! Addresses may point anywhere, so a hostile file can go round in circles or show the same bytes again and
//! again. Whatever is read is therefore paid for out of as many bytes as the file has (`File::pay`): an honest
//! file shares none of them, and work and memory are bounded by its size.

use std::cell::Cell;

use qhatu_nn::tensor_file::from_f16;

use super::weights::{Tensor, Weights};
use super::wire::Wire;

const SIGNATURE: &[u8] = b"\x89HDF\r\n\x1a\n";
/// Groups within groups; far above any model's.
const MOST_DEPTH: usize = 24;
const UNDEFINED: usize = usize::MAX;

const DATASPACE: u64 = 0x01;
const DATATYPE: u64 = 0x03;
const LAYOUT: u64 = 0x08;
const FILTERS: u64 = 0x0b;
const CONTINUATION: u64 = 0x10;
const SYMBOL_TABLE: u64 = 0x11;

/// Reads every array of floats, by its path with `/`.
pub(crate) fn read(bytes: &[u8]) -> Result<Weights, String> {
    let file = File { bytes, unpaid: Cell::new(bytes.len()) };
    let root = file.root()?;
    let mut weights = Weights::default();
    let mut open = vec![(String::new(), root, 0)];
    while let Some((path, address, depth)) = open.pop() {
        if depth > MOST_DEPTH {
            return Err("it holds groups within groups without end".to_owned());
        }
        let messages = file.messages(address).ok_or_else(|| format!("the object {path:?} is damaged"))?;
        if let Some((_, table)) = messages.iter().find(|(kind, _)| *kind == SYMBOL_TABLE) {
            let entries = file.entries(table).ok_or_else(|| format!("the group {path:?} is damaged"))?;
            for (name, address) in entries {
                let path = if path.is_empty() { name } else { format!("{path}/{name}") };
                open.push((path, address, depth + 1));
            }
        } else if messages.iter().any(|(kind, _)| *kind == LAYOUT) {
            let tensor = file.tensor(&messages).map_err(|fault| format!("the array {path:?}: {fault}"))?;
            weights.tensors.insert(path, tensor);
        }
    }
    Ok(weights)
}

/// Kind and content.
type Message<'a> = (u64, &'a [u8]);

struct File<'a> {
    bytes: &'a [u8],
    /// Bytes that nothing was read from yet, if the file shares none.
    unpaid: Cell<usize>,
}

impl<'a> File<'a> {
    /// Nothing where more was read than the file holds: then it points to the same bytes again and again.
    fn pay(&self, bytes: usize) -> Option<()> {
        self.unpaid.set(self.unpaid.get().checked_sub(bytes)?);
        Some(())
    }

    fn root(&self) -> Result<usize, String> {
        if !self.bytes.starts_with(SIGNATURE) {
            return Err("no HDF5 file".to_owned());
        }
        let head = self.bytes.get(8..72).ok_or("cut off in its first bytes")?;
        if head[0] != 0 {
            return Err(format!("superblock {}, but only 0 is read here (h5py's `libver` default)", head[0]));
        }
        if (head[5], head[6]) != (8, 8) {
            return Err("its addresses are not of 8 bytes".to_owned());
        }
        if Wire::new(&head[16..]).number(8) != Some(0) {
            return Err("it does not begin at its beginning".to_owned());
        }
        address(&mut Wire::new(&head[56..])).ok_or_else(|| "it has no root".to_owned())
    }

    fn at(&self, address: usize, length: usize) -> Option<&'a [u8]> {
        self.bytes.get(address..address.checked_add(length)?)
    }

    fn from(&self, address: usize) -> Option<Wire<'a>> {
        self.bytes.get(address..).map(Wire::new)
    }

    /// The messages of an object, through its continuations.
    fn messages(&self, address: usize) -> Option<Vec<Message<'a>>> {
        let mut wire = self.from(address)?;
        let version = wire.number(2)?;
        let count = usize::try_from(wire.number(2)?).ok()?;
        wire.take(4)?;
        let length = usize::try_from(wire.number(4)?).ok()?;
        if version != 1 {
            return None;
        }
        let mut blocks = vec![self.at(address.checked_add(16)?, length)?];
        let mut messages = Vec::new();
        // Blocks are cut into as many messages as the head says, so continuations that go round end.
        while let Some(block) = blocks.pop() {
            let mut wire = Wire::new(block);
            while !wire.is_empty() && messages.len() < count {
                let (kind, size) = (wire.number(2)?, usize::try_from(wire.number(2)?).ok()?);
                wire.take(4)?;
                let content = wire.take(size)?;
                self.pay(8)?;
                if kind == CONTINUATION {
                    let mut place = Wire::new(content);
                    blocks.push(self.at(self::address(&mut place)?, self::address(&mut place)?)?);
                }
                messages.push((kind, content));
            }
        }
        Some(messages)
    }

    /// Names and addresses of a group, out of its symbol table message.
    fn entries(&self, table: &[u8]) -> Option<Vec<(String, usize)>> {
        let mut wire = Wire::new(table);
        let (tree, heap) = (address(&mut wire)?, address(&mut wire)?);
        let mut wire = self.from(heap)?;
        if wire.take(8)? != b"HEAP\0\0\0\0" {
            return None;
        }
        let size = address(&mut wire)?;
        wire.take(8)?;
        let names = self.at(address(&mut wire)?, size)?;
        let mut entries = Vec::new();
        let mut open = vec![(tree, 0)];
        while let Some((node, depth)) = open.pop() {
            if depth > MOST_DEPTH {
                return None;
            }
            let mut wire = self.from(node)?;
            match wire.take(4)? {
                b"TREE" => {
                    let children = children(&mut wire)?;
                    self.pay(8 + 16 * children.len())?;
                    open.extend(children.into_iter().map(|child| (child, depth + 1)));
                }
                b"SNOD" => self.symbols(&mut wire, names, &mut entries)?,
                _ => return None,
            }
        }
        Some(entries)
    }

    /// The names and addresses of a leaf.
    fn symbols(&self, wire: &mut Wire, names: &[u8], entries: &mut Vec<(String, usize)>) -> Option<()> {
        wire.take(2)?;
        for _ in 0..wire.number(2)? {
            let name = names.get(address(wire)?..)?;
            let end = name.iter().position(|byte| *byte == 0)?;
            self.pay(40 + end)?;
            let name = std::str::from_utf8(&name[..end]).ok()?.to_owned();
            let object = address(wire)?;
            // A soft link (kind 2) has no object; Keras writes none.
            if wire.take(24)?[0] != 2 {
                entries.push((name, object));
            }
        }
        Some(())
    }

    fn tensor(&self, messages: &[Message]) -> Result<Tensor, String> {
        let find = |kind: u64| messages.iter().find(|(found, _)| *found == kind).map(|(_, content)| *content);
        if find(FILTERS).is_some() {
            return Err("is compressed, which is not read here".to_owned());
        }
        let shape = find(DATASPACE).and_then(dimensions).ok_or("has no shape")?;
        let (width, is_half) = float(find(DATATYPE).unwrap_or_default())?;
        let count = shape.iter().try_fold(1_usize, |count, size| count.checked_mul(*size));
        let size = count.and_then(|count| count.checked_mul(width)).ok_or("is larger than can be")?;
        let data = self.data(find(LAYOUT).unwrap_or_default(), size)?;
        self.pay(size).ok_or("shares its bytes with other arrays, so the file is damaged")?;
        let values = if is_half {
            data.as_chunks::<2>().0.iter().map(|half| from_f16(u16::from_le_bytes(*half))).collect()
        } else {
            data.as_chunks::<4>().0.iter().map(|word| f32::from_le_bytes(*word)).collect()
        };
        Ok(Tensor { shape, values })
    }

    fn data(&self, layout: &'a [u8], size: usize) -> Result<&'a [u8], String> {
        let mut wire = Wire::new(layout);
        match (wire.number(1), wire.number(1)) {
            (Some(3 | 4), Some(0)) => {
                let length = wire.number(2).and_then(|length| usize::try_from(length).ok());
                length.filter(|length| *length == size).and_then(|length| wire.take(length))
            }
            (Some(3 | 4), Some(1)) => {
                let place = address(&mut wire).zip(address(&mut wire));
                place.filter(|(_, length)| *length == size).and_then(|(from, length)| self.at(from, length))
            }
            _ => return Err("is kept in chunks, which are not read here".to_owned()),
        }
        .ok_or_else(|| "has fewer bytes than its shape says, or lies outside the file".to_owned())
    }
}

/// An address or a length; the undefined one is none.
fn address(wire: &mut Wire) -> Option<usize> {
    usize::try_from(wire.number(8)?).ok().filter(|address| *address != UNDEFINED)
}

/// A node's children; keys stand between them.
fn children(wire: &mut Wire) -> Option<Vec<usize>> {
    let (kind, _level) = (wire.number(1)?, wire.number(1)?);
    let count = wire.number(2)?;
    wire.take(16)?;
    if kind != 0 {
        return None;
    }
    let child = |_| {
        wire.take(8)?;
        address(wire)
    };
    (0..count).map(child).collect()
}

fn dimensions(content: &[u8]) -> Option<Vec<usize>> {
    let mut wire = Wire::new(content);
    let (version, rank, _flags) = (wire.number(1)?, wire.number(1)?, wire.number(1)?);
    wire.take(match version {
        1 => 5,
        2 => 1,
        _ => return None,
    })?;
    (0..rank).map(|_| address(&mut wire)).collect()
}

/// Bytes of a number, and whether it is of half precision.
fn float(content: &[u8]) -> Result<(usize, bool), String> {
    let (&[kind, order, _, _, size, ..], Some(&exponent)) = (content, content.get(13)) else {
        return Err("has no kind of numbers".to_owned());
    };
    match (kind & 0x0f, order & 1, size, exponent) {
        (1, 0, 4, 8) => Ok((4, false)),
        (1, 0, 2, 5) => Ok((2, true)),
        _ => Err("holds something else than little-endian floats of 32 or 16 bits".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> Vec<u8> {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/tiny_keras_hub");
        std::fs::read(folder.join("model.weights.h5")).unwrap()
    }

    #[test]
    fn every_array_is_found() {
        let found = read(&sample()).unwrap();
        assert_eq!(found.tensors.len(), 39);
        let name = "layers/transformer_encoder_1/_self_attention_layer/query_dense/vars/0";
        assert_eq!(found.tensors[name].shape, [8, 2, 4]);
    }

    #[test]
    fn another_kind_of_file_is_refused() {
        assert!(read(b"PK").err().unwrap().contains("no HDF5"));
        let mut newer = sample();
        newer[8] = 2;
        assert!(read(&newer).err().unwrap().contains("superblock 2"));
        for keep in [8, 71, 100, 5_000, 60_000] {
            assert!(read(&sample()[..keep]).is_err(), "{keep}");
        }
    }

    /// The root's B-tree points to itself, so it has more and more children.
    #[test]
    fn a_tree_that_goes_round_in_circles_ends() {
        let mut bytes = sample();
        let places: Vec<usize> = (0..bytes.len() - 4).filter(|at| &bytes[*at..at + 4] == b"TREE").collect();
        for place in places {
            let own = (place as u64).to_le_bytes();
            bytes[place + 6..place + 8].copy_from_slice(&20_u16.to_le_bytes());
            for child in 0..20 {
                let at = place + 32 + 16 * child;
                bytes[at..at + 8].copy_from_slice(&own);
            }
        }
        assert!(read(&bytes).err().unwrap().contains("damaged"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>, places in proptest::collection::vec((0..100_000_usize, any::<u8>()), 1..24)) {
            let _ = read(&bytes);
            let mut damaged = sample();
            for (place, byte) in places {
                let length = damaged.len();
                damaged[place % length] = byte;
            }
            let _ = read(&damaged);
        }
    }
}
