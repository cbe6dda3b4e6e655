//! Arithmetic of features: any text is an expression with a value or without one, or is refused.

#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use qhatu_features::{Declarations, Entity, State};

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    // JSON's strings are TOML's but for a character that only JSON lets stand as it is.
    let Ok(quoted) = serde_json::to_string(&text.replace('\u{7f}', " ")) else { return };
    let features = format!(
        "[[feature]]\nname = \"a\"\nentity = \"user\"\naggregate = \"count\"\nevents = [\"view\"]\nmeaning = \"views\"\n\
         [[feature]]\nname = \"b\"\nentity = \"user\"\nexpression = {quoted}\nmeaning = \"of others\"\n"
    );
    if let Ok(declarations) = Declarations::from_toml(&features) {
        let state = State::new(Arc::new(declarations));
        state.row(Entity::User, "u", qhatu_fuzz::now());
    }
});
