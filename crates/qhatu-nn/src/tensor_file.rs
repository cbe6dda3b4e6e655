//! Named tensors in a safetensors file, with a text of settings in its header.
//!
//! Reading trusts nothing: header length, offsets, shapes and types are checked before a byte is
//! copied (by the `safetensors` crate, and here for types), so that a damaged or hostile file is an
//! error and never a panic or a large allocation. Half-precision floats (F16, BF16) of published
//! checkpoints are read as F32, which holds each of their values exactly.
//!
//! The same tensors and settings give the same bytes. The `safetensors` crate writes the entries of a header's metadata
//! in an order that differs from run to run, so several settings go into a single entry, as JSON with sorted keys, and a
//! single one (`format`, which other programs ask for) is an entry of its own; a file with other entries, as other
//! programs write them, is read with each of them as a setting.

use std::collections::BTreeMap;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};

/// The header's entry that holds all settings.
const SETTINGS: &str = "qhatu.settings";

/// The numbers of a tensor.
#[derive(Debug, Clone, PartialEq)]
pub enum Numbers {
    /// 32-bit floats.
    F32(Vec<f32>),
    /// 32-bit unsigned.
    U32(Vec<u32>),
    /// 64-bit signed.
    I64(Vec<i64>),
}

/// A tensor: its shape and numbers, row after row.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its numbers, as many as the shape says.
    pub numbers: Numbers,
}

/// Why a file of tensors cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TensorFileError {
    /// It is not safetensors, or cut off, or its header lies.
    #[error("not a whole safetensors file: {fault}")]
    Damaged {
        /// What does not hold.
        fault: String,
    },
    /// A tensor of numbers that are not read here.
    #[error("tensor {name} holds {kind}, expected F32, F16, BF16, U32 or I64")]
    Kind {
        /// The tensor.
        name: String,
        /// What it holds.
        kind: String,
    },
    /// A tensor that is needed and not there, or not of the kind or shape it must have.
    #[error("tensor {name}: {fault}")]
    Missing {
        /// The tensor.
        name: String,
        /// What is wrong.
        fault: String,
    },
}

/// Tensors by name, and settings.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TensorFile {
    /// Settings, kept in the file's header.
    pub settings: BTreeMap<String, String>,
    /// The tensors.
    pub tensors: BTreeMap<String, Tensor>,
}

impl TensorFile {
    /// Adds a tensor of floats.
    pub fn put_f32(&mut self, name: &str, shape: &[usize], numbers: Vec<f32>) {
        self.put(name, shape, Numbers::F32(numbers));
    }

    /// Adds a tensor of unsigned numbers.
    pub fn put_u32(&mut self, name: &str, shape: &[usize], numbers: Vec<u32>) {
        self.put(name, shape, Numbers::U32(numbers));
    }

    /// Adds a tensor of signed numbers.
    pub fn put_i64(&mut self, name: &str, shape: &[usize], numbers: Vec<i64>) {
        self.put(name, shape, Numbers::I64(numbers));
    }

    fn put(&mut self, name: &str, shape: &[usize], numbers: Numbers) {
        self.tensors.insert(name.to_owned(), Tensor { shape: shape.to_vec(), numbers });
    }

    /// The floats of a tensor.
    ///
    /// # Errors
    /// [`TensorFileError::Missing`] where it is not there or holds something else.
    pub fn f32(&self, name: &str) -> Result<&[f32], TensorFileError> {
        match &self.tensor(name)?.numbers {
            Numbers::F32(numbers) => Ok(numbers),
            _ => Err(missing(name, "holds no F32")),
        }
    }

    /// The unsigned numbers of a tensor.
    ///
    /// # Errors
    /// As [`TensorFile::f32`].
    pub fn u32(&self, name: &str) -> Result<&[u32], TensorFileError> {
        match &self.tensor(name)?.numbers {
            Numbers::U32(numbers) => Ok(numbers),
            _ => Err(missing(name, "holds no U32")),
        }
    }

    /// The signed numbers of a tensor.
    ///
    /// # Errors
    /// As [`TensorFile::f32`].
    pub fn i64(&self, name: &str) -> Result<&[i64], TensorFileError> {
        match &self.tensor(name)?.numbers {
            Numbers::I64(numbers) => Ok(numbers),
            _ => Err(missing(name, "holds no I64")),
        }
    }

    fn tensor(&self, name: &str) -> Result<&Tensor, TensorFileError> {
        self.tensors.get(name).ok_or_else(|| missing(name, "is not there"))
    }

    /// The file's bytes.
    ///
    /// # Errors
    /// Where a tensor's numbers are not as many as its shape says.
    pub fn to_bytes(&self) -> Result<Vec<u8>, TensorFileError> {
        let mut parts: Vec<(&str, Dtype, Vec<usize>, Vec<u8>)> = Vec::new();
        for (name, tensor) in &self.tensors {
            let (kind, bytes) = match &tensor.numbers {
                Numbers::F32(numbers) => (Dtype::F32, numbers.iter().flat_map(|n| n.to_le_bytes()).collect()),
                Numbers::U32(numbers) => (Dtype::U32, numbers.iter().flat_map(|n| n.to_le_bytes()).collect()),
                Numbers::I64(numbers) => (Dtype::I64, numbers.iter().flat_map(|n| n.to_le_bytes()).collect()),
            };
            parts.push((name, kind, tensor.shape.clone(), bytes));
        }
        let views = parts.iter().map(|(name, kind, shape, bytes)| {
            Ok((*name, TensorView::new(*kind, shape.clone(), bytes).map_err(|fault| missing(name, fault))?))
        });
        let views = views.collect::<Result<Vec<_>, TensorFileError>>()?;
        let entries = if self.settings.len() == 1 {
            self.settings.clone().into_iter().collect()
        } else {
            let settings = serde_json::to_string(&self.settings).map_err(damaged)?;
            [(SETTINGS.to_owned(), settings)].into_iter().collect()
        };
        safetensors::serialize(views, Some(entries)).map_err(damaged)
    }

    /// Reads a file's bytes.
    ///
    /// # Errors
    /// [`TensorFileError`] where they are not a whole file of tensors of these kinds.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TensorFileError> {
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(damaged)?;
        let file = SafeTensors::deserialize(bytes).map_err(damaged)?;
        let entries = header.metadata().clone().unwrap_or_default();
        let settings = match entries.get(SETTINGS) {
            Some(text) => serde_json::from_str(text).map_err(damaged)?,
            None => entries.into_iter().collect(),
        };
        let mut tensors = BTreeMap::new();
        for (name, view) in file.tensors() {
            let data = view.data();
            let numbers = match view.dtype() {
                Dtype::F32 => Numbers::F32(words(data).map(f32::from_le_bytes).collect()),
                Dtype::F16 => Numbers::F32(words(data).map(u16::from_le_bytes).map(from_f16).collect()),
                Dtype::BF16 => Numbers::F32(words(data).map(u16::from_le_bytes).map(from_bf16).collect()),
                Dtype::U32 => Numbers::U32(words(data).map(u32::from_le_bytes).collect()),
                Dtype::I64 => Numbers::I64(words(data).map(i64::from_le_bytes).collect()),
                other => return Err(TensorFileError::Kind { name, kind: format!("{other:?}") }),
            };
            tensors.insert(name, Tensor { shape: view.shape().to_vec(), numbers });
        }
        Ok(Self { settings, tensors })
    }
}

/// The data in pieces of N bytes; a rest that is no piece is left out (shapes were checked before).
fn words<const N: usize>(data: &[u8]) -> impl Iterator<Item = [u8; N]> {
    data.as_chunks::<N>().0.iter().copied()
}

/// The value of IEEE 754's binary16.
pub fn from_f16(bits: u16) -> f32 {
    let sign = u32::from(bits & 0x8000) << 16;
    let (exponent, fraction) = (u32::from(bits >> 10) & 0x1f, u32::from(bits & 0x3ff));
    match exponent {
        // Subnormal: fraction · 2⁻²⁴.
        0 => f32::from_bits(sign | (fraction as f32 * 2.0_f32.powi(-24)).to_bits()),
        0x1f => f32::from_bits(sign | 0x7f80_0000 | fraction << 13),
        _ => f32::from_bits(sign | (exponent + 112) << 23 | fraction << 13),
    }
}

/// The value of a bfloat16: the upper half of an F32.
pub fn from_bf16(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

fn damaged(fault: impl ToString) -> TensorFileError {
    TensorFileError::Damaged { fault: fault.to_string() }
}

fn missing(name: &str, fault: impl ToString) -> TensorFileError {
    TensorFileError::Missing { name: name.to_owned(), fault: fault.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> TensorFile {
        let mut file = TensorFile::default();
        file.settings.insert("model".into(), "ease".into());
        file.put_f32("weights", &[2, 2], vec![1.0, -2.5, f32::MIN_POSITIVE, 0.0]);
        file.put_u32("index", &[3], vec![0, 7, u32::MAX]);
        file.put_i64("times", &[1], vec![-5]);
        file
    }

    #[test]
    fn what_is_written_is_read() {
        let file = sample();
        let read = TensorFile::from_bytes(&file.to_bytes().unwrap()).unwrap();
        assert_eq!(read, file);
        assert_eq!(read.f32("weights").unwrap()[1], -2.5);
        assert!(read.u32("weights").is_err());
        assert!(read.i64("nothing").is_err());
    }

    #[test]
    fn the_same_content_is_the_same_bytes() {
        let mut file = sample();
        (0..20).for_each(|number| drop(file.settings.insert(format!("key {number}"), "value".into())));
        let bytes = file.to_bytes().unwrap();
        assert!((0..20).all(|_| file.to_bytes().unwrap() == bytes));
        assert_eq!(TensorFile::from_bytes(&bytes).unwrap().to_bytes().unwrap(), bytes);
    }

    #[test]
    fn entries_of_other_programs_are_settings() {
        let entries = [("format".to_owned(), "pt".to_owned())].into_iter().collect();
        let none: [(&str, TensorView); 0] = [];
        let bytes = safetensors::serialize(none, Some(entries)).unwrap();
        assert_eq!(TensorFile::from_bytes(&bytes).unwrap().settings["format"], "pt");
    }

    #[test]
    fn numbers_must_be_as_many_as_the_shape_says() {
        let mut file = TensorFile::default();
        file.put_f32("w", &[3, 5], vec![0.0; 14]);
        assert!(file.to_bytes().unwrap_err().to_string().contains('w'));
    }

    #[test]
    fn half_precision_is_read_exactly() {
        let read = |kind, bits: &[u16]| {
            let data: Vec<u8> = bits.iter().flat_map(|bits| bits.to_le_bytes()).collect();
            let view = TensorView::new(kind, vec![bits.len()], &data).unwrap();
            let bytes = safetensors::serialize([("h", view)], None).unwrap();
            TensorFile::from_bytes(&bytes).unwrap().f32("h").unwrap().to_vec()
        };
        let f16 = read(Dtype::F16, &[0x3c00, 0xc000, 0x7bff, 0x0001, 0x8000, 0x7c00, 0x3555]);
        assert_eq!(f16, [1.0, -2.0, 65504.0, 2.0_f32.powi(-24), 0.0, f32::INFINITY, 0.333_251_95]);
        assert!(read(Dtype::F16, &[0x7e00])[0].is_nan());
        assert_eq!(read(Dtype::BF16, &[0x3f80, 0xc2f7]), [1.0, -123.5]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let _ = TensorFile::from_bytes(&bytes);
        }

        /// A good file with one byte changed, or cut off: read or refused, and a cut is always refused.
        #[test]
        fn a_damaged_file_is_no_panic(place in 0..400_usize, byte: u8, cut in 0..400_usize) {
            let mut bytes = sample().to_bytes().unwrap();
            let cut = cut.min(bytes.len() - 1);
            prop_assert!(TensorFile::from_bytes(&bytes[..cut]).is_err());
            let place = place % bytes.len();
            bytes[place] = byte;
            let _ = TensorFile::from_bytes(&bytes);
        }
    }
}
