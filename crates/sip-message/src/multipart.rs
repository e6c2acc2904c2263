//! Bodies in several parts (RFC 2046 section 5.1; RFC 5621).

use bytes::Bytes;
use memchr::memmem;

use crate::message::Fields;
use crate::name::Id;
use crate::{MediaType, Message, list, scan};

/// Most parts that are looked at, nested ones included.
const PARTS: usize = 32;
/// Deepest nesting that is looked at.
const DEPTH: usize = 4;

/// One part of a multipart body, or a whole body of one part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its type; `None` where it states none that can be read.
    pub content_type: Option<MediaType>,
    /// Whether it is compressed or otherwise encoded, so that its bytes are not of that type.
    pub encoded: bool,
    /// Its bytes.
    pub body: Bytes,
}

/// The parts of a message's body in order: those of `multipart/*`, nested ones unpacked, else the
/// body itself; none when it is empty. Parts past the first 32 and deeper than four are left out.
pub fn parts(message: &Message) -> Vec<Part> {
    let body = message.body();
    if body.is_empty() {
        return Vec::new();
    }
    let encoded = message
        .content_encoding()
        .any(|coding| !coding.eq_ignore_ascii_case("identity"));
    let whole = Part {
        content_type: message.content_type().ok().flatten(),
        encoded,
        body,
    };
    let mut found = Vec::new();
    unpack(whole, 0, &mut found);
    found
}

/// The first part of that type, such as `application/sdp`, that is not encoded.
pub fn find_part(message: &Message, essence: &str) -> Option<Bytes> {
    parts(message)
        .into_iter()
        .filter(|part| !part.encoded)
        .find(|part| {
            part.content_type
                .as_ref()
                .is_some_and(|found| found.is(essence))
        })
        .map(|part| part.body)
}

fn unpack(part: Part, depth: usize, found: &mut Vec<Part>) {
    if found.len() >= PARTS || depth > DEPTH {
        return;
    }
    match part.content_type.as_ref().and_then(boundary) {
        Some(boundary) if !part.encoded => {
            for inner in Delimited::new(&part.body, &boundary).take(PARTS) {
                unpack(read_part(&inner), depth + 1, found);
            }
        }
        Some(_) | None => found.push(part),
    }
}

/// `--boundary` of a multipart type; a boundary is 1 to 70 characters.
fn boundary(content_type: &MediaType) -> Option<Vec<u8>> {
    if !content_type.kind().eq_ignore_ascii_case(b"multipart") {
        return None;
    }
    let stated = content_type.params().find("boundary")?.text().into_owned();
    (1..=70)
        .contains(&stated.len())
        .then(|| [b"--", stated.as_slice()].concat())
}

/// The texts between delimiter lines.
struct Delimited<'a> {
    body: &'a Bytes,
    finder: memmem::Finder<'a>,
    /// Where the part begins whose end is looked for; `None` before the first and after the last.
    at: Option<usize>,
}

/// A delimiter line, from the CRLF before it to the one that ends it.
struct Delimiter {
    start: usize,
    end: usize,
    closing: bool,
}

impl<'a> Delimited<'a> {
    fn new(body: &'a Bytes, dash_boundary: &'a [u8]) -> Self {
        let mut parts = Self {
            body,
            finder: memmem::Finder::new(dash_boundary),
            at: None,
        };
        parts.at = parts
            .delimiter(0)
            .filter(|first| !first.closing)
            .map(|first| first.end);
        parts
    }

    /// The next delimiter line at or behind `from`.
    fn delimiter(&self, from: usize) -> Option<Delimiter> {
        let mut search = from;
        loop {
            let at = search + self.finder.find(self.body.get(search..)?)?;
            search = at + 1;
            let begins_line = at == 0 || (at >= 2 && &self.body[at - 2..at] == b"\r\n");
            let after = &self.body[at + self.finder.needle().len()..];
            let (closing, padding) = match after {
                [b'-', b'-', rest @ ..] => (true, rest),
                rest => (false, rest),
            };
            let blanks = padding
                .iter()
                .take_while(|byte| matches!(byte, b' ' | b'\t'))
                .count();
            let ended = padding[blanks..].starts_with(b"\r\n");
            if begins_line && (closing || ended) {
                let end = self.body.len() - padding.len() + blanks + if ended { 2 } else { 0 };
                return Some(Delimiter {
                    start: at.saturating_sub(2).max(from.min(at)),
                    end,
                    closing,
                });
            }
        }
    }
}

impl Iterator for Delimited<'_> {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let begin = self.at.take()?;
        let Some(delimiter) = self.delimiter(begin.saturating_sub(2)) else {
            return Some(self.body.slice(begin..));
        };
        self.at = (!delimiter.closing).then_some(delimiter.end);
        Some(self.body.slice(begin..delimiter.start.max(begin)))
    }
}

/// Splits a part into its fields and its bytes (RFC 2046 section 5.1: both may be missing).
fn read_part(text: &Bytes) -> Part {
    let (fields, end) = scan::part_head(text);
    let value = |id| field_value(text, &fields, id);
    let encoding = |id| {
        value(id).is_some_and(|coding| {
            let plain: [&[u8]; 4] = [b"identity", b"binary", b"8bit", b"7bit"];
            !plain
                .iter()
                .any(|known| list::unfold(&coding).eq_ignore_ascii_case(known))
        })
    };
    Part {
        content_type: value(Id::ContentType).and_then(|raw| MediaType::parse(raw).ok()),
        encoded: encoding(Id::ContentEncoding) || encoding(Id::ContentTransferEncoding),
        body: text.slice(end..),
    }
}

fn field_value(text: &Bytes, fields: &Fields, id: Id) -> Option<Bytes> {
    let field = fields.iter().find(|field| field.id == id)?;
    Some(text.slice(field.value as usize..field.value_end as usize))
}
