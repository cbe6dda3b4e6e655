//! Checkpoints of text models: a good folder with one file replaced by the fuzzer's bytes.
//!
//! The first byte chooses the file. Whatever it holds, reading gives a model or an error, in memory and time
//! that the folder's size bounds; a model that is read computes, and is the same after it was written and read.

use std::fs;
use std::path::PathBuf;

use qhatu_text::TextEncoder;

/// Longer files than these are not encoded: a model of a good shape may still be wide.
const WEIGHTS_MAX: usize = 1 << 20;

/// Names and contents.
pub type Files<'a> = &'a [(&'a str, &'a [u8])];

/// `good` with one of its files replaced, in a folder of its own.
pub fn read(name: &str, good: Files, bytes: &[u8]) {
    let Some((choice, content)) = bytes.split_first() else { return };
    let (replaced, _) = good[usize::from(*choice) % good.len()];
    let folder = fresh(name);
    for (file, usual) in good {
        let content = if *file == replaced { content } else { *usual };
        // An empty file is one that is not there.
        if content.is_empty() {
            continue;
        }
        let path = folder.join(file);
        fs::create_dir_all(path.parent().expect("it lies in the folder")).expect("a folder for the files");
        fs::write(path, content).expect("the folder was made above");
    }
    match TextEncoder::read(&folder) {
        Ok(encoder) => computes_and_is_kept(name, &encoder),
        Err(fault) => assert!(!fault.to_string().is_empty()),
    }
}

fn computes_and_is_kept(name: &str, encoder: &TextEncoder) {
    if encoder.bert.parameters().len() > WEIGHTS_MAX {
        return;
    }
    let sequence = encoder.tokenized("polo de algodón 😀");
    let vectors = encoder.encode_sequences(&[sequence]);
    assert!(vectors.is_ok_and(|vectors| vectors.len() == encoder.width()));
    let folder = fresh(&format!("{name}_written"));
    encoder.write(&folder).expect("a model that was read can be written");
    let again = TextEncoder::read(&folder).expect("what was written is read");
    assert_eq!(again.bert.parameters(), encoder.bert.parameters());
    assert_eq!(again.fingerprint(), encoder.fingerprint());
}

fn fresh(name: &str) -> PathBuf {
    let folder = crate::folder().join(name);
    drop(fs::remove_dir_all(&folder));
    fs::create_dir_all(&folder).expect("a folder for the files");
    folder
}
