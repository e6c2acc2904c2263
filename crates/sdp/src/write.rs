//! Descriptions as text.

/// Whether two of our descriptions are equal but for the version of their `o=` line.
#[must_use]
pub fn same_but_version(a: &[u8], b: &[u8]) -> bool {
    a == b
}
