//! The indexed decision equals the one that looks at every rule in turn.

use proptest::prelude::*;

use super::*;
use crate::Opener;

fn rule() -> impl Strategy<Value = String> {
    let payload = prop_oneof![
        "DOMAIN,[ab](\\.[ab]){0,2}",
        "DOMAIN-SUFFIX,[ab](\\.[ab]){0,2}",
        "DOMAIN-KEYWORD,[ab.]{1,3}",
        "DOMAIN-REGEX,\\^?[ab.]{1,3}\\$?",
        "DOMAIN-WILDCARD,[ab*?]{1,3}",
        "IP-CIDR,1[0-2]\\.[01]\\.0\\.0/(8|16|12)",
        "DST-PORT,[0-3]",
        "NETWORK,udp",
        "NOT,\\(\\(DOMAIN,[ab]\\)\\)",
    ];
    let target = prop_oneof![Just("A"), Just("B"), Just("C"), Just("PASS")];
    let params = prop_oneof![Just(""), Just(",no-resolve")];
    (payload, target, params).prop_map(|(payload, target, params)| {
        let params = if payload.starts_with("IP") { params } else { "" };
        format!("{payload},{target}{params}")
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]
    #[test]
    fn deciding_agrees_with_explaining(
        main in prop::collection::vec(rule(), 0..25),
        sub in prop::collection::vec(rule(), 0..8),
        host in prop_oneof!["[ab](\\.[ab]){0,3}", "1[0-2]\\.[01]\\.0\\.1"],
        port in 0..4_u16,
        address in prop_oneof![Just(Address::Unresolvable), (10..13_u8, 0..2_u8).prop_map(|(a, b)| Address::Known([a, b, 0, 1].into()))],
        enter in any::<bool>(),
    ) {
        let mut lines = main;
        if enter {
            lines.insert(lines.len() / 2, "SUB-RULE,(NETWORK,tcp),s".into());
        }
        let setup = Setup::new(&lines.iter().map(String::as_str).collect::<Vec<_>>())
            .sub("s", &sub.iter().map(String::as_str).collect::<Vec<_>>());
        let rules = setup.compile();
        let session = session(&format!("{host}:{port}"));
        let mut query = Query::new(&session);
        let mut at = rules.start(None);
        let mut asked = 0;
        // Goes on behind every verdict, so that each cursor of the list is tried.
        for _ in 0..100 {
            let step = rules.resume(at, &query);
            prop_assert_eq!(&rules.explain(at, &query).step, &step, "{:?}", lines);
            at = match step {
                Step::NeedAddress(cursor) => {
                    asked += 1;
                    query.address = address;
                    cursor
                }
                Step::NeedProcess(cursor) => {
                    query.process = Opener::Unknown;
                    cursor
                }
                Step::Use(verdict) if verdict.rule.is_some() => verdict.next_in_list(),
                Step::Use(_) => break,
            };
        }
        prop_assert!(asked <= 1, "asked {} times", asked);
    }
}
