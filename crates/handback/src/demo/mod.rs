//! The demo: the whole story on loopback, with nothing faked, told in the terminal.

mod checks;
mod ladder;
mod levels;
mod stage;
mod story;

pub use checks::Check;
pub use ladder::{Entry, Party, Step, label, label_of, render};
pub use levels::bars;
pub use story::{Story, StoryError, tell};
