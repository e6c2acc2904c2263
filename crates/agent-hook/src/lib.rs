//! Voice agents.
