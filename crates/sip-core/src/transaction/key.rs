//! Which transaction a message belongs to, RFC 3261 §17.1.3, §17.2.3 and §8.2.2.2.

use std::hash::{BuildHasher, DefaultHasher, Hasher};

use sip_message::{HeaderName, Message, Method, Via};
use smallvec::SmallVec;

/// The start of every branch of RFC 3261, §8.1.1.7.
pub(crate) const MAGIC_COOKIE: &[u8] = b"z9hG4bK";

/// What finds a transaction: two messages of one transaction have equal keys.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key(Text);

/// What finds a request that came by another path: From tag, Call-ID and CSeq, RFC 3261 §8.2.2.2.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MergeKey(Text);

/// Parts, each behind its length, so that no two lists of parts read the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Text(SmallVec<[u8; 96]>);

impl Text {
    fn part(mut self, part: &[u8]) -> Self {
        // Parts are shorter than a message, whose length fits in 32 bits.
        self.0.extend_from_slice(&(part.len() as u32).to_le_bytes());
        self.0.extend_from_slice(part);
        self
    }

    fn lower(mut self, part: &[u8]) -> Self {
        let start = self.0.len() + 4;
        self = self.part(part);
        self.0[start..].make_ascii_lowercase();
        self
    }
}

impl Key {
    /// The key of a request of ours, and of the responses to it: branch and method (RFC 3261
    /// §17.1.3). `None` where the message lacks them.
    #[must_use]
    pub fn client(message: &Message) -> Option<Self> {
        let via = message.via().ok()?;
        let branch = via.branch()?;
        Some(Self(
            Text::default()
                .part(b"c")
                .part(branch)
                .part(message.method().as_str().as_bytes()),
        ))
    }

    /// The key of a request that came to us, and of our responses to it: branch, sent-by and
    /// method, an ACK having its INVITE's (RFC 3261 §17.2.3).
    #[must_use]
    pub fn server(message: &Message) -> Option<Self> {
        let method = message.method();
        let of = if method == Method::Ack {
            &Method::Invite
        } else {
            &method
        };
        Self::of_request(message, of.as_str())
    }

    /// The key of the INVITE that a CANCEL is for (RFC 3261 §9.2).
    #[must_use]
    pub fn cancelled(cancel: &Message) -> Option<Self> {
        Self::of_request(cancel, Method::Invite.as_str())
    }

    fn of_request(message: &Message, method: &str) -> Option<Self> {
        let via = message.via().ok()?;
        match via.branch() {
            Some(branch)
                if branch.starts_with(MAGIC_COOKIE) && branch.len() > MAGIC_COOKIE.len() =>
            {
                Some(Self(
                    Text::default()
                        .part(b"s")
                        .part(branch)
                        .lower(via.host())
                        .part(&port(&via))
                        .part(method.as_bytes()),
                ))
            }
            Some(_) | None => Self::of_old_request(message, &via, method),
        }
    }

    /// Matching without a branch of RFC 3261. The To tag is left out: it could only tell apart
    /// INVITEs that agree in Call-ID, From tag, CSeq, Via and Request-URI, and the tag in an ACK
    /// is the response's, which the INVITE lacks.
    fn of_old_request(message: &Message, via: &Via, method: &str) -> Option<Self> {
        let from = message.from().ok()?;
        let cseq = message.cseq().ok()?;
        Some(Self(
            Text::default()
                .part(b"o")
                .part(message.request_uri()?)
                .part(from.tag().unwrap_or_default())
                .part(&message.header(HeaderName::CallId)?)
                .part(&cseq.number.to_le_bytes())
                .part(via.as_bytes())
                .part(method.as_bytes()),
        ))
    }
}

impl MergeKey {
    /// The key of a request outside a dialog; `None` for any other, and for ACK and CANCEL.
    #[must_use]
    pub fn of(request: &Message) -> Option<Self> {
        let method = request.method();
        let outside = request.is_request() && request.to().ok()?.tag().is_none();
        if !outside || matches!(method, Method::Ack | Method::Cancel) {
            return None;
        }
        let from = request.from().ok()?;
        let cseq = request.cseq().ok()?;
        Some(Self(
            Text::default()
                .part(from.tag()?)
                .part(&request.header(HeaderName::CallId)?)
                .part(&cseq.number.to_le_bytes())
                .part(method.as_str().as_bytes()),
        ))
    }
}

fn port(via: &Via) -> SmallVec<[u8; 2]> {
    via.port()
        .map(|port| SmallVec::from(port.to_le_bytes()))
        .unwrap_or_default()
}

/// The digits that a value begins with: the number of a CSeq.
pub(crate) fn digits(value: &[u8]) -> &[u8] {
    let end = value
        .iter()
        .position(|byte| !byte.is_ascii_digit())
        .unwrap_or(value.len());
    &value[..end]
}

/// Hashing of keys that peers choose, keyed so that they cannot choose colliding ones, and seeded
/// so that no randomness is drawn here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seeded(pub(crate) [u8; 16]);

impl BuildHasher for Seeded {
    type Hasher = DefaultHasher;

    fn build_hasher(&self) -> DefaultHasher {
        let mut hasher = DefaultHasher::new();
        hasher.write(&self.0);
        hasher
    }
}
