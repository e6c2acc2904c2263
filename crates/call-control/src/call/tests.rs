//! Stories of calls on virtual time: what happens to a call on the left, what it wants on the right.

mod arriving;
mod chain;
mod crossing;
mod handing_back;
mod keys;
mod recovery;
mod return_uris;
mod sessions;
mod talking;
mod world;
