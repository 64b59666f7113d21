//! The stream against a scripted server, without a network: every cut, every kind of inner connection.

use std::future::poll_fn;
use std::time::Duration;

use adit_reality::{Content, Opened};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
use tokio::time::{Instant, timeout};

use super::frame::{Command, push};
use super::observe::tests::{client_hello, server_hello};
use super::*;
use crate::vless::header;
use crate::vless::testing::{Layer, Memory, Scripted};

type Vision<S> = VisionStream<S, Layer, Layer>;

fn id() -> UserId {
    UserId::parse("b831381d-6324-4d53-ad4f-8cda48b30811").unwrap()
}

fn request() -> Vec<u8> {
    let mut header = Vec::new();
    header::request(&id(), true, header::Command::Tcp(&"example.com:443".parse().unwrap()), &mut header);
    header
}

fn vision<S: Stream>(io: S) -> Vision<S> {
    VisionStream::new(io, Layer::default(), Layer::default(), Vec::new(), id(), Opening::new(request()))
}

fn frame(first: bool, command: Command, content: &[u8], padding: u16) -> Vec<u8> {
    let mut out = Vec::new();
    push(first.then(id).as_ref(), command, content, padding, &mut out);
    out
}

/// Seals each piece as one record.
fn seal(layer: &mut Layer, pieces: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    for piece in pieces {
        layer.seal(piece, &mut out).unwrap();
    }
    out
}

/// An application-data record of the inner connection: what follows the switch looks just like the outer layer.
fn inner_record(length: usize) -> Vec<u8> {
    let mut record = vec![0x17, 3, 3];
    record.extend_from_slice(&(length as u16).to_be_bytes());
    record.extend((0..length).map(|i| i as u8));
    record
}

async fn read_all(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    stream.read_to_end(&mut all).await?;
    Ok(all)
}

/// What a server sees: the request header, the unframed bytes, and what came raw behind the switch.
struct Seen {
    header: Vec<u8>,
    content: Vec<u8>,
    raw: Vec<u8>,
    then: Then,
    /// Sizes of the records' contents.
    records: Vec<usize>,
    closed: bool,
}

fn as_server(written: &[u8]) -> Seen {
    let mut wire = written.to_vec();
    let (mut layer, mut frames, mut header) = (Layer::default(), Unpad::new(id()), Vec::new());
    let (mut content, mut then, mut records, mut closed) = (Vec::new(), Then::Frames, Vec::new(), false);
    while then != Then::Raw && !wire.is_empty() {
        let Opened::Record { consumed, content: found } = layer.open(&mut wire).unwrap() else {
            panic!("half a record")
        };
        if let Content::Data(data) = found {
            records.push(data.len());
            let mut data = data;
            if header.is_empty() {
                header = data[..request().len()].to_vec();
                data = &data[header.len()..];
            }
            if then == Then::Frames {
                let found = frames.feed(data, &mut content).unwrap();
                then = found.then;
                data = &data[found.consumed..];
            }
            content.extend_from_slice(data);
        } else {
            closed |= found == Content::Closed;
        }
        wire.drain(..consumed);
    }
    Seen { header, content, raw: wire, then, records, closed }
}

/// Trap 10 and F-F10: the switch at every cut of the stream, with the bytes behind it in the same piece, where they
/// look like records of the outer layer but are not.
#[tokio::test]
async fn trap_10_bytes_after_direct_are_raw() {
    let mut layer = Layer::default();
    let hello = server_hello(0x1301, true);
    let first = [&[0, 0][..], &frame(true, Command::Continue, &hello, 40)].concat();
    let last = frame(false, Command::Direct, &inner_record(30), 20);
    let mut wire = seal(&mut layer, &[&first, &last]);
    let raw = [inner_record(50), inner_record(7), b"no record at all".to_vec()].concat();
    wire.extend_from_slice(&raw);
    let expected = [&hello[..], &inner_record(30), &raw].concat();

    for first in 0..=wire.len() {
        for second in [first, first + 1, first + 7, wire.len()] {
            let mut stream = vision(Scripted::new(&wire, &[first, second.min(wire.len())]));
            assert!(read_all(&mut stream).await.unwrap() == expected, "cut at {first} and {second}");
            assert!(matches!(stream.reading, Reading::Raw));
        }
    }
    let every: Vec<usize> = (0..wire.len()).collect();
    assert!(read_all(&mut vision(Scripted::new(&wire, &every))).await.unwrap() == expected, "byte by byte");
}

/// F-F10: the frame that switches, cut over two records at every byte; and several frames in one record.
#[tokio::test]
async fn the_direct_frame_may_span_records() {
    let plain =
        [&[0, 0][..], &frame(true, Command::Continue, b"one", 3), &frame(false, Command::Direct, b"two", 5)].concat();
    for cut in 0..=plain.len() {
        let mut layer = Layer::default();
        let (front, back) = plain.split_at(cut);
        let mut wire = Vec::new();
        layer.push_empty(&mut wire);
        wire.extend(seal(&mut layer, &[front]));
        layer.push_empty(&mut wire);
        wire.extend(seal(&mut layer, &[back]));
        if cut == plain.len() {
            // `seal` makes nothing of nothing; the empty record before it would be behind the switch.
            wire.truncate(wire.len() - 22);
        }
        wire.extend_from_slice(b"three");
        let mut stream = vision(Scripted::new(&wire, &[]));
        assert_eq!(read_all(&mut stream).await.unwrap(), b"onetwothree", "cut at {cut}");
    }
}

/// F-F10: plaintext behind the direct frame in its own record comes before the raw bytes.
#[tokio::test]
async fn plaintext_behind_the_direct_frame_is_not_lost() {
    let plain = [&[0, 0][..], &frame(true, Command::Direct, b"one", 9), b"two"].concat();
    let wire = [&seal(&mut Layer::default(), &[&plain])[..], b"three"].concat();
    for room in [1, 2, 4, 100] {
        let mut stream = vision(Scripted::new(&wire, &[]));
        let (mut all, mut buf) = (Vec::new(), vec![0; room]);
        loop {
            match stream.read(&mut buf).await.unwrap() {
                0 => break,
                n => all.extend_from_slice(&buf[..n]),
            }
        }
        assert_eq!(all, b"onetwothree");
    }
}

#[tokio::test]
async fn an_ended_or_unframed_direction_stays_sealed() {
    for unframed in [false, true] {
        let mut layer = Layer::default();
        let first = if unframed { b"plain ".to_vec() } else { frame(true, Command::End, b"plain ", 77) };
        let mut wire = seal(&mut layer, &[&[&[0, 3, 9, 9, 9][..], &first, b"text "].concat(), b"goes "]);
        layer.push_key_update(&mut wire);
        layer.push_empty(&mut wire);
        wire.extend(seal(&mut layer, &[b"on"]));
        layer.alert(Alert::CLOSE_NOTIFY, &mut wire).unwrap();
        for cut in 0..=wire.len() {
            let mut stream = vision(Scripted::new(&wire, &[cut]));
            assert_eq!(read_all(&mut stream).await.unwrap(), b"plain text goes on");
            // F-F6: our key follows before anything else of ours.
            stream.write_all(b"x").await.unwrap();
            let mut sent = stream.io.written;
            let opened = Layer::default().open(&mut sent).unwrap();
            assert_eq!(opened, Opened::Record { consumed: 27, content: Content::KeyUpdate { reply: false } });
        }
    }
}

/// F-B5: an end without close_notify is an error as long as the direction is sealed, and an end afterwards.
#[tokio::test]
async fn a_cut_connection_is_not_an_end_of_stream() {
    let mut layer = Layer::default();
    let sealed = seal(&mut layer, &[&[&[0, 0][..], &frame(true, Command::Continue, b"half", 0)].concat()]);
    let direct = seal(&mut layer, &[&frame(false, Command::Direct, b" an answer", 0)]);

    let mut stream = vision(Scripted::new(&sealed, &[]));
    let mut half = [0; 4];
    stream.read_exact(&mut half).await.unwrap();
    assert_eq!(stream.read(&mut half).await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);

    let mut stream = vision(Scripted::new(&[sealed, direct].concat(), &[]));
    assert_eq!(read_all(&mut stream).await.unwrap(), b"half an answer");
}

/// F-F12
#[tokio::test]
async fn a_server_that_turns_us_away_is_an_error_unless_we_had_finished() {
    let mut wire = Vec::new();
    Layer::default().alert(Alert::CLOSE_NOTIFY, &mut wire).unwrap();
    let mut stream = vision(Scripted::new(&wire, &[]));
    let error = read_all(&mut stream).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    assert!(error.to_string().contains("uuid"), "{error}");

    let mut stream = vision(Scripted::new(&wire, &[]));
    stream.shutdown().await.unwrap();
    assert_eq!(read_all(&mut stream).await.unwrap(), b"");

    let not_vless = seal(&mut Layer::default(), &[b"HTTP/1.1 400 Bad Request\r\n"]);
    let error = read_all(&mut vision(Scripted::new(&not_vless, &[]))).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    let unknown = [&[0, 0][..], id().as_bytes(), &[9, 0, 0, 0, 0]].concat();
    let unknown = seal(&mut Layer::default(), &[&unknown]);
    assert!(read_all(&mut vision(Scripted::new(&unknown, &[]))).await.is_err());
}

/// A record that does not open is answered with the right alert, and nothing of it is delivered.
#[tokio::test]
async fn a_damaged_record_ends_both_directions() {
    let mut wire = seal(&mut Layer::default(), &[b"\0\0"]);
    *wire.last_mut().unwrap() ^= 1;
    let mut stream = vision(Scripted::new(&wire, &[]));
    assert_eq!(read_all(&mut stream).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
    let mut sent = stream.io.written.clone();
    assert_eq!(Layer::default().open(&mut sent), Err(Error::PeerAlert(Alert::BAD_RECORD_MAC)));
    assert!(stream.write(b"more").await.is_err());
}

/// F-F11 and §1.4: header and first frame share a record, the switch comes with the first application data, and what
/// follows is raw, whatever the socket takes at once.
#[tokio::test]
async fn uplink_of_tls13_leaves_the_outer_layer() {
    let finished = [&[0x14, 3, 3, 0, 1, 1][..], &inner_record(53)].concat();
    let bulk = [inner_record(4000), inner_record(16_401), inner_record(16_401)].concat();
    for takes in [1, 7, 1000, usize::MAX] {
        let answer = [&[0, 0][..], &frame(true, Command::Continue, &server_hello(0x1302, true), 0)].concat();
        let mut stream = vision(Scripted::new(&seal(&mut Layer::default(), &[&answer]), &[]));
        stream.io.takes = takes;
        stream.write_all(&client_hello()).await.unwrap();
        let mut hello = vec![0; server_hello(0x1302, true).len()];
        stream.read_exact(&mut hello).await.unwrap();
        for bytes in [&finished[..], &bulk[..5000], &bulk[5000..], b"after"] {
            stream.write_all(bytes).await.unwrap();
            stream.flush().await.unwrap();
        }
        assert!(matches!(stream.writing, Writing::Raw));
        stream.shutdown().await.unwrap();

        let seen = as_server(&stream.io.written);
        assert_eq!(seen.header, request());
        assert_eq!(seen.then, Then::Raw);
        assert!(seen.records[0] > request().len() + client_hello().len(), "one record for header and hello");
        let sent = [&client_hello()[..], &finished, &bulk, b"after"].concat();
        assert!([&seen.content[..], &seen.raw].concat() == sent);
        assert_eq!(seen.content.len(), 517 + finished.len() + 4005, "the switch is at the first boundary");
        assert!(stream.io.shut && !seen.closed, "no alert after the switch");
    }
}

/// F-F11: with TLS 1.2 or no TLS inside, frames end and the outer layer stays, to the close_notify.
#[tokio::test]
async fn uplink_of_anything_else_stays_sealed() {
    let mut stream = vision(Scripted::new(&[], &[]));
    let text = vec![b'x'; 300_000];
    stream.write_all(&text).await.unwrap();
    stream.shutdown().await.unwrap();
    let seen = as_server(&stream.io.written);
    assert!(seen.content == text && seen.raw.is_empty() && seen.closed);
    assert_eq!(seen.then, Then::Sealed);
    assert!(seen.records.iter().filter(|&&n| n == 16_384).count() > 10, "large writes make full records");
}

/// F-A15, spec §1.4: when the client says nothing for half a second, the header goes with an empty long frame, and the
/// server's greeting comes back.
#[tokio::test(start_paused = true)]
async fn servers_may_speak_first() {
    let (ours, mut theirs) = duplex(100_000);
    let mut stream = vision(Memory(ours));
    let start = Instant::now();
    let server = async {
        let mut wire = vec![0; 5];
        theirs.read_exact(&mut wire).await.unwrap();
        let waited = start.elapsed();
        wire.resize(5 + usize::from(u16::from_be_bytes([wire[3], wire[4]])), 0);
        theirs.read_exact(&mut wire[5..]).await.unwrap();
        let greeting = [&[0, 0][..], &frame(true, Command::Continue, b"220 ready\r\n", 200)].concat();
        theirs.write_all(&seal(&mut Layer::default(), &[&greeting])).await.unwrap();
        (waited, as_server(&wire))
    };
    let mut greeting = [0; 11];
    let (read, (waited, seen)) = tokio::join!(stream.read_exact(&mut greeting), server);
    read.unwrap();
    assert_eq!(&greeting, b"220 ready\r\n");
    assert!((500..510).contains(&waited.as_millis()), "{waited:?}");
    assert_eq!(seen.header, request());
    assert!(seen.content.is_empty());
    assert!((900..1400).contains(&(seen.records[0] - request().len() - 21)));

    // The id was shown with that frame; the next one does not repeat it.
    stream.write_all(b"EHLO example").await.unwrap();
    let mut next = vec![0; 1500];
    let n = theirs.read(&mut next).await.unwrap();
    let mut layer = Layer::default();
    layer.push_empty(&mut Vec::new());
    let Opened::Record { content: Content::Data(data), .. } = layer.open(&mut next[..n]).unwrap() else {
        panic!("data")
    };
    assert_eq!(data[..17], [&[0, 0, 12][..], &data[3..5], b"EHLO example"].concat());
}

/// F-F12: the upload does not wait for the answer, which may come minutes later or never.
#[tokio::test(start_paused = true)]
async fn the_upload_does_not_wait_for_the_answer() {
    let (ours, mut theirs) = duplex(1 << 20);
    let mut stream = vision(Memory(ours));
    let mut byte = [0];
    assert!(timeout(Duration::from_secs(300), stream.read(&mut byte)).await.is_err());
    stream.write_all(&[b'u'; 200_000]).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut wire = Vec::new();
    theirs.read_to_end(&mut wire).await.unwrap();
    assert_eq!(as_server(&wire).content.len(), 200_000);
    let answer = [&[0, 0][..], &frame(true, Command::End, b"late", 0)].concat();
    theirs.write_all(&seal(&mut Layer::default(), &[&answer])).await.unwrap();
    let mut late = [0; 4];
    stream.read_exact(&mut late).await.unwrap();
    assert_eq!(&late, b"late");
}

/// F-B1: a client that only listens sends the request with its end.
#[tokio::test]
async fn a_client_without_a_word_may_still_listen() {
    let answer = [&[0, 0][..], &frame(true, Command::Continue, b"news", 0)].concat();
    let mut layer = Layer::default();
    let mut wire = seal(&mut layer, &[&answer]);
    layer.alert(Alert::CLOSE_NOTIFY, &mut wire).unwrap();
    let mut stream = vision(Scripted::new(&wire, &[]));
    stream.shutdown().await.unwrap();
    assert_eq!(read_all(&mut stream).await.unwrap(), b"news");
    let seen = as_server(&stream.io.written);
    assert!(seen.header == request() && seen.content.is_empty() && seen.closed && stream.io.shut);
}

/// F-B7: a server that does not read stops the client; what waits is bounded.
#[tokio::test]
async fn back_pressure_is_bounded() {
    let (ours, _theirs) = duplex(1000);
    let mut stream = vision(Memory(ours));
    let mut taken = 0;
    let chunk = vec![0; 256 * 1024];
    loop {
        let written = poll_fn(|cx| Poll::Ready(Pin::new(&mut stream).poll_write(cx, &chunk))).await;
        match written {
            Poll::Ready(n) => taken += n.unwrap(),
            Poll::Pending => break,
        }
    }
    assert!(taken <= BATCH, "{taken}");
    assert!(stream.outgoing.end().capacity() <= 2 * BATCH);
}

/// Small, and nothing held while idle (performance notes §2).
#[tokio::test]
async fn idle_streams_hold_no_buffers() {
    let (ours, mut theirs) = duplex(1 << 20);
    let mut stream = vision(Memory(ours));
    stream.write_all(&[b'x'; 100_000]).await.unwrap();
    stream.flush().await.unwrap();
    let mut layer = Layer::default();
    let bulk = vec![b'y'; 100_000];
    let answer = [&[0, 0][..], &frame(true, Command::End, b"", 900)].concat();
    theirs.write_all(&seal(&mut layer, &[&answer, &bulk])).await.unwrap();
    let mut got = vec![0; bulk.len()];
    stream.read_exact(&mut got).await.unwrap();
    assert!(got == bulk);
    let mut byte = [0];
    assert!(
        poll_fn(|cx| Poll::Ready(Pin::new(&mut stream).poll_read(cx, &mut ReadBuf::new(&mut byte)))).await.is_pending()
    );
    assert_eq!(stream.incoming.capacity(), 0);
    assert_eq!(stream.content.capacity(), 0);
    assert!(stream.outgoing.end().capacity() <= 2048);
    let size = size_of::<VisionStream<adit_net::BoxStream, adit_reality::Opener, adit_reality::Sealer>>();
    // The keys are elsewhere, and gone after the switch.
    assert!(size <= 288, "{size}");
}
