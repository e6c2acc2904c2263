//! The test caller: plays the SBC, and where it is asked to, the return target.
//!
//! A [`Phone`] places calls ([`Phone::call`]) and takes them ([`Phone::take`]); what is done in a call stands in a
//! [`Script`], what became of it in a [`Report`]. The signalling is that of the gateway itself, with other rules.

mod line;
mod order;
mod pcap;
mod phone;
mod report;
mod resolve;
mod voice;

pub use order::{OnRefer, Order, Script, TRANSFER_HEADER};
pub use pcap::PcapWriter;
pub use phone::{CallEvents, Phone, PhoneOptions};
pub use report::{CallEvent, Report, What};
pub use resolve::{ResolveError, local_address, resolve};
