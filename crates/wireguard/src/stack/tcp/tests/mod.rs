//! What the endpoint does in simulated time.

mod cases;
mod lab;
#[expect(dead_code, unreachable_pub, reason = "the benchmark uses it, too")]
mod sim;
mod transfer;

/// What the simulation needs; the same for a benchmark.
mod tcp {
    pub(super) use crate::Moment;
    pub(super) use crate::stack::tcp::{Error, Read, Segment, Settings, State, Tcp};
}
