//! `nameserver-policy` and `proxy-server-nameserver-policy`. Spec: mihomo-surface §7.3.

use std::sync::Arc;

use adit_dns::{Nameserver, Policy};
use adit_router::{DomainMap, DomainPattern};

use super::Section;
use crate::read::{Text, Value};
use crate::report::{Draft, shown};
use crate::sets::Sets;

/// Keys are decided in the order of the file, but plain names that stand beside each other are decided together: the
/// most specific wins.
pub(super) fn read<'d>(map: Option<Value<'d>>, section: &Section<'_, 'd>) -> Vec<Policy> {
    let fields = map.and_then(Value::fields);
    let mut policies = Vec::new();
    let mut plain = Plain::default();
    for (key, value) in fields.iter().flat_map(|fields| fields.named()) {
        let texts = if value.is_scalar() { Vec::from_iter(value.text()) } else { value.texts() };
        if texts.is_empty() {
            section.cx.report.error(key.at, format!("no nameserver is written for '{}'", shown(key.text)));
            continue;
        }
        let servers = section.servers(&texts);
        if Sets::is_reference(key.text) {
            policies.extend(plain.finish());
            let names = section.sets.names([key], "", section.cx);
            policies.extend(names.map(|names| Policy::of(names, servers)));
        } else {
            plain.add(key, servers, section);
        }
    }
    policies.extend(plain.finish());
    policies
}

/// Plain names that stand beside each other.
#[derive(Default)]
struct Plain {
    names: DomainMap<usize>,
    lists: Vec<Vec<Nameserver>>,
}

impl Plain {
    /// `key` is a pattern, or several between commas.
    fn add(&mut self, key: Text<'_>, servers: Vec<Nameserver>, section: &Section<'_, '_>) {
        for pattern in key.text.split(',').map(str::trim) {
            match DomainPattern::parse(pattern) {
                Ok(pattern) => self.names.insert(&pattern, self.lists.len()),
                Err(why) => {
                    let text = format!("DNS ResoverRule invalid domain: {}", shown(pattern));
                    section.cx.report.add(Draft::error(key.at, text).hint(why.to_string()));
                }
            }
        }
        self.lists.push(servers);
    }

    /// What was gathered, as one policy.
    fn finish(&mut self) -> Option<Policy> {
        let Self { names, lists } = std::mem::take(self);
        let choose = move |name: &str| names.get(name).copied();
        (!lists.is_empty()).then(|| Policy { choose: Arc::new(choose), lists })
    }
}
