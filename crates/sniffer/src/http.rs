//! The host of an HTTP/1 request (RFC 9112 §3).

use httparse::{EMPTY_HEADER, Request, Status};

use crate::name::plausible;
use crate::{LIMIT, Verdict};

/// Looks at a stream from its first byte on.
///
/// Hand it everything seen so far, again and again as that grows; a call reads it once. The verdict falls with the end of the request's head;
/// a head beyond [`LIMIT`] bytes or 128 lines is not this. So is `CONNECT`: it names what a proxy shall reach, and the
/// proxy is where the connection goes.
#[must_use]
pub fn sniff(seen: &[u8]) -> Verdict {
    let (seen, full) = match seen.get(..LIMIT) {
        Some(start) => (start, true),
        None => (seen, false),
    };
    if !may_begin_request(seen) {
        return Verdict::NotThis;
    }
    let mut fields = [EMPTY_HEADER; 128];
    let mut request = Request::new(&mut fields);
    match request.parse(seen) {
        Ok(Status::Complete(_)) => host(&request).and_then(plausible).map_or(Verdict::NotThis, Verdict::Name),
        Ok(Status::Partial) if !full => Verdict::NeedMore,
        Ok(Status::Partial) | Err(_) => Verdict::NotThis,
    }
}

/// Whether `seen` begins with a known method and a space, or is the beginning of that.
fn may_begin_request(seen: &[u8]) -> bool {
    METHODS.iter().any(|method| {
        let mut wanted = method.bytes().chain([b' ']);
        let mut given = seen.iter();
        loop {
            match (wanted.next(), given.next()) {
                (Some(want), Some(byte)) if want.eq_ignore_ascii_case(byte) => {}
                (Some(_), Some(_)) => return false,
                (None, _) | (_, None) => return true,
            }
        }
    })
}

/// The host that the request is for, without its port.
fn host<'a>(request: &Request<'_, 'a>) -> Option<&'a [u8]> {
    let mut hosts = request.headers.iter().filter(|field| field.name.eq_ignore_ascii_case("host"));
    let field = hosts.next();
    // RFC 9112 §3.2: more than one is an error, whatever they say.
    if hosts.next().is_some() {
        return None;
    }
    let target = request.path?;
    if target.starts_with('/') || target == "*" {
        return without_port(field?.value);
    }
    // RFC 9112 §3.2.2: with an absolute URI, Host is ignored.
    let (scheme, rest) = target.split_once("://")?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return None;
    }
    without_port(rest.split(['/', '?', '#']).next()?.as_bytes())
}

/// `host [":" port]`. User information and bracketed addresses are left for the check of the name to refuse.
fn without_port(authority: &[u8]) -> Option<&[u8]> {
    let authority = authority.trim_ascii();
    let Some(colon) = authority.iter().rposition(|byte| *byte == b':') else { return Some(authority) };
    let (host, port) = authority.split_at_checked(colon)?;
    port.iter().skip(1).all(u8::is_ascii_digit).then_some(host)
}

const METHODS: [&str; 8] = ["GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"];
