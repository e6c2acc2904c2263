//! Typed access to the fields that a user agent needs; each value is parsed when asked for.
//!
//! A missing mandatory field is an error, a missing optional one `Ok(None)`.

use crate::grammar::{is_call_id, is_token};
use crate::headers::decimal_field;
use crate::name::Id;
use crate::{
    CSeq, Challenge, Credentials, Event, HeaderName, MediaType, Message, NameAddr, ParseError,
    RAck, Reason, Replaces, SessionExpires, SubscriptionState, Uri, Via, Warning, list,
};

impl Message {
    /// The raw first value of a comma list.
    fn first(&self, id: Id) -> Option<&[u8]> {
        let fields = self.fields.iter().filter(|entry| entry.id == id);
        fields
            .filter_map(|entry| list::split(self.value_of(entry)).next())
            .next()
    }

    /// The raw value of the first field of that name.
    #[inline]
    fn whole(&self, id: Id) -> Option<&[u8]> {
        let entry = self.fields.iter().find(|entry| entry.id == id)?;
        Some(self.value_of(entry))
    }

    fn address(&self, id: Id, what: &'static str) -> Result<Option<NameAddr>, ParseError> {
        let raw = self.whole(id);
        raw.map(|raw| self.name_addr(raw, what)).transpose()
    }

    fn addresses(
        &self,
        name: HeaderName<'static>,
        what: &'static str,
    ) -> impl Iterator<Item = Result<NameAddr, ParseError>> {
        self.raw_values(name)
            .map(move |raw| self.name_addr(raw, what))
    }

    fn name_addr(&self, raw: &[u8], what: &'static str) -> Result<NameAddr, ParseError> {
        NameAddr::parse(self.share(raw)).map_err(|error| ParseError { what, ..error })
    }

    fn number(&self, id: Id, what: &'static str) -> Result<Option<u32>, ParseError> {
        self.whole(id)
            .map(|raw| decimal_field(raw, what))
            .transpose()
    }

    fn tokens(&self, name: HeaderName<'static>) -> impl Iterator<Item = &str> {
        self.raw_values(name)
            .filter(|raw| is_token(raw))
            .filter_map(|raw| std::str::from_utf8(raw).ok())
    }

    /// The topmost Via (RFC 3261 section 20.42).
    pub fn via(&self) -> Result<Via, ParseError> {
        let raw = self
            .first(Id::Via)
            .ok_or(ParseError::new("Via missing", 0))?;
        Via::parse(self.share(raw))
    }

    /// All Vias, topmost first.
    pub fn vias(&self) -> impl Iterator<Item = Result<Via, ParseError>> {
        self.raw_values(HeaderName::Via)
            .map(|raw| Via::parse(self.share(raw)))
    }

    /// From (section 20.20).
    pub fn from(&self) -> Result<NameAddr, ParseError> {
        let raw = self
            .whole(Id::From)
            .ok_or(ParseError::new("From missing", 0))?;
        self.name_addr(raw, "From malformed")
    }

    /// To (section 20.39).
    pub fn to(&self) -> Result<NameAddr, ParseError> {
        let raw = self.whole(Id::To).ok_or(ParseError::new("To missing", 0))?;
        self.name_addr(raw, "To malformed")
    }

    /// Call-ID (section 20.8), byte for byte; it is case-sensitive.
    pub fn call_id(&self) -> Result<&[u8], ParseError> {
        let raw = self
            .whole(Id::CallId)
            .ok_or(ParseError::new("Call-ID missing", 0))?;
        if is_call_id(raw) {
            Ok(raw)
        } else {
            Err(ParseError::new("Call-ID malformed", 0))
        }
    }

    /// CSeq (section 20.16).
    pub fn cseq(&self) -> Result<CSeq, ParseError> {
        CSeq::parse(
            self.whole(Id::CSeq)
                .ok_or(ParseError::new("CSeq missing", 0))?,
        )
    }

    /// The first Contact address (section 20.10); `None` without one and for `*`.
    pub fn contact(&self) -> Result<Option<NameAddr>, ParseError> {
        match self.first(Id::Contact) {
            Some(raw) if raw != b"*" => self.name_addr(raw, "Contact malformed").map(Some),
            _ => self.contacts().next().transpose(),
        }
    }

    /// All Contact addresses in order; `*` is skipped.
    pub fn contacts(&self) -> impl Iterator<Item = Result<NameAddr, ParseError>> {
        self.raw_values(HeaderName::Contact)
            .filter(|raw| *raw != b"*")
            .map(|raw| self.name_addr(raw, "Contact malformed"))
    }

    /// Route (section 20.34), topmost first.
    pub fn routes(&self) -> impl Iterator<Item = Result<NameAddr, ParseError>> {
        self.addresses(HeaderName::Route, "Route malformed")
    }

    /// Record-Route (section 20.30), topmost first.
    pub fn record_routes(&self) -> impl Iterator<Item = Result<NameAddr, ParseError>> {
        self.addresses(HeaderName::RecordRoute, "Record-Route malformed")
    }

    /// P-Asserted-Identity (RFC 3325 section 9.1): at most a sip or sips and a tel URI.
    pub fn asserted_identities(&self) -> impl Iterator<Item = Result<NameAddr, ParseError>> {
        self.addresses(
            HeaderName::PAssertedIdentity,
            "P-Asserted-Identity malformed",
        )
    }

    /// Refer-To (RFC 3515 section 2.1).
    pub fn refer_to(&self) -> Result<Option<NameAddr>, ParseError> {
        self.address(Id::ReferTo, "Refer-To malformed")
    }

    /// Referred-By (RFC 3892 section 3).
    pub fn referred_by(&self) -> Result<Option<NameAddr>, ParseError> {
        self.address(Id::ReferredBy, "Referred-By malformed")
    }

    /// The Request-URI of a request.
    pub fn target(&self) -> Result<Uri, ParseError> {
        let raw = self
            .request_uri()
            .ok_or(ParseError::new("response has no Request-URI", 0))?;
        Uri::from_bytes(self.share(raw))
    }

    /// Max-Forwards (RFC 3261 section 20.22), 0 to 255.
    pub fn max_forwards(&self) -> Result<Option<u8>, ParseError> {
        let what = "Max-Forwards out of range";
        let number = self.number(Id::MaxForwards, what)?;
        number
            .map(|hops| u8::try_from(hops).map_err(|_| ParseError::new(what, 0)))
            .transpose()
    }

    /// Content-Length (section 20.14) as stated.
    pub fn content_length(&self) -> Result<Option<u32>, ParseError> {
        self.number(Id::ContentLength, "Content-Length malformed")
    }

    /// Content-Type (section 20.15).
    pub fn content_type(&self) -> Result<Option<MediaType>, ParseError> {
        self.whole(Id::ContentType)
            .map(|raw| MediaType::parse(self.share(raw)))
            .transpose()
    }

    /// Content-Disposition (section 20.11): the type without parameters.
    pub fn content_disposition(&self) -> Option<&[u8]> {
        let raw = self.whole(Id::ContentDisposition)?;
        let end = memchr::memchr(b';', raw).unwrap_or(raw.len());
        Some(crate::grammar::trim(&raw[..end]))
    }

    /// Content-Encoding (section 20.12).
    pub fn content_encoding(&self) -> impl Iterator<Item = &str> {
        self.tokens(HeaderName::ContentEncoding)
    }

    /// Accept (section 20.1), unreadable ranges skipped.
    pub fn accept(&self) -> impl Iterator<Item = MediaType> {
        self.raw_values(HeaderName::Accept)
            .filter_map(|raw| MediaType::parse(self.share(raw)).ok())
    }

    /// The methods of Allow (section 20.5).
    pub fn allow(&self) -> impl Iterator<Item = &str> {
        self.tokens(HeaderName::Allow)
    }

    /// The option tags of Supported (section 20.37).
    pub fn supported(&self) -> impl Iterator<Item = &str> {
        self.tokens(HeaderName::Supported)
    }

    /// The option tags of Require (section 20.32).
    pub fn require(&self) -> impl Iterator<Item = &str> {
        self.tokens(HeaderName::Require)
    }

    /// Event (RFC 6665 section 8.2.1).
    pub fn event(&self) -> Result<Option<Event>, ParseError> {
        self.whole(Id::Event)
            .map(|raw| Event::parse(self.share(raw)))
            .transpose()
    }

    /// Subscription-State (RFC 6665 section 8.2.3).
    pub fn subscription_state(&self) -> Result<Option<SubscriptionState>, ParseError> {
        let raw = self.whole(Id::SubscriptionState);
        raw.map(|raw| SubscriptionState::parse(self.share(raw)))
            .transpose()
    }

    /// The credentials of every Authorization field (RFC 3261 section 20.7).
    pub fn authorization(&self) -> impl Iterator<Item = Result<Credentials, ParseError>> {
        self.credentials(HeaderName::Authorization)
    }

    /// The credentials of every Proxy-Authorization field (section 20.28).
    pub fn proxy_authorization(&self) -> impl Iterator<Item = Result<Credentials, ParseError>> {
        self.credentials(HeaderName::ProxyAuthorization)
    }

    /// The challenges of every WWW-Authenticate field (section 20.44).
    pub fn www_authenticate(&self) -> impl Iterator<Item = Result<Challenge, ParseError>> {
        self.challenges(HeaderName::WwwAuthenticate)
    }

    /// The challenges of every Proxy-Authenticate field (section 20.27).
    pub fn proxy_authenticate(&self) -> impl Iterator<Item = Result<Challenge, ParseError>> {
        self.challenges(HeaderName::ProxyAuthenticate)
    }

    fn credentials(
        &self,
        name: HeaderName<'static>,
    ) -> impl Iterator<Item = Result<Credentials, ParseError>> {
        self.fields_named(name)
            .map(|field| Credentials::parse(self.share(field.raw)))
    }

    fn challenges(
        &self,
        name: HeaderName<'static>,
    ) -> impl Iterator<Item = Result<Challenge, ParseError>> {
        self.fields_named(name).flat_map(|field| {
            let (found, error) = match Challenge::parse_all(&self.share(field.raw)) {
                Ok(found) => (found, None),
                Err(error) => (Vec::new(), Some(Err(error))),
            };
            found.into_iter().map(Ok).chain(error)
        })
    }

    /// Every Reason value (RFC 3326); unreadable ones are skipped.
    pub fn reason(&self) -> impl Iterator<Item = Reason> {
        self.raw_values(HeaderName::Reason)
            .filter_map(|raw| Reason::parse(self.share(raw)).ok())
    }

    /// Every Warning value (RFC 3261 section 20.43); unreadable ones are skipped.
    pub fn warning(&self) -> impl Iterator<Item = Warning> {
        self.raw_values(HeaderName::Warning)
            .filter_map(|raw| Warning::parse(&self.share(raw)).ok())
    }

    /// Expires in seconds (section 20.19).
    pub fn expires(&self) -> Result<Option<u32>, ParseError> {
        self.number(Id::Expires, "Expires malformed")
    }

    /// Session-Expires (RFC 4028 section 4).
    pub fn session_expires(&self) -> Result<Option<SessionExpires>, ParseError> {
        let raw = self.whole(Id::SessionExpires);
        raw.map(|raw| SessionExpires::parse(self.share(raw)))
            .transpose()
    }

    /// Min-SE (RFC 4028 section 5).
    pub fn min_se(&self) -> Result<Option<SessionExpires>, ParseError> {
        self.whole(Id::MinSe)
            .map(|raw| SessionExpires::parse(self.share(raw)))
            .transpose()
    }

    /// RAck (RFC 3262 section 7.2).
    pub fn rack(&self) -> Result<Option<RAck>, ParseError> {
        self.whole(Id::RAck).map(RAck::parse).transpose()
    }

    /// RSeq (RFC 3262 section 7.1).
    pub fn rseq(&self) -> Result<Option<u32>, ParseError> {
        self.number(Id::RSeq, "RSeq malformed")
    }

    /// Replaces (RFC 3891).
    pub fn replaces(&self) -> Result<Option<Replaces>, ParseError> {
        self.whole(Id::Replaces)
            .map(|raw| Replaces::parse(self.share(raw)))
            .transpose()
    }

    /// Retry-After in seconds (RFC 3261 section 20.33), without its comment and parameters.
    pub fn retry_after(&self) -> Option<u32> {
        let raw = self.whole(Id::RetryAfter)?;
        let digits = raw.iter().take_while(|byte| byte.is_ascii_digit()).count();
        crate::grammar::decimal(&raw[..digits])
    }

    /// Refer-Sub (RFC 4488 section 4).
    pub fn refer_sub(&self) -> Option<bool> {
        let raw = self.whole(Id::ReferSub)?;
        let end = memchr::memchr(b';', raw).unwrap_or(raw.len());
        let value = crate::grammar::trim(&raw[..end]);
        if value.eq_ignore_ascii_case(b"true") {
            Some(true)
        } else {
            value.eq_ignore_ascii_case(b"false").then_some(false)
        }
    }
}
