//! Sockets around sip-core.
