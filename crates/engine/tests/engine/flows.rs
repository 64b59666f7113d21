//! Many flows at once.

use std::collections::HashMap;

use adit_net::{Target, raise_descriptor_limit};
use tokio::net::UdpSocket;

use crate::flow::Client;
use crate::scene::Scene;

/// Each client socket keeps one mapping, however many others there are.
#[tokio::test]
async fn five_thousand_flows_keep_their_mapping() {
    const FLOWS: u16 = 5000;
    let _ = raise_descriptor_limit();
    let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let target = Target::from(server.local_addr().unwrap());
    let mut client = Client::of(Scene::with_rules(&["MATCH,DIRECT"]));
    let mut mapped = HashMap::new();
    for _round in 0..2 {
        for port in 1..=FLOWS {
            client.send_from(port, 0, &target, &port.to_be_bytes());
            let mut payload = [0; 2];
            let (_, from) = server.recv_from(&mut payload).await.unwrap();
            assert_eq!(*mapped.entry(payload).or_insert(from), from);
            server.send_to(&payload, from).await.unwrap();
            assert_eq!(client.answer().await.unwrap(), (target.clone(), port.to_be_bytes().to_vec()));
        }
    }
    assert_eq!(mapped.len(), usize::from(FLOWS));
    assert_eq!(client.engine.table().len(), usize::from(FLOWS));
}
