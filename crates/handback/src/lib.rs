//! The gateway as a library: configuration, the test caller, the demo, the command line.

pub mod config;
