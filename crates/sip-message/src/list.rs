//! Comma lists and folds (RFC 3261 section 7.3.1).

use std::borrow::Cow;

use crate::grammar::{is_lws, quoted_end, trim};

/// Replaces each fold by one space; borrows when there is none.
pub(crate) fn unfold(raw: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(b'\r', raw).is_none() {
        return Cow::Borrowed(raw);
    }
    let mut plain = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = memchr::memchr2(b'\r', b'\n', rest) {
        let (before, after) = rest.split_at(at);
        let kept = before
            .iter()
            .rposition(|byte| !is_lws(*byte))
            .map_or(0, |last| last + 1);
        plain.extend_from_slice(&before[..kept]);
        plain.push(b' ');
        rest = &after[after.iter().take_while(|byte| is_lws(**byte)).count()..];
    }
    plain.extend_from_slice(rest);
    Cow::Owned(plain)
}

/// Splits at commas outside quoted strings and angle brackets; elements are trimmed, empty ones skipped.
pub(crate) fn split(raw: &[u8]) -> Split<'_> {
    Split { rest: Some(raw) }
}

/// Iterator of [`split`].
#[derive(Debug, Clone)]
pub(crate) struct Split<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> Iterator for Split<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let rest = self.rest?;
            let end = element_end(rest);
            self.rest = rest.get(end + 1..);
            let element = trim(&rest[..end]);
            if !element.is_empty() {
                return Some(element);
            }
        }
    }
}

/// Offset of the first comma outside quotes and angle brackets, else the length.
pub(crate) fn element_end(bytes: &[u8]) -> usize {
    // Most values are no list, which is quickly seen.
    if memchr::memchr(b',', bytes).is_none() {
        return bytes.len();
    }
    let mut at = 0;
    let mut in_angle = false;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' if !in_angle => match quoted_end(&bytes[at..]) {
                Some(quoted) => at += quoted - 1,
                None => break,
            },
            b'<' => in_angle = true,
            b'>' => in_angle = false,
            b',' if !in_angle => return at,
            _ => {}
        }
        at += 1;
    }
    bytes.len()
}

/// The text of a quoted string without its quotes and escapes; other text as it is.
pub(crate) fn unquote(raw: &[u8]) -> Cow<'_, [u8]> {
    let [b'"', inner @ .., b'"'] = raw else {
        return unfold(raw);
    };
    if memchr::memchr2(b'\\', b'\r', inner).is_none() {
        return Cow::Borrowed(inner);
    }
    let unfolded = unfold(inner);
    let mut plain = Vec::with_capacity(unfolded.len());
    let mut bytes = unfolded.iter();
    while let Some(&byte) = bytes.next() {
        let kept = if byte == b'\\' {
            bytes.next().copied().unwrap_or(byte)
        } else {
            byte
        };
        plain.push(kept);
    }
    Cow::Owned(plain)
}
