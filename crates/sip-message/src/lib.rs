//! SIP messages: bytes to typed values and back, byte-exact (RFC 3261 sections 7, 18.3, 19.1, 20 and 25).
//!
//! A [`Message`] is the `Bytes` that came off the wire and a table of ranges into it. Header values
//! are parsed when asked for, into values that share those bytes. Nothing here waits, reads a
//! clock, or draws a random number.

mod access;
mod builder;
mod edit;
mod error;
mod grammar;
mod headers;
mod list;
mod message;
mod method;
mod multipart;
mod name;
#[cfg(feature = "rsip")]
mod rsip_types;
mod scan;
pub mod sipfrag;
mod stream;
mod uri;
mod validate;

pub use builder::Builder;
pub use error::{Limits, ParseError};
pub use headers::{
    AuthenticationInfo, CSeq, Challenge, Credentials, Event, MediaType, NameAddr, Param, Params,
    RAck, Reason, Replaces, SessionExpires, SubscriptionState, Via, Warning,
};
pub use message::{Field, Message, StartLine};
pub use method::Method;
pub use multipart::{Part, find_part, parts};
pub use name::HeaderName;
pub use stream::{Frame, FramingError, StreamDecoder};
pub use uri::{EmbeddedHeader, Uri, tel_as_sip};
