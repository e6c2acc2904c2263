//! Typed values of header fields; each keeps the bytes that it was read from.

mod auth;
mod event;
mod media_type;
mod name_addr;
mod params;
mod scalar;
mod via;

pub use auth::{AuthenticationInfo, Challenge, Credentials};
pub use event::{Event, Reason, Replaces, SessionExpires, SubscriptionState, Warning};
pub use media_type::MediaType;
pub use name_addr::NameAddr;
pub use params::{Param, Params};
pub use scalar::{CSeq, RAck};
pub use via::Via;

pub(crate) use params::{params_end, params_noting};
pub(crate) use scalar::decimal_field;
pub(crate) use via::literal;
