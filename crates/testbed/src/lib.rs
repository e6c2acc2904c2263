//! A world on a virtual network and a virtual clock: SBC, gateway, agent and return target.
//!
//! The pure machines that run in production run here too. Network, clock and everybody's intentions
//! follow from a seed, so that a run that fails is a number: [`World::run`] gives a [`Verdict`] with
//! the rule that was broken and the [`Ladder`] of what went over the network.

mod agenda;
mod dice;
mod gateway;
mod host;
mod inspector;
mod ladder;
mod network;
mod options;
mod phone;
mod plan;
mod race;
mod raw;
mod rough;
mod sbc;
mod store;
mod target;
mod unruly;
mod voice;
mod world;

pub use dice::Dice;
pub use inspector::{Rule, Violation};
pub use ladder::{Ladder, Rung, What};
pub use network::{Arrival, End, Fate, Network, Weather};
pub use options::{Behaviour, Options};
pub use world::{Verdict, World};
