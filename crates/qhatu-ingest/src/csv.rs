//! CSV: which delimiter, which column is what, and a record cut into its values.

use std::borrow::Cow;

use crate::mapping::Mapping;
use crate::row::{self, FIELDS, Values};

/// Where each field stands in a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    fields: [Option<usize>; FIELDS],
    /// How many values a record has.
    pub(crate) columns: usize,
    /// What stands between them.
    pub(crate) delimiter: u8,
    /// The first line, which names them.
    pub(crate) header: String,
}

/// What a first line lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Missing {
    pub(crate) names: Vec<String>,
    pub(crate) found: String,
    pub(crate) hint: String,
}

impl Layout {
    /// Reads the first line.
    pub(crate) fn new(header: &str, mapping: &Mapping) -> Result<Self, Missing> {
        let delimiter = delimiter(header, mapping);
        let mut names = Vec::new();
        split(header, delimiter, &mut names);
        let find = |wanted: &str| names.iter().position(|name| name.trim() == wanted);
        let wanted = row::names(&mapping.columns);
        let absent = |name: &&&str| !name.is_empty() && find(name).is_none();
        let missing: Vec<String> = wanted.iter().filter(absent).map(|name| (*name).to_owned()).collect();
        if missing.is_empty() {
            let fields = wanted.map(|name| if name.is_empty() { None } else { find(name) });
            return Ok(Self { fields, columns: names.len(), delimiter, header: header.to_owned() });
        }
        let hint = match names.len() {
            _ if header.contains('\0') => "; it looks like UTF-16: set encoding to utf-16le".to_owned(),
            _ if header.contains('\r') => "; its lines end in CR alone: save it with LF or CR LF".to_owned(),
            1 => format!("; is {:?} the delimiter? set delimiter in the mapping", char::from(delimiter)),
            _ => "; correct the mapping's columns".to_owned(),
        };
        let shown = |c: char| if c.is_control() { '\u{fffd}' } else { c };
        let found = names.join(", ").chars().take(500).map(shown).collect();
        Err(Missing { names: missing, found, hint })
    }

    /// The values by field.
    pub(crate) fn pick<'v>(&self, values: &'v [Cow<'_, str>]) -> Values<'v> {
        self.fields.map(|place| place.and_then(|place| values.get(place)).map_or("", |value| value.trim()))
    }
}

/// The delimiter that is set, or the one that the first line has most of.
fn delimiter(header: &str, mapping: &Mapping) -> u8 {
    if let Some(&set) = mapping.delimiter.as_bytes().first() {
        return set;
    }
    delimiter_of(header)
}

/// The delimiter that a first line has most of.
pub(crate) fn delimiter_of(header: &str) -> u8 {
    let count = |delimiter: &u8| header.bytes().filter(|byte| byte == delimiter).count();
    *[b'|', b'\t', b';', b','].iter().max_by_key(|delimiter| count(delimiter)).unwrap_or(&b',')
}

/// Cuts a CSV record into its values; quoted ones lose their quotes. Values are ranges of `text` where
/// nothing has to be changed.
pub(crate) fn split<'a>(text: &'a str, delimiter: u8, values: &mut Vec<Cow<'a, str>>) {
    values.clear();
    let bytes = text.as_bytes();
    let mut at = 0;
    loop {
        if bytes.get(at) == Some(&b'"') {
            let mut end = at + 1;
            let mut doubled = false;
            while end < bytes.len() {
                match (bytes[end], bytes.get(end + 1)) {
                    (b'"', Some(b'"')) => {
                        doubled = true;
                        end += 2;
                    }
                    (b'"', _) => break,
                    _ => end += 1,
                }
            }
            let inner = &text[at + 1..end.min(bytes.len())];
            let value = if doubled { inner.replace("\"\"", "\"").into() } else { inner.into() };
            values.push(value);
            at = end.min(bytes.len());
            while at < bytes.len() && bytes[at] != delimiter {
                at += 1;
            }
        } else {
            let length = bytes[at..].iter().position(|&byte| byte == delimiter);
            let end = length.map_or(bytes.len(), |length| at + length);
            values.push(text[at..end].into());
            at = end;
        }
        if at >= bytes.len() {
            return;
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str) -> Vec<String> {
        let mut values = Vec::new();
        split(text, b',', &mut values);
        values.into_iter().map(Cow::into_owned).collect()
    }

    #[test]
    fn values_are_cut_as_rfc_4180_says() {
        assert_eq!(cut("a,b,"), ["a", "b", ""]);
        assert_eq!(cut(r#""a,b",c"#), ["a,b", "c"]);
        assert_eq!(cut(r#""say ""hi""",x"#), [r#"say "hi""#, "x"]);
        assert_eq!(cut(""), [""]);
        assert_eq!(cut(r#""open"#), ["open"]);
    }
}
