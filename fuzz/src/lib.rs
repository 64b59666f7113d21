//! What is fuzzed: one function per target, for libFuzzer (`targets/`, `scripts/fuzz`) and for the seeds' test.
//!
//! A function takes any bytes. The first few choose a parser, a place to cut and the like; the rest is input, raw or
//! put into frames whose lengths are right. It panics when a parser panics or breaks a promise: that it takes no more
//! than there is, that it does not matter where the input was cut, that what was written is read back.

mod config;
mod dns;
mod http;
mod input;
mod names;
mod outbound;
mod reality;
mod router;
mod sniffer;
mod socks;
mod subscription;
mod wireguard;

pub use config::{config, link, wg_quick};
pub use dns::{dns_answer, dns_query, dns_stream, hosts_file, nameserver, resolv_conf};
pub use http::{http_chunked, http_request, http_response};
pub use names::names;
pub use outbound::{vision, vless};
pub use reality::{reality_handshake, reality_messages, reality_opener};
pub use router::{geo_dat, geo_mmdb, mrs, provider, rules};
pub use sniffer::{sniff_http, sniff_quic, sniff_tls};
pub use socks::socks;
pub use subscription::subscription;
pub use wireguard::{wg_datagram, wg_fragments, wg_inner, wg_tcp};

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    /// Runs the seeds of a target, and each of them cut and damaged in a few places.
    fn seeds(target: &str, run: fn(&[u8])) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target);
        let mut count = 0;
        for entry in fs::read_dir(folder).unwrap() {
            let seed = fs::read(entry.unwrap().path()).unwrap();
            run(&seed);
            for at in (0..seed.len()).step_by(seed.len() / 16 + 1) {
                run(&seed[..at]);
                let mut damaged = seed.clone();
                damaged[at] ^= 1 << (at % 8);
                run(&damaged);
            }
            count += 1;
        }
        assert!(count > 0, "no seeds for {target}");
    }

    macro_rules! seeds {
        ($($target:ident)*) => { $(
            #[test]
            fn $target() {
                seeds(stringify!($target), crate::$target);
            }
        )* };
    }

    seeds! {
        socks http_request http_response http_chunked vless vision reality_handshake reality_opener reality_messages
        rules provider mrs geo_dat geo_mmdb names config link wg_quick wg_datagram wg_inner wg_tcp wg_fragments dns_answer nameserver
        dns_query dns_stream hosts_file resolv_conf sniff_tls sniff_http sniff_quic subscription
    }
}
