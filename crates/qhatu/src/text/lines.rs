//! Texts from a file, one a line.

use std::path::Path;

use crate::fault::Fault;

/// A file of texts is smaller than this.
const MOST_BYTES: u64 = 4 << 30;

/// The lines that are not empty; `-` reads standard input.
pub(crate) fn read(path: &Path) -> Result<Vec<String>, Fault> {
    let text = if path == Path::new("-") {
        std::io::read_to_string(std::io::stdin()).map_err(Fault::io("read", path))?
    } else {
        let bytes = std::fs::metadata(path).map_err(Fault::io("read", path))?.len();
        if bytes > MOST_BYTES {
            return Err(Fault::Said(format!(
                "{} holds {bytes} bytes; at most {MOST_BYTES} are read",
                path.display()
            )));
        }
        std::fs::read_to_string(path).map_err(Fault::io("read", path))?
    };
    let lines = text.strip_prefix('\u{feff}').unwrap_or(&text).lines().map(str::trim);
    let texts: Vec<String> = lines.filter(|line| !line.is_empty()).map(str::to_owned).collect();
    if texts.is_empty() {
        return Err(Fault::Said(format!("{} holds no text", path.display())));
    }
    Ok(texts)
}
