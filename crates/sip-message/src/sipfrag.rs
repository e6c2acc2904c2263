//! `message/sipfrag` bodies (RFC 3420) as far as a REFER's progress needs them (RFC 3515 section 2.4.5).

use crate::scan;

/// The status line of a fragment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusLine<'a> {
    /// The status code, 100 to 699.
    pub status: u16,
    /// The reason phrase, byte for byte.
    pub reason: &'a [u8],
}

/// Reads the status line that a fragment begins with; its line end may be missing or a bare LF.
pub fn status_line(fragment: &[u8]) -> Option<StatusLine<'_>> {
    let end = memchr::memchr2(b'\r', b'\n', fragment).unwrap_or(fragment.len());
    let line = &fragment[..end];
    let (status, reason) = scan::status_line(line).ok()?;
    Some(StatusLine {
        status,
        reason: &line[reason..],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_line_is_read_whatever_its_end() {
        for text in [
            "SIP/2.0 200 OK\r\n",
            "SIP/2.0 200 OK",
            "SIP/2.0 200 OK\n",
            "sip/2.0 200 OK\r\nTo: <sip:a@b>\r\n\r\n",
        ] {
            assert_eq!(
                status_line(text.as_bytes()),
                Some(StatusLine {
                    status: 200,
                    reason: b"OK"
                }),
                "{text:?}"
            );
        }
    }

    #[test]
    fn reason_phrase_may_be_missing() {
        for text in ["SIP/2.0 100", "SIP/2.0 100 ", "SIP/2.0 100\r\n"] {
            assert_eq!(
                status_line(text.as_bytes()),
                Some(StatusLine {
                    status: 100,
                    reason: b""
                }),
                "{text:?}"
            );
        }
    }

    #[test]
    fn other_text_is_no_status_line() {
        for text in [
            "",
            "INVITE sip:a@b SIP/2.0\r\n",
            "SIP/2.0 20 OK",
            "SIP/2.0 2000 OK",
            "SIP/3.0 200 OK",
            "SIP/2.0  200 OK",
            "SIP/2.0",
            "SIP/2.0 999 No",
        ] {
            assert_eq!(status_line(text.as_bytes()), None, "{text:?}");
        }
    }
}
