//! Vectors that were computed before, found by the content of their text.
//!
//! A vector is known by the SHA-256 of its text, and a cache belongs to one model by its
//! [`fingerprint`](crate::TextEncoder::fingerprint): with another model it begins empty. It is a number of
//! vectors large at most; what comes when it is full is computed and not kept.

use std::path::Path;

use qhatu_nn::tensor_file::TensorFile;
use rustc_hash::FxHashMap;
use sha2::{Digest, Sha256};

use crate::file::{read_bounded, write_whole};
use crate::{TextEncoder, TextError};

const FINGERPRINT: &str = "fingerprint";
const DIGESTS: &str = "digests";
const VECTORS: &str = "vectors";
const MOST_BYTES: u64 = 8 << 30;

type Key = [u8; 32];

/// Vectors by their texts' content.
#[derive(Debug, Clone)]
pub struct VectorCache {
    fingerprint: String,
    width: usize,
    most: usize,
    places: FxHashMap<Key, usize>,
    vectors: Vec<f32>,
}

impl VectorCache {
    /// An empty cache of at most `most` vectors of this model.
    pub fn new(encoder: &TextEncoder, most: usize) -> Self {
        let fingerprint = hex(&encoder.fingerprint());
        Self { fingerprint, width: encoder.width(), most, places: FxHashMap::default(), vectors: Vec::new() }
    }

    /// A cache as it was kept; an empty one where there is no such file, or it is another model's.
    ///
    /// # Errors
    /// Where the file is damaged.
    pub fn read(path: &Path, encoder: &TextEncoder, most: usize) -> Result<Self, TextError> {
        let mut cache = Self::new(encoder, most);
        if !path.exists() {
            return Ok(cache);
        }
        let fault = |fault: String| TextError::file(path.display().to_string(), fault);
        let file =
            TensorFile::from_bytes(&read_bounded(path, MOST_BYTES)?).map_err(|f| fault(f.to_string()))?;
        if file.settings.get(FINGERPRINT) != Some(&cache.fingerprint) {
            return Ok(cache);
        }
        let digests = file.u32(DIGESTS).map_err(|f| fault(f.to_string()))?;
        let vectors = file.f32(VECTORS).map_err(|f| fault(f.to_string()))?;
        if vectors.len() != digests.len() / 8 * cache.width {
            return Err(fault("holds another number of vectors than of texts; remove it".to_owned()));
        }
        for (digest, vector) in digests.chunks_exact(8).zip(vectors.chunks_exact(cache.width)) {
            let mut key = Key::default();
            let words = key.chunks_exact_mut(4).zip(digest);
            words.for_each(|(bytes, word)| bytes.copy_from_slice(&word.to_le_bytes()));
            cache.keep(key, vector);
        }
        Ok(cache)
    }

    /// Writes it to a file.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), TextError> {
        let mut keys: Vec<(&Key, &usize)> = self.places.iter().collect();
        keys.sort_unstable_by_key(|(_, place)| **place);
        let words = |key: &Key| key.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word)).collect();
        let digests: Vec<u32> = keys.iter().flat_map(|(key, _)| -> Vec<u32> { words(key) }).collect();
        let mut file = TensorFile::default();
        file.settings.insert(FINGERPRINT.to_owned(), self.fingerprint.clone());
        file.put_u32(DIGESTS, &[self.len(), 8], digests);
        file.put_f32(VECTORS, &[self.len(), self.width], self.vectors.clone());
        let bytes = file.to_bytes().map_err(|fault| TextError::file(path.display().to_string(), fault))?;
        write_whole(path, &bytes)
    }

    /// How many vectors it holds.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The vectors of texts (texts × width), each different text computed once and only if it is not here.
    /// `encoder` is the one that the cache was made for.
    ///
    /// # Errors
    /// As [`TextEncoder::encode`].
    pub fn encode<T: AsRef<str>>(
        &mut self,
        encoder: &TextEncoder,
        texts: &[T],
    ) -> Result<Vec<f32>, TextError> {
        let keys: Vec<Key> = texts.iter().map(|text| Sha256::digest(text.as_ref()).into()).collect();
        let mut new: FxHashMap<Key, usize> = FxHashMap::default();
        let mut missing: Vec<&str> = Vec::new();
        for (key, text) in keys.iter().zip(texts) {
            if !self.places.contains_key(key) && !new.contains_key(key) {
                new.insert(*key, missing.len());
                missing.push(text.as_ref());
            }
        }
        let computed = encoder.encode(&missing)?;
        let width = self.width;
        let mut answer = Vec::with_capacity(texts.len() * width);
        for key in &keys {
            match (self.places.get(key), new.get(key)) {
                (Some(place), _) => answer.extend_from_slice(&self.vectors[place * width..][..width]),
                (None, place) => {
                    let place = place.copied().unwrap_or(0);
                    answer.extend_from_slice(&computed[place * width..][..width]);
                }
            }
        }
        for (key, place) in keys.iter().filter_map(|key| Some((key, new.remove(key)?))) {
            self.keep(*key, &computed[place * width..][..width]);
        }
        Ok(answer)
    }

    fn keep(&mut self, key: Key, vector: &[f32]) {
        if self.len() < self.most && !self.places.contains_key(&key) {
            self.places.insert(key, self.len());
            self.vectors.extend_from_slice(vector);
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
