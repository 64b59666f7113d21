//! The few parts of the protocol buffers encoding that geo databases use.
//!
//! A walker over borrowed bytes rather than generated messages: a site database has a hundred thousand entries, of
//! which a config uses a few lists, and only those are ever decoded.

/// Source: protobuf.dev/programming-guides/encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    /// A fixed-width number; no message of ours has one.
    Other,
}

/// The encoding contradicts itself or ends too early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Damaged;

/// The fields of one message, in order.
#[derive(Clone, Debug)]
pub(super) struct Fields<'a> {
    left: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) fn new(message: &'a [u8]) -> Self {
        Self { left: message }
    }

    fn field(&mut self) -> Result<(u64, Value<'a>), Damaged> {
        let key = self.varint()?;
        let value = match key & 7 {
            0 => Value::Varint(self.varint()?),
            1 => self.take(8).map(|_| Value::Other)?,
            2 => {
                let len = self.varint()?;
                Value::Bytes(self.take(usize::try_from(len).map_err(|_| Damaged)?)?)
            }
            5 => self.take(4).map(|_| Value::Other)?,
            _ => return Err(Damaged),
        };
        match key >> 3 {
            0 => Err(Damaged),
            number => Ok((number, value)),
        }
    }

    fn varint(&mut self) -> Result<u64, Damaged> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.left.split_first().ok_or(Damaged)?;
            self.left = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Damaged)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Damaged> {
        let (taken, rest) = self.left.split_at_checked(len).ok_or(Damaged)?;
        self.left = rest;
        Ok(taken)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>), Damaged>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.left = &[];
        }
        Some(field)
    }
}

/// The text of a field.
pub(super) fn text(bytes: &[u8]) -> Result<&str, Damaged> {
    std::str::from_utf8(bytes).map_err(|_| Damaged)
}

/// Encodes messages for tests.
#[cfg(test)]
pub(crate) mod write {
    pub(crate) fn varint(mut value: u64, out: &mut Vec<u8>) {
        while value >= 0x80 {
            out.push(value as u8 | 0x80);
            value >>= 7;
        }
        out.push(value as u8);
    }

    pub(crate) fn number(field: u64, value: u64) -> Vec<u8> {
        let mut out = Vec::new();
        varint(field << 3, &mut out);
        varint(value, &mut out);
        out
    }

    pub(crate) fn bytes(field: u64, value: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        varint(field << 3 | 2, &mut out);
        varint(value.len() as u64, &mut out);
        out.extend_from_slice(value);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_in_order_and_unknown_widths_are_skipped() {
        let mut message = write::number(1, 300);
        message.extend([0x11, 1, 2, 3, 4, 5, 6, 7, 8, 0x1d, 1, 2, 3, 4]);
        message.extend(write::bytes(4, b"x"));
        let fields: Vec<_> = Fields::new(&message).collect::<Result<_, _>>().unwrap();
        assert_eq!(fields, [(1, Value::Varint(300)), (2, Value::Other), (3, Value::Other), (4, Value::Bytes(b"x"))]);
    }

    #[test]
    fn damage_ends_the_walk_with_an_error() {
        for bad in [
            &[0x0a][..],
            &[0x0a, 5, 1],
            &[0x08],
            &[0x0b],
            &[0x02, 0],
            &[0xff; 11],
            &[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
        ] {
            let mut fields = Fields::new(bad);
            assert_eq!(fields.next(), Some(Err(Damaged)), "{bad:x?}");
            assert_eq!(fields.next(), None);
        }
    }
}
