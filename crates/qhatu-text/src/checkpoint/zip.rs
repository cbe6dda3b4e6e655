//! A file out of a `.keras` archive: a ZIP file whose members are stored as they are.
//!
//! Source: PKWARE's APPNOTE. A compressed member, or an archive above 4 GiB, is refused.

use super::wire::Wire;

const END: &[u8] = b"PK\x05\x06";
const MEMBER: &[u8] = b"PK\x01\x02";
const LOCAL: &[u8] = b"PK\x03\x04";

/// The content of the member of this name.
pub(crate) fn member<'a>(bytes: &'a [u8], name: &str) -> Result<&'a [u8], String> {
    let mut wire = directory(bytes).ok_or("no ZIP archive, or cut off")?;
    while let Some(head) = wire.take(46).filter(|head| head.starts_with(MEMBER)) {
        let number = |at: usize, width: usize| Wire::new(&head[at..]).number(width).unwrap_or(0) as usize;
        let own = wire.take(number(28, 2)).ok_or("its directory is damaged")?;
        wire.take(number(30, 2) + number(32, 2)).ok_or("its directory is damaged")?;
        if own != name.as_bytes() {
            continue;
        }
        if number(10, 2) != 0 {
            return Err(format!("{name} is compressed, which is not read here"));
        }
        return content(bytes, number(42, 4), number(20, 4)).ok_or_else(|| format!("{name} is damaged"));
    }
    Err(format!("{name} is not in it"))
}

/// The directory, by the record at the end, behind which a comment may stand.
fn directory(bytes: &[u8]) -> Option<Wire<'_>> {
    let last = bytes.len().saturating_sub(22 + 0xffff);
    let end = bytes[last..].windows(END.len()).rposition(|window| window == END)? + last;
    let record = bytes.get(end..end + 22)?;
    let start = Wire::new(&record[16..]).number(4)? as usize;
    bytes.get(start..end).map(Wire::new)
}

fn content(bytes: &[u8], start: usize, size: usize) -> Option<&[u8]> {
    let head = bytes.get(start..start.checked_add(30)?).filter(|head| head.starts_with(LOCAL))?;
    let length = |at: usize| Wire::new(&head[at..]).number(2).map(|length| length as usize);
    let from = start.checked_add(30 + length(26)? + length(28)?)?;
    bytes.get(from..from.checked_add(size)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> Vec<u8> {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
        std::fs::read(folder.join("tiny_keras_hub.keras")).unwrap()
    }

    #[test]
    fn a_member_is_found_by_its_name() {
        let bytes = sample();
        assert!(member(&bytes, "config.json").unwrap().starts_with(b"{"));
        assert!(member(&bytes, "model.weights.h5").unwrap().starts_with(b"\x89HDF"));
        assert!(member(&bytes, "nothing").unwrap_err().contains("not in it"));
        assert!(member(&bytes[..bytes.len() - 30], "config.json").is_err());
        assert!(member(b"", "config.json").is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>, place in 0..200_usize, byte: u8) {
            let _ = member(&bytes, "a");
            let mut damaged = sample();
            let at = damaged.len() - 1 - place;
            damaged[at] = byte;
            let _ = member(&damaged, "config.json");
        }
    }
}
