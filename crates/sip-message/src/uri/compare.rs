//! Comparison of URIs (RFC 3261 section 19.1.4).

use super::Uri;

impl PartialEq for Uri {
    fn eq(&self, other: &Self) -> bool {
        self.raw == other.raw
    }
}

impl Eq for Uri {}
