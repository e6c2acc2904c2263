//! What a call does next: arrive, talk to the agent, hand back; and the transfer's life cycle.
//!
//! Knows no sockets and not which agent is behind the hook. A [`Call`] is told
//! what happened ([`Input`]) and says what it wants done ([`Output`]); the shell
//! performs it and decides nothing.

mod call;
mod io;
mod media_leg;
mod media_rules;
mod outcome;
mod policy;
pub mod transfer;

pub use call::{Call, Facts, Phase, Progress, Recovered, Stage, TRANSFER_HEADER};
pub use io::{
    AgentPhase, AgentRequest, AgentSaid, Hop, Input, MediaRequest, MediaSaid, NotClaimed, Output,
    Record, StoreReply, StoreRequest, TransferProgress,
};
pub use media_leg::{Unusable, protection, screen_offer};
pub use media_rules::{MediaRules, Srtp};
pub use outcome::{
    Carried, CarriedIn, Cause, Ender, Fragment, HandedBack, Moment, Outcome, Step, StepResult,
};
pub use policy::{ByeRule, Fallback, Notifies, Peer, Policy};
