//! Reason values and the header that carries them (RFC 3326).

use crate::vocabulary::Header;

/// One value of a Reason header, RFC 3326.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReasonValue {
    /// The protocol: `SIP`, `Q.850`, …
    pub protocol: String,
    /// The cause.
    pub cause: Option<u16>,
    /// The text, unquoted.
    pub text: Option<String>,
}

impl ReasonValue {
    /// A SIP status as the reason.
    #[must_use]
    pub fn sip(status: u16, text: impl Into<String>) -> Self {
        Self::new("SIP", status, text)
    }

    /// A cause of Q.850 as the reason.
    #[must_use]
    pub fn q850(cause: u16, text: impl Into<String>) -> Self {
        Self::new("Q.850", cause, text)
    }

    fn new(protocol: &str, cause: u16, text: impl Into<String>) -> Self {
        Self {
            protocol: protocol.to_owned(),
            cause: Some(cause),
            text: Some(text.into()),
        }
    }

    fn write(&self, out: &mut String) {
        out.push_str(&self.protocol);
        if let Some(cause) = self.cause {
            out.push_str(&format!(";cause={cause}"));
        }
        if let Some(text) = &self.text {
            let quoted = text.replace('\\', "\\\\").replace('"', "\\\"");
            out.push_str(&format!(";text=\"{quoted}\""));
        }
    }
}

/// The Reason header of these values; none where there are none.
#[must_use]
pub fn reason_header(values: &[ReasonValue]) -> Option<Header> {
    let mut line = String::new();
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            line.push_str(", ");
        }
        value.write(&mut line);
    }
    (!values.is_empty()).then(|| Header::new("Reason", line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reason_lists_its_values_with_quoted_texts() {
        let values = [
            ReasonValue::sip(200, "completed"),
            ReasonValue::q850(16, "a \"normal\" end"),
        ];
        let header = reason_header(&values).unwrap();
        let line = "SIP;cause=200;text=\"completed\", Q.850;cause=16;text=\"a \\\"normal\\\" end\"";
        assert_eq!(header, Header::new("Reason", line));
        assert_eq!(reason_header(&[]), None);
    }
}
