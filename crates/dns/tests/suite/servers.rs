//! Lists of servers: what is refused, and whose names are looked up where.

use std::net::IpAddr;
use std::sync::Arc;

use adit_dns::{Nameserver, Options, Servers, ServersError};
use adit_net::{BoxFuture, Domain, Resolve, ResolveError, Through};

use crate::script::address;
use crate::tls::Identity;
use crate::world::{World, say};

fn list(texts: &[&str]) -> Vec<Nameserver> {
    texts.iter().map(|text| Nameserver::parse(text).unwrap()).collect()
}

#[test]
fn lists_that_cannot_work_are_refused() {
    let refusal = |texts: &[&str]| Servers::new(list(texts), Options::default()).unwrap_err();
    assert!(matches!(refusal(&[]), ServersError::Empty));
    assert!(matches!(refusal(&["1.1.1.1", "system"]), ServersError::System));
    let error = refusal(&["tls://dns.example", "rcode://success"]);
    assert!(error.to_string().contains("dns.example is given by name: add one that is given by address"), "{error}");
    let options = Options { extra_roots: vec![vec![1, 2, 3].into()], ..Options::default() };
    assert!(matches!(Servers::new(list(&["1.1.1.1"]), options), Err(ServersError::Root(_))));
}

#[test]
fn duplicates_are_dropped_and_nothing_secret_is_shown() {
    let texts = ["1.1.1.1", "udp://1.1.1.1:53", "https://me:secret@1.1.1.1/customer", "1.1.1.1"];
    let servers = Servers::new(list(&texts), Options::default()).unwrap();
    assert_eq!(format!("{servers:?}"), r#"["udp://1.1.1.1:53", "https://1.1.1.1:443"]"#);
}

#[tokio::test(start_paused = true)]
async fn a_server_given_by_name_is_looked_up_at_one_given_by_address() {
    let world = World::default();
    world.udp("10.0.0.1:53", |query, _| {
        let name = query.queries[0].name().to_string();
        if name == "dns.example." { say(address(query, 53)) } else { vec![] }
    });
    world.tcp("192.0.2.53:5353", |query, _| say(address(query, 9)));
    let servers = Servers::new(list(&["10.0.0.1", "tcp://dns.example:5353"]), Options::default()).unwrap();
    let through: Arc<dyn Through> = Arc::new(servers);
    let resolver = through.over(Arc::new(world.clone()));
    let found = resolver.resolve(&"www.example".parse().unwrap()).await.unwrap();
    assert_eq!(found, ["192.0.2.9".parse::<IpAddr>().unwrap()]);
}

/// Knows one name.
struct Book;

impl Resolve for Book {
    fn resolve<'a>(&'a self, name: &'a Domain) -> BoxFuture<'a, Result<Vec<IpAddr>, ResolveError>> {
        assert_eq!(name.as_str(), "dns.example");
        Box::pin(async { Ok(vec![[192, 0, 2, 1].into(), [10, 0, 0, 1].into()]) })
    }
}

#[tokio::test(start_paused = true)]
async fn a_bootstrap_knows_names_and_every_address_is_tried() {
    let identity = Identity::new(&["dns.example"], &[]);
    let world = World::default();
    // 192.0.2.1 refuses; 10.0.0.1 shows a certificate for the name.
    let (accepting, acceptor) = (world.clone(), identity.acceptor.clone());
    world.accept("10.0.0.1:853", move |stream| {
        let (world, acceptor) = (accepting.clone(), acceptor.clone());
        Box::pin(async move {
            let stream = acceptor.accept(stream).await.unwrap();
            let at = "10.0.0.1:853".parse().unwrap();
            crate::world::serve(world, at, stream, Arc::new(|query, _| say(address(query, 5))), Arc::default()).await;
        })
    });
    let options = Options { bootstrap: Some(Arc::new(Book)), ..identity.options() };
    let resolver = world.resolver(&["tls://dns.example"], options);
    let found = resolver.resolve(&"www.example".parse().unwrap()).await.unwrap();
    assert_eq!(found, ["192.0.2.5".parse::<IpAddr>().unwrap()]);
    assert_eq!(world.seen(|seen| seen.connects.len()), 2);
}
