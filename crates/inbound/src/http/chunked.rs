//! The chunked transfer coding, RFC 9112 §7.1, decoded without I/O.
//!
//! ```text
//! chunk      size in hex | [ ; extension ] | CR LF | data (size) | CR LF
//! last       0           | [ ; extension ] | CR LF | trailer fields | CR LF
//! ```
//!
//! Strict where leniency lets two readers disagree about where a message ends: line ends are CR LF, sizes are bare hex.

use std::mem;

use thiserror::Error;

/// A size with more digits than this, zeros included, is refused.
const MAX_DIGITS: usize = 15;

/// An extension longer than this is refused.
const MAX_EXTENSION: usize = 1024;

/// Trailer fields longer than this in all are refused.
const MAX_TRAILER: usize = 8 * 1024;

/// Reads one chunked body.
#[derive(Debug, Default)]
pub struct Decoder {
    state: State,
    size: u64,
    trailer: Vec<u8>,
}

/// A piece of a chunked body.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Data; never empty.
    Data(&'a [u8]),
    /// The body is over. These are its trailer fields with their line ends, without the empty line.
    End(Vec<u8>),
}

/// Bytes that are no chunked body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BadChunk {
    /// The size is missing, not hexadecimal, or more than 60 bits.
    #[error("bad chunk size")]
    Size,
    /// Something else where a line must end.
    #[error("bad line end in a chunked body")]
    LineEnd,
    /// An extension or a trailer without end.
    #[error("endless chunk extension or trailer")]
    TooLong,
    /// Trailer fields that are none. Never from [`Decoder::next`], which does not look into them.
    #[error("malformed trailer fields")]
    Trailer,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Size,
    /// After so many digits.
    MoreSize(usize),
    Extension(usize),
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// At the start of a trailer line.
    Trailer,
    TrailerLine,
    TrailerLf,
    LastLf,
    Done,
}

impl Decoder {
    /// Takes the next piece from the front of `input`. `Ok(None)`: `input` is used up and the body goes on. After
    /// [`Piece::End`] nothing more is taken.
    ///
    /// # Errors
    /// See [`BadChunk`]. The decoder must not be used after one.
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Piece<'a>>, BadChunk> {
        loop {
            match self.state {
                State::Data => {
                    let length = usize::try_from(self.size).unwrap_or(usize::MAX).min(input.len());
                    let (data, rest) = input.split_at_checked(length).unwrap_or((input, &[]));
                    if data.is_empty() {
                        return Ok(None);
                    }
                    *input = rest;
                    self.size = self.size.saturating_sub(data.len() as u64);
                    if self.size == 0 {
                        self.state = State::DataCr;
                    }
                    return Ok(Some(Piece::Data(data)));
                }
                State::Done => return Ok(None),
                _ => {}
            }
            let Some((&byte, rest)) = input.split_first() else {
                return Ok(None);
            };
            *input = rest;
            self.state = self.after(byte)?;
            if matches!(self.state, State::Done) {
                return Ok(Some(Piece::End(mem::take(&mut self.trailer))));
            }
        }
    }

    /// Whether the end has been read.
    #[must_use]
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// The state after one byte that is not data.
    fn after(&mut self, byte: u8) -> Result<State, BadChunk> {
        Ok(match (&self.state, byte) {
            (State::Size, digit) if digit.is_ascii_hexdigit() => self.grow(digit, 1)?,
            (State::MoreSize(digits), digit) if digit.is_ascii_hexdigit() => self.grow(digit, digits + 1)?,
            (State::MoreSize(_), b'\r') => State::SizeLf,
            (State::MoreSize(_), b';' | b' ' | b'\t') => State::Extension(0),
            (State::Size | State::MoreSize(_), _) => return Err(BadChunk::Size),
            (State::Extension(_), b'\r') => State::SizeLf,
            (State::Extension(_), b'\n' | 0) => return Err(BadChunk::LineEnd),
            (State::Extension(length), _) if *length >= MAX_EXTENSION => return Err(BadChunk::TooLong),
            (State::Extension(length), _) => State::Extension(length + 1),
            (State::SizeLf, b'\n') if self.size == 0 => State::Trailer,
            (State::SizeLf, b'\n') => State::Data,
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::Size,
            (State::Trailer, b'\r') => State::LastLf,
            (State::LastLf, b'\n') => State::Done,
            (State::Trailer | State::TrailerLine, b'\n' | 0) => return Err(BadChunk::LineEnd),
            (State::TrailerLine, b'\r') => self.keep(byte, State::TrailerLf)?,
            (State::Trailer | State::TrailerLine, _) => self.keep(byte, State::TrailerLine)?,
            (State::TrailerLf, b'\n') => self.keep(byte, State::Trailer)?,
            _ => return Err(BadChunk::LineEnd),
        })
    }

    /// Adds the last of so many digits to the size.
    fn grow(&mut self, digit: u8, digits: usize) -> Result<State, BadChunk> {
        let value = char::from(digit).to_digit(16).ok_or(BadChunk::Size)?;
        if digits > MAX_DIGITS {
            return Err(BadChunk::Size);
        }
        self.size = self.size << 4 | u64::from(value);
        Ok(State::MoreSize(digits))
    }

    fn keep(&mut self, byte: u8, next: State) -> Result<State, BadChunk> {
        if self.trailer.len() >= MAX_TRAILER {
            return Err(BadChunk::TooLong);
        }
        self.trailer.push(byte);
        Ok(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, PartialEq, Eq)]
    struct Decoded {
        data: Vec<u8>,
        trailer: Option<Vec<u8>>,
        left: Vec<u8>,
    }

    /// Decodes `input`, cut in two at `cut`.
    fn decode(input: &[u8], cut: usize) -> Result<Decoded, BadChunk> {
        let mut decoder = Decoder::default();
        let mut decoded = Decoded::default();
        for mut part in [&input[..cut], &input[cut..]] {
            while let Some(piece) = decoder.next(&mut part)? {
                match piece {
                    Piece::Data(piece) => decoded.data.extend_from_slice(piece),
                    Piece::End(fields) => decoded.trailer = Some(fields),
                }
            }
            decoded.left.extend_from_slice(part);
        }
        assert_eq!(decoded.trailer.is_some(), decoder.is_done());
        Ok(decoded)
    }

    /// F-A1
    #[test]
    fn bodies_cut_anywhere() {
        for (input, data, trailer, left) in [
            (&b"0\r\n\r\nGET"[..], &b""[..], &b""[..], &b"GET"[..]),
            (b"5\r\nhello\r\n0\r\n\r\n", b"hello", b"", b""),
            (b"00A;x=\"y\"\r\n0123456789\r\n1 \r\n!\r\n0\r\n\r\n", b"0123456789!", b"", b""),
            (b"1\r\na\r\n0;z\r\nX: 1\r\nY: 2\r\n\r\nrest", b"a", b"X: 1\r\nY: 2\r\n", b"rest"),
        ] {
            for cut in 0..=input.len() {
                let expected = Decoded { data: data.to_vec(), trailer: Some(trailer.to_vec()), left: left.to_vec() };
                assert_eq!(decode(input, cut), Ok(expected), "{cut}");
            }
        }
    }

    /// F-A9
    #[test]
    fn bad_bodies_are_refused_wherever_they_are_cut() {
        use BadChunk::*;
        let long_extension = [&b"1;"[..], &[b'x'; 2000]].concat();
        let long_trailer = [&b"0\r\nX: "[..], &[b'x'; 9000]].concat();
        for (input, why) in [
            (&b"\r\n"[..], Size),
            (b"x\r\n", Size),
            (b"-1\r\n", Size),
            (b"+1\r\n", Size),
            (b"0x1\r\n", Size),
            (b" 1\r\n", Size),
            (b"fffffffffffffffff\r\n", Size),
            (b"1000000000000000\r\n", Size),
            (b"0000000000000001\r\n", Size),
            (b"1\na\r\n", Size),
            (b"1;x\na\r\n", LineEnd),
            (b"1\r\ra\r\n", LineEnd),
            (b"1\r\nab\r\n", LineEnd),
            (b"1\r\na\n0\r\n", LineEnd),
            (b"1\r\na\rb", LineEnd),
            (b"0\r\n\n", LineEnd),
            (b"0\r\nX: 1\n\r\n", LineEnd),
            (b"0\r\nX: 1\r\r\n", LineEnd),
            (b"0\r\n\rX", LineEnd),
            (&long_extension, TooLong),
            (&long_trailer, TooLong),
        ] {
            for cut in 0..=input.len().min(40) {
                assert_eq!(decode(input, cut), Err(why), "{cut} {:?}", input.escape_ascii().to_string());
            }
        }
    }
}
