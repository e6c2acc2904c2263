//! Per-core media loops.
