//! The gateway as a library: configuration, wiring, the test callers, the demo, the command line.

pub mod caller;
pub mod cli;
pub mod config;
pub mod demo;
pub mod gateway;
pub mod hooked;
pub mod wav;
