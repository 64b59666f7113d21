//! What a dashboard waits for while thousands of connections are open. Ours alone: the peers here have no API.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Instant;

use adit_testkit::client::{To, socks5};
use adit_testkit::subject::Subject;
use adit_testkit::{Process, free_port, peers};

use crate::Plan;
use crate::idle::Keeper;
use crate::table::{Samples, head, row};

/// Both ends of each connection are ours, and 20,000 descriptors are the most that containers usually have.
const TUNNELS: u64 = 9_900;

const CALLS: [(&str, &str, &str); 8] = [
    ("GET", "/version", ""),
    ("GET", "/configs", ""),
    ("GET", "/proxies", ""),
    ("GET", "/providers/proxies", ""),
    ("GET", "/rules", ""),
    ("PUT", "/proxies/Pick", r#"{"name":"two"}"#),
    ("GET", "/metrics", ""),
    ("GET", "/connections", ""),
];

fn start(port: u16, api: u16) -> Process {
    let config = format!(
        "mixed-port: {port}\nexternal-controller: 127.0.0.1:{api}\nlog-level: warning\nmode: rule\nproxies:\n  \
         - {{name: one, type: direct}}\n  - {{name: two, type: direct}}\nproxy-groups:\n  \
         - {{name: Pick, type: select, proxies: [one, two]}}\nrules:\n  - MATCH,Pick\n"
    );
    peers::adit(&config, &[port, api])
}

/// One round trip on a connection that is open: milliseconds, and bytes of the answer.
fn ask(stream: &mut TcpStream, (method, path, body): (&str, &str, &str)) -> (f64, usize) {
    let request =
        format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let begun = Instant::now();
    stream.write_all(request.as_bytes()).expect("the API takes a request");
    let mut answer = Vec::new();
    let mut room = vec![0; 1 << 20];
    loop {
        let n = stream.read(&mut room).expect("the API answers");
        assert_ne!(n, 0, "{path}: the API closed the connection");
        answer.extend_from_slice(&room[..n]);
        if is_whole(&answer) {
            return (begun.elapsed().as_secs_f64() * 1e3, answer.len());
        }
    }
}

/// By its length or its last chunk.
fn is_whole(answer: &[u8]) -> bool {
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { return false };
    let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
    match length {
        Some(length) => answer.len() - end - 4 >= length,
        None => head.starts_with("http/1.1 204") || answer.ends_with(b"0\r\n\r\n"),
    }
}

pub(crate) fn run(plan: &Plan) {
    let tunnels = TUNNELS / plan.cut;
    let columns = CALLS.map(|(method, path, _)| format!("{method} {path}"));
    let columns: Vec<&str> = std::iter::once("").chain(columns.iter().map(String::as_str)).collect();
    head(&format!("API round trips with {tunnels} connections open (ms)"), &columns);
    for &(name, _) in plan.subjects.iter().filter(|(_, subject)| *subject == Subject::Adit) {
        let (port, api) = (free_port(), free_port());
        let _process = start(port, api);
        let keeper = Keeper::start();
        let (proxy, to) = (SocketAddr::from((Ipv4Addr::LOCALHOST, port)), To::from(keeper.addr));
        let open: Vec<TcpStream> = (0..tunnels).map(|_| socks5(proxy, &to).expect("a tunnel")).collect();
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, api)).expect("the API listens");
        let mut cells = vec![name.to_owned()];
        for call in CALLS {
            let asked: Vec<(f64, usize)> = (0..41).map(|_| ask(&mut stream, call)).collect();
            let bytes = asked.last().map_or(0, |(_, bytes)| *bytes);
            let cell = Samples(asked.into_iter().map(|(millis, _)| millis).collect()).shown(2);
            cells.push(if bytes > 1 << 20 { format!("{cell}, {:.1} MB", bytes as f64 / 1e6) } else { cell });
        }
        row(&cells);
        drop(open);
    }
}
