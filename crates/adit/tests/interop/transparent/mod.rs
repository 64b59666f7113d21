//! Transparent proxying with the program itself, on the gateway of a lab: host rules as `adit redirect show` prints them,
//! capture by REDIRECT and by TPROXY, both families, a forwarded client and the gateway's own programs.
//!
//! [`scene`] draws who knows which name. Scenarios that break nothing share one scene per mode.

mod datagrams;
mod life;
mod listeners;
mod names;
mod scene;
mod sniffed;
