//! VLESS without REALITY.

use adit_testkit::origin::{HttpOrigin, TcpOrigin};
use adit_testkit::peers::Era;
use adit_testkit::stage::{Door, FAR_NAME, Stage};
use adit_testkit::subject::{Subject, Way};
use adit_testkit::tls::Version;

use crate::scenes::{self, MIB};

#[test]
fn vless_runs_over_bare_tcp_and_over_tls() {
    for era in Era::ALL {
        for door in [Door::Bare, Door::Tls] {
            let proxy = Subject::from_env().start(Way::Vless(&Stage::shared(era).route(door)));
            for length in [1, 8_192, 5 * MIB] {
                scenes::echo(proxy.addr, &TcpOrigin::echo().addr().into(), length);
            }
            let origin = scenes::https(Version::Tls13);
            scenes::inner_tls(proxy.addr, &origin.addr().into(), Version::Tls13, 5 * MIB);
            scenes::plain_http(proxy.addr, &HttpOrigin::start());
            scenes::server_speaks_first(proxy.addr);
            scenes::half_closes_around_an_answer(proxy.addr);
            scenes::udp(proxy.addr, Some(FAR_NAME), true);
        }
    }
}

#[test]
fn vision_runs_over_ordinary_tls_1_3() {
    for era in Era::ALL {
        let proxy = Subject::from_env().start(Way::Vless(&Stage::shared(era).route(Door::TlsVision)));
        let origin = scenes::https(Version::Tls13);
        scenes::inner_tls(proxy.addr, &origin.addr().into(), Version::Tls13, 10 * MIB);
        scenes::echo(proxy.addr, &TcpOrigin::echo().addr().into(), 5 * MIB);
        scenes::udp(proxy.addr, None, false);
    }
}
