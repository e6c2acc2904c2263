//! What a message must hold (RFC 3261 sections 8.1.1, 8.1.3.3, 8.2 and 20).

use crate::{HeaderName, Message, Method, ParseError, scan};

/// Fields that must not be repeated because a transaction or dialog is known by them.
const SINGLE: [(HeaderName<'static>, &str); 9] = [
    (HeaderName::From, "From repeated"),
    (HeaderName::To, "To repeated"),
    (HeaderName::CallId, "Call-ID repeated"),
    (HeaderName::CSeq, "CSeq repeated"),
    (HeaderName::MaxForwards, "Max-Forwards repeated"),
    (HeaderName::ContentType, "Content-Type repeated"),
    (HeaderName::Expires, "Expires repeated"),
    (HeaderName::ReferTo, "Refer-To repeated"),
    (HeaderName::Replaces, "Replaces repeated"),
];

impl Message {
    /// Checks what every user agent must check before it acts on a message. The error of a request
    /// says how to answer and carries it as `salvage`; a response that fails is dropped.
    pub fn validate(&self) -> Result<(), ParseError> {
        self.check()
            .map_err(|error| scan::with_salvage(error, Some(self.clone())))
    }

    fn check(&self) -> Result<(), ParseError> {
        self.via()?;
        self.from()?;
        self.to()?;
        self.call_id()?;
        let cseq = self.cseq()?;
        if let Some((_, what)) = SINGLE.iter().find(|(name, _)| self.count(*name) > 1) {
            return Err(ParseError::new(what, 0));
        }
        let Some(uri) = self.request_uri() else {
            return Ok(());
        };
        if cseq.method != self.method() {
            return Err(ParseError::new("CSeq of another method", 0));
        }
        let at = uri.as_ptr() as usize - self.bytes.as_ptr() as usize;
        self.check_target(at)?;
        self.check_scalars()?;
        self.check_addresses()
    }

    /// The Request-URI may have no embedded headers (section 19.1.1, table 1).
    fn check_target(&self, at: usize) -> Result<(), ParseError> {
        let target = self
            .target()
            .map_err(|_| ParseError::new("Request-URI malformed", at))?;
        if target.is_sip() && target.headers().next().is_some() {
            return Err(ParseError::new("Request-URI with headers", at));
        }
        Ok(())
    }

    fn check_scalars(&self) -> Result<(), ParseError> {
        self.max_forwards()?;
        self.expires()?;
        self.session_expires()?;
        self.min_se()?;
        self.rack()?;
        self.event()?;
        if self
            .body
            .lt(&u32::try_from(self.bytes.len()).unwrap_or(u32::MAX))
        {
            self.content_type()?;
        }
        Ok(())
    }

    /// The addresses that dialogs are made of; an INVITE needs a Contact of a SIP URI (section 8.1.1.8).
    fn check_addresses(&self) -> Result<(), ParseError> {
        let lists = self
            .contacts()
            .chain(self.routes())
            .chain(self.record_routes());
        for address in lists {
            address?;
        }
        self.refer_to()?;
        self.replaces()?;
        if self.method() != Method::Invite {
            return Ok(());
        }
        // A peer of RFC 2543, which branches tell, need not name one: it is reached at its From.
        let old = !self
            .via()?
            .branch()
            .is_some_and(|branch| branch.starts_with(b"z9hG4bK"));
        match self.contact()? {
            Some(contact) if contact.uri().is_sip() => Ok(()),
            Some(_) => Err(ParseError::new("Contact without a SIP URI", 0)),
            None if old && self.from()?.uri().is_sip() => Ok(()),
            None => Err(ParseError::new("Contact missing", 0)),
        }
    }
}
