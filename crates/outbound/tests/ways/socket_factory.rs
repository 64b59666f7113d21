//! F-B13: no socket of ours without the routing mark.

use std::path::Path;

use adit_net::SocketOptions;
use adit_outbound::options::Kind;
use socket2::SockRef;

use crate::scene::{Names, book, connect, echo, outbound, target};

/// Setting a mark needs a capability; without it, the dial must fail rather than go out unmarked.
#[tokio::test]
async fn the_mark_is_on_the_socket_or_the_dial_fails() {
    let (at, _echo) = echo().await;
    let mut marked = outbound("marked", Kind::Direct);
    marked.common.socket = SocketOptions { mark: 0x2a, ..SocketOptions::default() };
    let book = book(vec![marked], Vec::new(), Names::default());
    match connect(&book, "marked", &target(at)).await {
        Ok(stream) => assert_eq!(SockRef::from(stream.raw_reader().unwrap()).mark().unwrap(), 0x2a),
        Err(error) => assert!(error.to_string().contains("Operation not permitted"), "{error}"),
    }
}

/// Every socket comes from `adit_net::SocketOptions`: the sources of this crate name no other maker.
#[test]
fn sockets_are_made_in_one_place() {
    let makers =
        ["TcpStream::connect", "TcpSocket::", "UdpSocket::bind", "UdpSocket::from_std", "Socket::new", "std::net::Tcp"];
    let mut seen = 0;
    for file in sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")) {
        let text = std::fs::read_to_string(&file).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        for maker in makers {
            assert!(!code.contains(maker), "{} makes a socket with {maker}", file.display());
        }
        seen += 1;
    }
    assert!(seen > 15, "only {seen} files were found");
}

/// All source files but those of tests.
fn sources(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let is_test = path.file_stem().is_some_and(|stem| stem == "tests" || stem == "testing");
        if path.is_dir() && !is_test {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") && !is_test {
            files.push(path);
        }
    }
    files
}
