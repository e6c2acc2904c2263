//! `builtin:flow`: a dialogue from a YAML file, with prompts, keys and the plain fact that somebody
//! spoke; no recogniser is needed.

mod document;
mod load;
mod machine;
mod paths;
mod program;
mod prompts;
mod variables;

pub(crate) use load::load;
pub(super) use machine::Dialogue;
pub(crate) use program::Flow;

#[cfg(test)]
mod tests;
