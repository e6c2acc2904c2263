//! Sockets around `sip-core`: one driver task owns the endpoint, readers feed it, nobody else touches it.
//!
//! The driver decides nothing: it hands bytes, commands and the time to the [`sip_core::Endpoint`] and performs
//! what the endpoint asks for. What it adds is what only sockets know: framing, connections and their reuse
//! (RFC 3261 §18), the local address that a peer can reach, and the choice of a stream for large requests (§18.1.1).

mod addresses;
mod connections;
pub mod dns;
mod driver;
mod handle;
mod line;
mod links;
mod listen;
mod names;
mod options;
mod oversize;
mod pace;
mod send;
mod server_names;
mod stream;
mod tally;
mod tap;
mod tls;
mod udp;
mod unanswered;

pub use handle::{Gate, LegEvents, SendError, SipHandle};
pub use listen::{Listen, Sockets};
pub use options::TransportOptions;
pub use tally::TransportFigures;
pub use tap::{Direction, Packet};
pub use tls::{Tls, TlsError, TlsMaterial, TlsPart};
