//! Names to addresses, by the servers that the configuration names and by no others.
#![forbid(unsafe_code)]
