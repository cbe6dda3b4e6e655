//! CSV by a mapping: any bytes in any encoding with any delimiter, plain and packed.

#![no_main]

use libfuzzer_sys::fuzz_target;
use qhatu_ingest::MissingUser;

const ENCODINGS: [&str; 6] = ["utf-8", "windows-1252", "utf-16le", "utf-16be", "shift_jis", "gb18030"];
const NAMES: [&str; 4] = ["a.csv", "a.csv", "a.csv.gz", "a.csv.zst"];

fuzz_target!(|bytes: &[u8]| {
    let [first, second, rest @ ..] = bytes else { return };
    let mut mapping = match first & 1 {
        0 => qhatu_ingest::online_retail(),
        _ => qhatu_fuzz::wide_mapping(),
    };
    let delimiters = ["", "", ",", ";", "\t", "|", "\"", "\n"];
    mapping.delimiter = delimiters[usize::from(first >> 1 & 7)].to_owned();
    mapping.decimal_comma = first & 16 != 0;
    mapping.rules.missing_user =
        [MissingUser::Session, MissingUser::AnonymousSession][usize::from(first >> 5 & 1)];
    mapping.encoding = ENCODINGS[usize::from(second % 6)].to_owned();
    let path = qhatu_fuzz::file(NAMES[usize::from(second / 6 % 4)], rest);
    qhatu_fuzz::import(&path, Some(&mapping));
});
