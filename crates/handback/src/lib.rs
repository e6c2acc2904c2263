//! The gateway as a library: configuration, wiring, the test caller, the demo, the command line.

pub mod caller;
pub mod cli;
pub mod config;
pub mod demo;
pub mod gateway;
pub mod wav;
