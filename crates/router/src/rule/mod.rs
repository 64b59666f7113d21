//! Single rules: their grammar, their errors, what they test.

mod compile;
mod condition;
mod error;
mod glob;
mod kind;
mod line;
mod logic;
mod plain;
mod reason;

pub use error::{RuleError, RuleErrorKind, RuleWarning, RuleWarningKind};
pub use kind::RuleKind;
pub use reason::Reason;

pub(crate) use compile::{Compiler, Fault, Place};
pub(crate) use condition::{Condition, End, IpTest, Outcome, Test};
pub(crate) use error::shown;
pub(crate) use line::{Piece, RuleLine};
pub(crate) use reason::set_sentence;
