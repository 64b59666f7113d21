//! Names and records as bytes (RFC 1035 §4.1): no allocation, no panic, whatever the bytes are.

use adit_net::Domain;

/// The longest name, in bytes, its root label included.
pub(crate) const NAME_MAX: usize = 255;
/// A message's header.
pub(crate) const HEADER: usize = 12;

/// A name as it stands in messages, in lower case, without compression.
#[derive(Clone, Copy)]
pub(crate) struct WireName {
    bytes: [u8; NAME_MAX],
    len: usize,
}

impl WireName {
    /// Reads an uncompressed name at `at`: the name, and where it ends.
    pub(crate) fn read(message: &[u8], at: usize) -> Option<(Self, usize)> {
        let mut name = Self { bytes: [0; NAME_MAX], len: 0 };
        loop {
            let from = at.checked_add(name.len)?;
            let label = usize::from(*message.get(from)?);
            // Pointers and the never used other forms of labels have a bit above these.
            let len = if label > 63 { return None } else { label.checked_add(1)? };
            let (source, target) =
                (message.get(from..from.checked_add(len)?)?, name.bytes.get_mut(name.len..name.len.checked_add(len)?)?);
            // Lengths of labels are less than any letter.
            for (target, source) in target.iter_mut().zip(source) {
                *target = source.to_ascii_lowercase();
            }
            name.len = name.len.checked_add(len)?;
            if label == 0 {
                return Some((name, from.checked_add(len)?));
            }
        }
    }

    /// A host's name.
    pub(crate) fn of(name: &Domain) -> Self {
        let mut wire = Self { bytes: [0; NAME_MAX], len: 1 };
        // A `Domain` keeps the limits of names, so nothing is cut off here.
        for label in name.as_str().split('.') {
            let room = wire.bytes.get_mut(wire.len.saturating_sub(1)..).unwrap_or_default();
            let Some(end) = label.len().checked_add(1).filter(|end| *end < room.len()) else { break };
            if let Some((len, rest)) = room.split_first_mut()
                && let Some(letters) = rest.get_mut(..label.len())
            {
                *len = u8::try_from(label.len()).unwrap_or_default();
                letters.copy_from_slice(label.as_bytes());
                wire.len = wire.len.saturating_add(end);
            }
        }
        wire
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    pub(crate) fn labels(&self) -> impl Iterator<Item = &[u8]> {
        Labels(self.as_bytes())
    }

    /// The name as configurations write it; `None` for the root, and for names that no configuration can write.
    pub(crate) fn text<'t>(&self, room: &'t mut [u8; NAME_MAX]) -> Option<&'t str> {
        let mut len = 0_usize;
        for label in self.labels() {
            let is_writable = |byte: &u8| (b' '..=b'~').contains(byte) && !matches!(byte, b'.' | b'\\');
            if !label.iter().all(is_writable) {
                return None;
            }
            room.get_mut(len..)?.get_mut(..label.len())?.copy_from_slice(label);
            len = len.checked_add(label.len())?;
            *room.get_mut(len)? = b'.';
            len = len.checked_add(1)?;
        }
        str::from_utf8(room.get(..len.checked_sub(1)?)?).ok()
    }
}

/// The labels of an uncompressed name, without the root's.
struct Labels<'a>(&'a [u8]);

impl<'a> Iterator for Labels<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (len, rest) = self.0.split_first()?;
        let (label, rest) = rest.split_at_checked((*len).into())?;
        self.0 = rest;
        (*len > 0).then_some(label)
    }
}

/// The two bytes at `at`.
pub(crate) fn u16_at(message: &[u8], at: usize) -> Option<u16> {
    message.get(at..)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
}

/// A record's fixed part and where it lies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RecordAt {
    pub(crate) is_of_root: bool,
    pub(crate) kind: u16,
    pub(crate) class: u16,
    /// Where its four bytes of TTL are.
    pub(crate) ttl: usize,
    /// Where its data begins.
    pub(crate) data: usize,
    /// Where it ends.
    pub(crate) end: usize,
}

impl RecordAt {
    /// Finds the record at `at`. Its name may be compressed; where that leads is not looked at.
    pub(crate) fn find(message: &[u8], at: usize) -> Option<Self> {
        let mut name_end = at;
        loop {
            let label = *message.get(name_end)?;
            match label {
                0 => break name_end = name_end.checked_add(1)?,
                1..=63 => name_end = name_end.checked_add(usize::from(label))?.checked_add(1)?,
                64..=191 => return None,
                192..=255 => break name_end = name_end.checked_add(2)?,
            }
            if name_end.checked_sub(at)? > NAME_MAX {
                return None;
            }
        }
        let data = name_end.checked_add(10)?;
        let end = data.checked_add(u16_at(message, name_end.checked_add(8)?)?.into())?;
        message.get(at..end)?;
        Some(Self {
            is_of_root: name_end == at.checked_add(1)?,
            kind: u16_at(message, name_end)?,
            class: u16_at(message, name_end.checked_add(2)?)?,
            ttl: name_end.checked_add(4)?,
            data,
            end,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_lower_case_and_written_as_text() {
        let message = b"..\x03wWw\x07Example\x00rest";
        let (name, end) = WireName::read(message, 2).unwrap();
        assert_eq!((name.as_bytes(), end), (&b"\x03www\x07example\x00"[..], 15));
        assert_eq!(name.text(&mut [0; NAME_MAX]), Some("www.example"));
        assert_eq!(name.labels().collect::<Vec<_>>(), [&b"www"[..], b"example"]);
        assert_eq!(WireName::of(&"www.example".parse().unwrap()).as_bytes(), name.as_bytes());
        let longest = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(61)].join(".");
        let longest = WireName::of(&longest.parse().unwrap());
        assert_eq!(WireName::read(longest.as_bytes(), 0).map(|(_, end)| end), Some(NAME_MAX));
        let (root, end) = WireName::read(b"\x00", 0).unwrap();
        assert_eq!((end, root.text(&mut [0; NAME_MAX])), (1, None));
    }

    #[test]
    fn names_that_are_none() {
        for bytes in [&b""[..], b"\x03ww", b"\x03www", b"\xc0\x0c", b"\x40a", b"\x80", b"\x01a\xc0\x00"] {
            assert!(WireName::read(bytes, 0).is_none(), "{bytes:?}");
        }
        let longest = [b"\x3f".as_slice(), &[b'a'; 63]].concat();
        let three = longest.repeat(3);
        assert!(WireName::read(&[&three[..], b"\x3d", &[b'a'; 61], b"\0"].concat(), 0).is_some());
        assert!(WireName::read(&[&three[..], b"\x3e", &[b'a'; 62], b"\0"].concat(), 0).is_none());
        assert!(WireName::read(b"\0", usize::MAX).is_none());
    }

    #[test]
    fn some_names_are_no_text() {
        for (bytes, text) in [
            (&b"\x0bmijia cloud\0"[..], Some("mijia cloud")),
            (b"\x03a.b\0", None),
            (b"\x02\\a\0", None),
            (b"\x02\xc3\xa4\0", None),
            (b"\x01\0\0", None),
        ] {
            assert_eq!(WireName::read(bytes, 0).unwrap().0.text(&mut [0; NAME_MAX]), text);
        }
    }

    #[test]
    fn records_are_found_whole_or_not_at_all() {
        let record = b"\x01a\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x02\xab\xcd";
        let found = RecordAt::find(record, 0).unwrap();
        assert_eq!((found.kind, found.class, found.ttl, found.data, found.end), (1, 1, 8, 14, 16));
        assert!(!found.is_of_root);
        for cut in 0..record.len() {
            assert!(RecordAt::find(&record[..cut], 0).is_none(), "{cut}");
        }
        assert!(RecordAt::find(record, usize::MAX).is_none());
        assert!(RecordAt::find(&[b'\x40'; 40], 0).is_none());
    }
}
