//! A file as a table, whatever its columns: CSV (plain, gz, zst, any delimiter) or Parquet.
//!
//! For tables that are learned from as they stand. A row that cannot be read stops the file, because a table with
//! rows left out in silence would be another table.

use std::borrow::Cow;
use std::path::Path;

use qhatu_schema::{DenseColumn, DenseTable, Texts};
use qhatu_store::read_table;

use crate::csv::{delimiter_of, split};
use crate::error::IngestError;
use crate::source::Records;

/// Reads a table. A CSV column whose values are all numbers, or all `true` and `false`, holds numbers (1 and 0),
/// any other texts; an empty value, `NA`, `NaN` or `null` is a gap. Columns named in `texts` hold texts whatever
/// stands in them: codes that only look like numbers.
///
/// # Errors
/// Where the file cannot be read, a row of it cannot, or a column in `texts` is not there.
pub fn read_table_file(path: &Path, texts: &[String]) -> Result<DenseTable, IngestError> {
    let is_parquet = path.extension().is_some_and(|end| end.eq_ignore_ascii_case("parquet"));
    let mut table = if is_parquet { DenseTable::from(&read_table(path)?) } else { read_csv(path, texts)? };
    let missing: Vec<String> = texts.iter().filter(|name| table.column(name).is_none()).cloned().collect();
    if !missing.is_empty() {
        let found = table.columns.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
        return Err(IngestError::MissingColumns {
            path: path.to_owned(),
            missing,
            found,
            hint: String::new(),
        });
    }
    for (name, column) in &mut table.columns {
        if let (true, DenseColumn::Float(values)) = (texts.contains(name), &*column) {
            let words: Vec<String> =
                values.iter().map(|v| if v.is_nan() { String::new() } else { v.to_string() }).collect();
            *column = DenseColumn::Label(words.iter().map(String::as_str).collect());
        }
    }
    Ok(table)
}

fn read_csv(path: &Path, texts: &[String]) -> Result<DenseTable, IngestError> {
    let mut records = Records::open(path, "utf-8", true)?;
    let mut names: Vec<String> = Vec::new();
    let mut columns: Vec<Texts> = Vec::new();
    let mut delimiter = b',';
    let fault = |line: u64, fault: String| IngestError::Row { path: path.to_owned(), line, fault };
    while let Some(batch) = records.next_batch() {
        for record in batch.records() {
            if let Some(said) = record.fault {
                return Err(fault(record.line, said.to_owned()));
            }
            let text = String::from_utf8_lossy(record.bytes);
            if names.is_empty() {
                delimiter = delimiter_of(&text);
                names = values(&text, delimiter).iter().map(|name| name.trim().to_owned()).collect();
                columns = names.iter().map(|_| Texts::new()).collect();
                let twice = names.iter().enumerate().find(|(place, name)| names[..*place].contains(name));
                if let Some((_, name)) = twice {
                    return Err(fault(record.line, format!("there are two columns {name:?}")));
                }
                continue;
            }
            if text.trim().is_empty() {
                continue;
            }
            let row = values(&text, delimiter);
            if row.len() != names.len() {
                let said = format!("{} values for {} columns", row.len(), names.len());
                return Err(fault(record.line, said));
            }
            columns.iter_mut().zip(&row).for_each(|(column, value)| column.push(known(value.trim())));
        }
        if let Some((said, record)) = batch.cut() {
            return Err(fault(record.line, format!("the file breaks off: {said}")));
        }
    }
    if names.is_empty() {
        return Err(IngestError::NoRows { path: path.to_owned() });
    }
    let typed = |(name, column): (String, Texts)| {
        let column = if texts.contains(&name) { text_column(&column) } else { typed(&column) };
        (name, column)
    };
    Ok(DenseTable { columns: names.into_iter().zip(columns).map(typed).collect() })
}

fn values<'a>(text: &'a str, delimiter: u8) -> Vec<Cow<'a, str>> {
    let mut values = Vec::new();
    split(text, delimiter, &mut values);
    values
}

/// The value, or the empty text for what stands for a gap.
fn known(value: &str) -> &str {
    let is_gap = ["na", "nan", "null"].iter().any(|gap| value.eq_ignore_ascii_case(gap));
    if is_gap { "" } else { value }
}

fn typed(column: &Texts) -> DenseColumn {
    let all = |read: fn(&str) -> Option<f64>| -> Option<Vec<f64>> {
        column.iter().map(|value| if value.is_empty() { Some(f64::NAN) } else { read(value) }).collect()
    };
    let number = |value: &str| value.parse::<f64>().ok();
    let truth = |value: &str| match value {
        _ if value.eq_ignore_ascii_case("true") => Some(1.0),
        _ if value.eq_ignore_ascii_case("false") => Some(0.0),
        _ => None,
    };
    match all(number).or_else(|| all(truth)) {
        Some(values) => DenseColumn::Float(values),
        None => text_column(column),
    }
}

fn text_column(column: &Texts) -> DenseColumn {
    DenseColumn::Label(column.iter().collect())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file(name: &str, text: &[u8]) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        (folder, path)
    }

    #[test]
    fn columns_are_what_their_values_are() {
        let text = "a;b;code;c\n1;TRUE;1;x\n;false;2;\"y;z\"\n2.5;;1;NA\n";
        let (_folder, path) = file("t.csv", text.as_bytes());
        let table = read_table_file(&path, &["code".to_owned()]).unwrap();
        let floats = |name: &str| match table.column(name) {
            Some(DenseColumn::Float(values)) => values.clone(),
            other => panic!("{name}: {other:?}"),
        };
        assert!(floats("a")[1].is_nan() && floats("a")[2] == 2.5);
        assert_eq!(floats("b")[..2], [1.0, 0.0]);
        assert_eq!(table.column("code"), Some(&DenseColumn::Label(["1", "2", "1"].into_iter().collect())));
        assert_eq!(table.column("c"), Some(&DenseColumn::Label(["x", "y;z", ""].into_iter().collect())));
        assert!(
            read_table_file(&path, &["d".to_owned()]).unwrap_err().to_string().contains("has no column d")
        );
    }

    #[test]
    fn packed_files_are_unpacked() {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(b"a,b\n1,2\n").unwrap();
        let (_folder, path) = file("t.csv.gz", &packed.finish().unwrap());
        assert_eq!(read_table_file(&path, &[]).unwrap().rows(), 1);
    }

    #[test]
    fn a_row_that_cannot_be_read_is_named() {
        let fault = |text: &str| {
            let (_folder, path) = file("t.csv", text.as_bytes());
            read_table_file(&path, &[]).unwrap_err().to_string()
        };
        assert!(fault("a,b\n1,2\n3\n").contains("line 3: 1 values for 2 columns"));
        assert!(fault("a,b\n1,\"2\n").contains("line 2: a quote is opened and never closed"));
        assert!(fault("a,a\n1,2\n").contains("two columns \"a\""));
        assert!(fault("").contains("is empty"));
        assert!(
            read_table_file(Path::new("/nowhere.csv"), &[]).unwrap_err().to_string().contains("/nowhere.csv")
        );
    }
}
