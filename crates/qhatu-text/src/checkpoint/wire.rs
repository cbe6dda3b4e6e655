//! Bytes read from front to back, never past their end: fixed-width numbers, LEB128 varints and the
//! fields of a Protocol Buffers message.

/// What is left of some bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wire<'a> {
    rest: &'a [u8],
}

/// A field's content by its wire type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field<'a> {
    /// A number: varint or of fixed width.
    Number(u64),
    /// Bytes: a text, a message.
    Bytes(&'a [u8]),
}

impl<'a> Wire<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    /// A little-endian number of up to eight bytes.
    pub(crate) fn number(&mut self, bytes: usize) -> Option<u64> {
        let mut wide = [0; 8];
        wide.get_mut(..bytes)?.copy_from_slice(self.take(bytes)?);
        Some(u64::from_le_bytes(wide))
    }

    pub(crate) fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.number(1)?;
            value |= (byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    pub(crate) fn varint_size(&mut self) -> Option<usize> {
        usize::try_from(self.varint()?).ok()
    }

    /// The next field of a message: its number and content.
    pub(crate) fn field(&mut self) -> Option<(u64, Field<'a>)> {
        let tag = self.varint()?;
        let content = match tag & 7 {
            0 => Field::Number(self.varint()?),
            1 => Field::Number(self.number(8)?),
            2 => {
                let count = self.varint_size()?;
                Field::Bytes(self.take(count)?)
            }
            5 => Field::Number(self.number(4)?),
            _ => return None,
        };
        Some((tag >> 3, content))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_and_fields() {
        let mut wire = Wire::new(&[0xac, 0x02, 1, 2, 0x0a, 1, b'x', 0x15, 9, 0, 0, 0]);
        assert_eq!(wire.varint(), Some(300));
        assert_eq!(wire.number(2), Some(0x0201));
        assert_eq!(wire.field(), Some((1, Field::Bytes(b"x"))));
        assert_eq!(wire.field(), Some((2, Field::Number(9))));
        assert!(wire.is_empty() && wire.field().is_none());
        assert_eq!(Wire::new(&[0xff; 11]).varint(), None);
        assert_eq!(Wire::new(&[0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f]).field(), None);
    }

    proptest! {
        #[test]
        fn any_bytes_end(bytes: Vec<u8>) {
            let mut wire = Wire::new(&bytes);
            let mut fields = 0;
            while wire.field().is_some() { fields += 1; }
            prop_assert!(fields <= bytes.len());
        }
    }
}
