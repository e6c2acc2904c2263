//! SIP messages, byte-exact.
