//! Where code of others reads bytes of others. A decoder may trust a file's header and panic where it
//! lies (found by fuzzing: levels of a Parquet page that end before they should); here that is an
//! error like every other, with the file's name.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use crate::error::StoreError;

thread_local! {
    /// Whether a panic of this thread will be caught and told as an error.
    static CAUGHT: Cell<bool> = const { Cell::new(false) };
}

/// Runs a decoder; its panic becomes [`StoreError::Damaged`]. What the decoder held is not used again.
pub(crate) fn decode<T>(path: &Path, work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    let outer = CAUGHT.replace(true);
    let outcome = catch_unwind(AssertUnwindSafe(work));
    CAUGHT.set(outer);
    outcome.unwrap_or_else(|panic| {
        let told = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let told = told.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        let fault = format!("its decoder gave up on what the file says of itself: {told}");
        Err(StoreError::Damaged { path: path.to_owned(), fault })
    })
}

/// Keeps panics that become errors off standard error; every other one is told as before. For a program's
/// start: a panic hook is the whole process's.
pub fn tell_only_uncaught_panics() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !CAUGHT.get() {
            usual(panic);
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decoders_panic_is_an_error_with_the_files_name_and_the_next_file_is_read() {
        let path = Path::new("a.parquet");
        let fault = decode(path, || -> Result<(), StoreError> { panic!("level {} is beyond", 7) });
        let said = fault.expect_err("it panicked").to_string();
        assert!(said.contains("a.parquet") && said.contains("level 7 is beyond"), "{said}");
        assert_eq!(decode(path, || Ok(3)).expect("sound"), 3);
        assert!(!CAUGHT.get());
    }
}
