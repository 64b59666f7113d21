//! DNS over TLS, and the certificates that are believed.

use std::sync::Arc;

use adit_dns::Options;
use adit_net::{Resolve as _, ResolveError};
use parking_lot::Mutex;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::TlsAcceptor;

use crate::script::address;
use crate::world::{Script, World, say, serve};

/// A server's TLS, and the root that it hangs from.
pub(crate) struct Identity {
    pub(crate) acceptor: TlsAcceptor,
    pub(crate) root: CertificateDer<'static>,
}

impl Identity {
    pub(crate) fn new(names: &[&str], alpn: &[&[u8]]) -> Self {
        let mut root = CertificateParams::new(Vec::new()).unwrap();
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = CertifiedIssuer::self_signed(root, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let names: Vec<_> = names.iter().map(ToString::to_string).collect();
        let leaf = CertificateParams::new(names).unwrap().signed_by(&key, &root).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], key)
            .unwrap();
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        Self { acceptor: Arc::new(config).into(), root: root.der().clone() }
    }

    pub(crate) fn options(&self) -> Options {
        Options { extra_roots: vec![self.root.clone()], ..Options::default() }
    }
}

/// A server of `identity` at 10.0.0.1:853 that is asked by `list`.
async fn resolve(identity: &Identity, list: &[&str], options: Options) -> (Result<usize, ResolveError>, World) {
    let world = World::default();
    let (accepting, acceptor) = (world.clone(), identity.acceptor.clone());
    let script: Script = Arc::new(|query, _| say(address(query, 1)));
    let asked = Arc::new(Mutex::new(0));
    world.accept("10.0.0.1:853", move |stream| {
        let (world, acceptor) = (accepting.clone(), acceptor.clone());
        let (script, asked) = (Arc::clone(&script), Arc::clone(&asked));
        Box::pin(async move {
            if let Ok(stream) = acceptor.accept(stream).await {
                serve(world, "10.0.0.1:853".parse().unwrap(), stream, script, asked).await;
            }
        })
    });
    let resolver = world.resolver(list, options);
    let mut count = 0;
    for i in 0..3 {
        match resolver.resolve(&format!("n{i}.example").parse().unwrap()).await {
            Ok(found) => count += found.len(),
            Err(error) => return (Err(error), world),
        }
    }
    (Ok(count), world)
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_shaken_hands_on_once_and_used_again() {
    let identity = Identity::new(&["10.0.0.1"], &[]);
    let (found, world) = resolve(&identity, &["tls://10.0.0.1"], identity.options()).await;
    assert_eq!((found.unwrap(), world.seen(|seen| seen.connects.len())), (3, 1));
    let (found, world) = resolve(&identity, &["tls://10.0.0.1#disable-reuse=true"], identity.options()).await;
    assert_eq!((found.unwrap(), world.seen(|seen| seen.connects.len())), (3, 3));
}

#[tokio::test(start_paused = true)]
async fn a_certificate_for_somebody_else_is_refused_and_nothing_is_asked() {
    let identity = Identity::new(&["dns.example"], &[]);
    let (found, world) = resolve(&identity, &["tls://10.0.0.1"], identity.options()).await;
    let error = found.unwrap_err().to_string();
    assert!(error.contains("certificate"), "{error}");
    assert_eq!(world.asked("10.0.0.1:853"), 0);

    let named = "tls://10.0.0.1#name-cert-verify=dns.example";
    assert_eq!(resolve(&identity, &[named], identity.options()).await.0.unwrap(), 3);
    let unchecked = "tls://10.0.0.1#skip-cert-verify=true";
    assert_eq!(resolve(&identity, &[unchecked], Options::default()).await.0.unwrap(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_root_that_nobody_trusts_is_refused() {
    let identity = Identity::new(&["10.0.0.1"], &[]);
    let (found, world) = resolve(&identity, &["tls://10.0.0.1"], Options::default()).await;
    found.unwrap_err();
    assert_eq!(world.asked("10.0.0.1:853"), 0);
}
