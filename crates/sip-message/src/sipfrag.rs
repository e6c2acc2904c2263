//! `message/sipfrag` bodies (RFC 3420) as far as a REFER's progress needs them (RFC 3515 section 2.4.5).

/// The status line of a fragment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusLine<'a> {
    /// The status code, 100 to 699.
    pub status: u16,
    /// The reason phrase, byte for byte.
    pub reason: &'a [u8],
}

/// Reads the status line that a fragment begins with; its line end may be missing.
pub fn status_line(_fragment: &[u8]) -> Option<StatusLine<'_>> {
    None
}
