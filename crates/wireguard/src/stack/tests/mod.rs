//! The stack against smoltcp as the far end, over links that lose, delay, repeat and reorder, in simulated time.

mod errors;
mod fragments;
mod hostile;
mod tcp;
mod udp;
mod wakes;
mod world;
