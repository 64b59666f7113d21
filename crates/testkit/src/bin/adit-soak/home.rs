//! A home folder with a configuration, adit in it, and its API.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use adit_testkit::cache::adit_binary;
use adit_testkit::{Process, Scratch, free_port};
use serde_json::Value;

const SECRET: &str = "soak";
/// No answer takes longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A home folder, and the ports of its configuration. They are the thread's namespace's.
pub(crate) struct Home {
    pub(crate) folder: Scratch,
    pub(crate) proxy: SocketAddr,
    pub(crate) dns: SocketAddr,
    api: SocketAddr,
}

impl Home {
    pub(crate) fn new() -> Self {
        let at = || (Ipv4Addr::LOCALHOST, free_port()).into();
        Self { folder: Scratch::new("home"), proxy: at(), dns: at(), api: at() }
    }

    /// Writes the configuration: the ports and `rest`.
    pub(crate) fn configure(&self, rest: &str) {
        let port = self.proxy.port();
        let text = format!("mixed-port: {port}\nexternal-controller: {}\nsecret: {SECRET}\n{rest}", self.api);
        self.folder.write("config.yaml", text);
    }

    /// Starts adit and does not wait.
    pub(crate) fn spawn(&self) -> Process {
        let mut command = Command::new(adit_binary());
        command.arg("-d").arg(self.folder.path());
        Process::start("adit", command, Scratch::new("adit"))
    }

    /// Starts adit, and says how long it took until it answered.
    pub(crate) fn start(&self) -> (Process, Duration) {
        let start = Instant::now();
        let adit = self.spawn().listening(&[self.api.port(), self.proxy.port()]);
        self.api().get("/version").expect("an answer of the API");
        (adit, start.elapsed())
    }

    pub(crate) fn api(&self) -> Api {
        Api { at: self.api, stream: None }
    }
}

/// A client of the API, with one connection.
pub(crate) struct Api {
    at: SocketAddr,
    stream: Option<BufReader<TcpStream>>,
}

impl Api {
    /// Status and body.
    pub(crate) fn ask(&mut self, method: &str, path: &str, body: &str) -> io::Result<(u16, String)> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect(self.at)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_nodelay(true)?;
                BufReader::new(stream)
            }
        };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {SECRET}\r\nContent-Length: {}\r\n\r\n{body}",
            self.at,
            body.len()
        );
        stream.get_mut().write_all(request.as_bytes())?;
        let answer = read_answer(&mut stream)?;
        self.stream = Some(stream);
        Ok(answer)
    }

    pub(crate) fn get(&mut self, path: &str) -> io::Result<Value> {
        let (status, body) = self.ask("GET", path, "")?;
        if status != 200 {
            return Err(io::Error::other(format!("GET {path}: {status} {body}")));
        }
        Ok(serde_json::from_str(&body)?)
    }

    pub(crate) fn choose(&mut self, group: &str, member: &str) -> io::Result<()> {
        match self.ask("PUT", &format!("/proxies/{group}"), &format!(r#"{{"name":"{member}"}}"#))? {
            (204, _) => Ok(()),
            (status, body) => Err(io::Error::other(format!("{group} cannot use {member}: {status} {body}"))),
        }
    }

    /// What `group` uses now.
    pub(crate) fn now(&mut self, group: &str) -> io::Result<String> {
        Ok(self.get(&format!("/proxies/{group}"))?["now"].as_str().unwrap_or_default().to_owned())
    }
}

/// One answer with a known length (RFC 9112 §6).
fn read_answer(stream: &mut impl BufRead) -> io::Result<(u16, String)> {
    let cut = || io::Error::new(io::ErrorKind::UnexpectedEof, "the answer was cut short");
    let (mut status, mut length) = (None, 0);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Err(cut());
        }
        let line = line.trim_end();
        match (status, line.split_once(": ")) {
            (None, _) => status = Some(line.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(cut)?),
            (Some(status), _) if line.is_empty() => {
                let mut body = vec![0; length];
                stream.read_exact(&mut body)?;
                return Ok((status, String::from_utf8(body).map_err(io::Error::other)?));
            }
            (_, Some((name, value))) if name.eq_ignore_ascii_case("content-length") => {
                length = value.parse().map_err(io::Error::other)?;
            }
            _ => {}
        }
    }
}
