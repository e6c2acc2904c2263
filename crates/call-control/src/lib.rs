//! What a call does next: arrive, talk to the agent, hand back; and the transfer's life cycle.
//!
//! Knows no header syntax, no sockets, and not which agent is behind the hook.

pub mod transfer;
