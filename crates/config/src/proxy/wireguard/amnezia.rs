//! `amnezia-wg-option`: AmneziaWG 1.0 to 2.0 from text.

use std::ops::RangeInclusive;

use adit_wireguard::options::{Header, Junk, Obfuscation, Piece, Prefix};

use crate::proxy::flaw::Flaw;
use crate::report::shown;

/// The keys we understand.
pub(crate) const KEYS: [&str; 16] =
    ["jc", "jmin", "jmax", "s1", "s2", "s3", "s4", "h1", "h2", "h3", "h4", "i1", "i2", "i3", "i4", "i5"];

/// Keys that exist and that we do not have: controlled junk of 1.5, and all that came with 3.
pub(crate) const UNSUPPORTED: [&str; 13] = [
    "j1",
    "j2",
    "j3",
    "itime",
    "header-protection-key",
    "content-padding-addition",
    "rekey-after-time",
    "rekey-timeout",
    "reject-after-time",
    "keepalive-timeout",
    "max-handshake-attempts",
    "random-trailers",
    "disable-cookies",
];

/// The longest piece of padding or junk, in bytes.
const LONGEST: u16 = 1280;

/// The disguise that `written` (any of [`KEYS`] with their values; the empty ones do not count) asks for.
/// `None` is plain WireGuard: nothing was asked for, or something was wrong.
pub(crate) fn obfuscation(written: &[(&'static str, &str)], flaws: &mut Vec<Flaw>) -> Option<Obfuscation> {
    let before = flaws.len();
    let value = |key: &str| {
        let found = written.iter().find(|(name, value)| *name == key && !value.trim().is_empty());
        found.map(|(key, value)| (*key, value.trim()))
    };
    let made = Obfuscation {
        junk: junk(value, flaws),
        prefix: Prefix {
            initiation: size(value("s1"), LONGEST, flaws),
            response: size(value("s2"), LONGEST, flaws),
            cookie: size(value("s3"), LONGEST, flaws),
            data: size(value("s4"), LONGEST, flaws),
        },
        header: header(value, flaws),
        imitation: ["i1", "i2", "i3", "i4", "i5"]
            .into_iter()
            .filter_map(value)
            .filter_map(|(key, text)| pieces(key, text).map_err(|flaw| flaws.push(flaw)).ok())
            .collect(),
    };
    (flaws.len() == before && made != Obfuscation::default()).then_some(made)
}

type Written<'w> = Option<(&'static str, &'w str)>;

fn junk<'w>(value: impl Fn(&str) -> Written<'w>, flaws: &mut Vec<Flaw>) -> Junk {
    const MOST: u16 = 128;
    let count = size(value("jc"), MOST, flaws);
    let (least, most) = (size(value("jmin"), LONGEST, flaws), size(value("jmax"), LONGEST, flaws));
    if count > 0 && least > most {
        flaws.push(Flaw::wrong("jmax", format!("`jmax` ({most}) is less than `jmin` ({least})")));
    } else if count > 0 && most == 0 {
        flaws.push(
            Flaw::wrong("jc", "`jc` needs `jmax` beside it, and may have `jmin`").hint("such as jmin: 40, jmax: 70"),
        );
    }
    let length = (count > 0).then_some(least..=most);
    Junk { count: u8::try_from(count).unwrap_or(u8::MAX), length }
}

/// A number of bytes or packets; 0 if it is not written.
fn size(written: Written<'_>, most: u16, flaws: &mut Vec<Flaw>) -> u16 {
    let Some((key, text)) = written else { return 0 };
    match text.parse() {
        Ok(size) if size <= most => size,
        _ => {
            flaws.push(Flaw::wrong(key, format!("`{key}` must be a number from 0 to {most}, found '{}'", shown(text))));
            0
        }
    }
}

fn header<'w>(value: impl Fn(&str) -> Written<'w>, flaws: &mut Vec<Flaw>) -> Header {
    let keys = ["h1", "h2", "h3", "h4"];
    let plain = Header::default();
    let mut ranges = [plain.initiation, plain.response, plain.cookie, plain.data];
    for (range, key) in ranges.iter_mut().zip(keys) {
        let Some((key, text)) = value(key) else { continue };
        match words(text) {
            Some(written) => *range = written,
            None => {
                let text = format!("`{key}` must be a 32-bit number or a range of them, found '{}'", shown(text));
                flaws.push(Flaw::wrong(key, text).hint("it looks like 1234567891 or 100-200"));
                return Header::default();
            }
        }
    }
    for (later, range) in ranges.iter().enumerate() {
        let overlaps = |other: &RangeInclusive<u32>| other.start() <= range.end() && range.start() <= other.end();
        if let Some(earlier) = ranges.iter().take(later).position(overlaps) {
            // Blame one that was written.
            let (first, second) = (keys.get(earlier).copied().unwrap_or(""), keys.get(later).copied().unwrap_or(""));
            let key = value(second).or_else(|| value(first)).map_or(second, |(key, _)| key);
            let text = format!("`{first}` and `{second}` overlap: messages could not be told apart");
            flaws.push(Flaw::wrong(key, text));
            return Header::default();
        }
    }
    let [initiation, response, cookie, data] = ranges;
    Header { initiation, response, cookie, data }
}

fn words(text: &str) -> Option<RangeInclusive<u32>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    (first <= last).then_some(first..=last)
}

/// `<b 0x…><c><t><r 10><rc 10><rd 10>`, in any number and order.
fn pieces(key: &'static str, text: &str) -> Result<Vec<Piece>, Flaw> {
    /// What one UDP datagram carries.
    const LARGEST: usize = 65_507;
    let wrong = |why: String| Flaw::wrong(key, format!("`{key}`: {why}")).hint("it looks like <b 0xc0ff><c><t><r 16>");
    let mut pieces = Vec::new();
    let (mut rest, mut bytes) = (text, 0_usize);
    while !rest.trim_start().is_empty() {
        let inside = rest.trim_start().strip_prefix('<').and_then(|rest| rest.split_once('>'));
        let Some((tag, behind)) = inside else {
            return Err(wrong("not a list of <tags>".to_owned()));
        };
        let piece = piece(tag.trim()).map_err(wrong)?;
        bytes += length(&piece);
        pieces.push(piece);
        rest = behind;
    }
    if bytes > LARGEST {
        return Err(wrong(format!("a packet of {bytes} bytes does not fit into a datagram")));
    }
    Ok(pieces)
}

fn piece(tag: &str) -> Result<Piece, String> {
    const MOST: u16 = 1000;
    let (name, argument) = tag.split_once(char::is_whitespace).unwrap_or((tag, ""));
    let argument = argument.trim();
    let count = || match argument.parse() {
        Ok(count) if count <= MOST => Ok(count),
        _ => Err(format!("<{}> needs a number from 0 to {MOST}", shown(name))),
    };
    match name {
        "b" => hexadecimal(argument).map(Piece::Bytes).ok_or_else(|| "<b> needs bytes such as 0xc0ff".to_owned()),
        "c" if argument.is_empty() => Ok(Piece::Counter),
        "t" if argument.is_empty() => Ok(Piece::Time),
        "r" => count().map(Piece::Random),
        "rc" => count().map(Piece::RandomLetters),
        "rd" => count().map(Piece::RandomDigits),
        _ => Err(format!("<{}> is not supported; b, c, t, r, rc and rd are", shown(name))),
    }
}

fn hexadecimal(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"))?;
    let digits: Vec<u32> = digits.chars().map(|digit| digit.to_digit(16)).collect::<Option<_>>()?;
    if digits.is_empty() || !digits.len().is_multiple_of(2) {
        return None;
    }
    digits.chunks_exact(2).map(|pair| u8::try_from(pair.iter().fold(0, |byte, digit| byte << 4 | digit)).ok()).collect()
}

fn length(piece: &Piece) -> usize {
    match piece {
        Piece::Bytes(bytes) => bytes.len(),
        Piece::Counter | Piece::Time => 4,
        Piece::Random(n) | Piece::RandomLetters(n) | Piece::RandomDigits(n) => usize::from(*n),
    }
}

/// The same as [`obfuscation`], the other way round: the keys that differ from plain WireGuard.
pub(crate) fn written(made: &Obfuscation) -> Vec<(&'static str, String)> {
    let Obfuscation { junk, prefix, header, imitation } = made;
    let plain = Header::default();
    let mut keys = Vec::new();
    if let Some(length) = &junk.length {
        keys.push(("jc", junk.count.to_string()));
        keys.push(("jmin", length.start().to_string()));
        keys.push(("jmax", length.end().to_string()));
    }
    let sizes = [("s1", prefix.initiation), ("s2", prefix.response), ("s3", prefix.cookie), ("s4", prefix.data)];
    keys.extend(sizes.into_iter().filter(|(_, size)| *size > 0).map(|(key, size)| (key, size.to_string())));
    let words = [
        ("h1", &header.initiation, plain.initiation),
        ("h2", &header.response, plain.response),
        ("h3", &header.cookie, plain.cookie),
        ("h4", &header.data, plain.data),
    ];
    keys.extend(words.into_iter().filter(|(_, range, plain)| *range != plain).map(|(key, range, _)| {
        let (first, last) = (range.start(), range.end());
        (key, if first == last { first.to_string() } else { format!("{first}-{last}") })
    }));
    let packets = ["i1", "i2", "i3", "i4", "i5"].into_iter().zip(imitation);
    keys.extend(packets.map(|(key, pieces)| (key, pieces.iter().map(tag).collect())));
    keys
}

fn tag(piece: &Piece) -> String {
    match piece {
        Piece::Bytes(bytes) => {
            let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("<b 0x{digits}>")
        }
        Piece::Counter => "<c>".to_owned(),
        Piece::Time => "<t>".to_owned(),
        Piece::Random(n) => format!("<r {n}>"),
        Piece::RandomLetters(n) => format!("<rc {n}>"),
        Piece::RandomDigits(n) => format!("<rd {n}>"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let keys = [
            ("jc", "4"),
            ("jmin", "40"),
            ("jmax", "70"),
            ("s1", "15"),
            ("s4", "8"),
            ("h1", "100-200"),
            ("h4", "4294967295"),
            ("i1", "<b 0x0aFF><c> <t><r 10>"),
            ("i3", "<rc 7><rd 0>"),
        ];
        let mut flaws = Vec::new();
        let made = obfuscation(&keys, &mut flaws).unwrap();
        assert!(flaws.is_empty(), "{flaws:?}");
        assert_eq!(made.junk, Junk { count: 4, length: Some(40..=70) });
        assert_eq!(made.imitation[0].len(), 4);
        let texts = written(&made);
        let again: Vec<(&'static str, &str)> = texts.iter().map(|(key, text)| (*key, &**text)).collect();
        assert_eq!(obfuscation(&again, &mut flaws), Some(made));
    }

    #[test]
    fn values_that_change_nothing_are_plain_wireguard() {
        let mut flaws = Vec::new();
        let keys = [("jc", "0"), ("s1", "0"), ("h1", "1"), ("h2", "2"), ("i1", "")];
        assert_eq!((obfuscation(&keys, &mut flaws), flaws.len()), (None, 0));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (key, value, about) in [
            ("jc", "129", "`jc` must be a number from 0 to 128, found '129'"),
            ("jc", "3", "`jc` needs `jmax` beside it, and may have `jmin`"),
            ("jmin", "1281", "`jmin` must be a number from 0 to 1280, found '1281'"),
            ("s1", "-1", "`s1` must be a number from 0 to 1280, found '-1'"),
            ("h1", "x", "`h1` must be a 32-bit number or a range of them, found 'x'"),
            ("h1", "9-8", "`h1` must be a 32-bit number or a range of them, found '9-8'"),
            ("h1", "1-2", "`h1` and `h2` overlap: messages could not be told apart"),
            ("i1", "<b 0x1>", "`i1`: <b> needs bytes such as 0xc0ff"),
            ("i1", "<r 1001>", "`i1`: <r> needs a number from 0 to 1000"),
            ("i1", "<d>", "`i1`: <d> is not supported; b, c, t, r, rc and rd are"),
            ("i1", "b 0x00", "`i1`: not a list of <tags>"),
        ] {
            let mut flaws = Vec::new();
            assert_eq!(obfuscation(&[(key, value)], &mut flaws), None);
            assert_eq!((flaws[0].key, &*flaws[0].message), (key, about));
        }
        let huge = "<r 1000>".repeat(66);
        let mut flaws = Vec::new();
        assert_eq!(obfuscation(&[("i2", &huge)], &mut flaws), None);
        assert!(flaws[0].message.contains("66000 bytes"));
    }
}
