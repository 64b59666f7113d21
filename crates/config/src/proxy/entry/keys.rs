//! The keys of one mapping while they are read.

use adit_net::{Host, Target};

use crate::context::Context;
use crate::proxy::flaw::{Flaw, Gravity};
use crate::read::{Fields, Text, Value};
use crate::report::Draft;
use crate::yaml::At;

/// What becomes of a proxy that is beyond us.
pub(crate) const REFUSES: &str = "; this proxy refuses all connections";

/// A mapping, and what was found wrong with it on the way.
pub(super) struct Keys<'d, 'c> {
    /// Which entry of `proxies:` it is, or is part of.
    pub(super) index: usize,
    pub(super) cx: &'c Context<'d>,
    pub(super) fields: Fields<'d>,
    /// Required keys that are not there.
    pub(super) missing: Vec<&'static str>,
    /// Something required was there but could not be read; that is already reported.
    pub(super) broken: bool,
}

impl<'d, 'c> Keys<'d, 'c> {
    pub(super) fn new(index: usize, fields: Fields<'d>, cx: &'c Context<'d>) -> Self {
        Self { index, cx, fields, missing: Vec::new(), broken: false }
    }

    pub(super) fn required_text(&mut self, key: &'static str) -> Option<Text<'d>> {
        match self.fields.take(key) {
            None => {
                self.missing.push(key);
                None
            }
            Some(value) => {
                let text = value.text();
                self.broken |= text.is_none();
                text
            }
        }
    }

    pub(super) fn flag(&mut self, key: &'static str) -> bool {
        self.fields.take(key).and_then(Value::boolean).unwrap_or(false)
    }

    /// `server` and `port`.
    pub(super) fn server(&mut self) -> Option<Target> {
        let host = self.required_text("server");
        let port = match self.fields.take("port") {
            None => {
                self.missing.push("port");
                None
            }
            Some(port) => {
                let number = port.server_port();
                self.broken |= number.is_none();
                number
            }
        };
        let host = host?;
        match host.text.parse::<Host>() {
            Ok(name) => Some(Target::new(name, port?)),
            Err(why) => {
                let message = format!("`server` must be a host name or an address: {why}");
                self.cx.report.error(host.at, message);
                self.broken = true;
                None
            }
        }
    }

    /// A number that may be left out.
    pub(super) fn number<T: TryFrom<i64>>(&mut self, key: &'static str, meaning: &str) -> Option<T> {
        let number = self.fields.take(key)?.number(meaning);
        self.broken |= number.is_none();
        number
    }

    /// The value, or a report of what is wrong with it.
    pub(super) fn sound<T>(&mut self, at: At, value: Result<T, Flaw>) -> Option<T> {
        match value {
            Ok(value) => Some(value),
            Err(flaw) => {
                self.broken |= flaw.gravity != Gravity::Doubtful;
                self.tell(flaw, at);
                None
            }
        }
    }

    /// Reports a flaw at its place.
    pub(super) fn tell(&self, flaw: Flaw, at: At) {
        let draft = match flaw.gravity {
            Gravity::Wrong => Draft::error(at, format!("proxy {}: {}", self.index, flaw.message)),
            Gravity::Unsupported => Draft::warning(at, format!("{}{REFUSES}", flaw.message)),
            Gravity::Doubtful => Draft::warning(at, flaw.message.clone()),
        };
        let draft = match flaw.hint {
            Some(hint) => draft.hint(hint),
            None => draft,
        };
        match flaw.gravity {
            Gravity::Wrong => self.cx.report.add(draft),
            _ => self.cx.report.once(format!("proxy: {}", flaw.message), draft),
        }
    }
}
