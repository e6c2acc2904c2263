//! Header names: long and compact forms, case-insensitive (RFC 3261 section 7.3).

macro_rules! header_names {
    ($($(#[$doc:meta])* $id:ident, $long:literal $(, $short:literal)?;)*) => {
        /// The name of a header field.
        ///
        /// `HeaderName::from("v")` and `HeaderName::from("VIA")` are both [`HeaderName::Via`].
        #[derive(Debug, Clone, Copy)]
        pub enum HeaderName<'a> {
            $(#[doc = concat!("`", $long, "`.")] $id,)*
            /// Any other name.
            Other(&'a str),
        }

        /// The name of a header field of this table, or any other.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        #[allow(clippy::enum_variant_names, reason = "CallId is the field's name")]
        pub(crate) enum Id { $($id,)* Other }

        const TABLE: &[(Id, &str)] = &[$((Id::$id, $long), $((Id::$id, $short),)?)*];

        impl<'a> HeaderName<'a> {
            /// The long form, in the spelling of its RFC.
            pub fn as_str(&self) -> &'a str {
                match self {
                    $(Self::$id => $long,)*
                    Self::Other(name) => name,
                }
            }

            /// The entry of the table, also when the name was given as `Other`.
            pub(crate) fn id(&self) -> Id {
                match self {
                    $(Self::$id => Id::$id,)*
                    Self::Other(name) => classify(name.as_bytes()),
                }
            }
        }

        impl<'a> From<&'a str> for HeaderName<'a> {
            fn from(name: &'a str) -> Self {
                match classify(name.as_bytes()) {
                    $(Id::$id => HeaderName::$id,)*
                    Id::Other => HeaderName::Other(name),
                }
            }
        }
    };
}

header_names! {
    Accept, "Accept";
    AcceptEncoding, "Accept-Encoding";
    AcceptLanguage, "Accept-Language";
    AlertInfo, "Alert-Info";
    Allow, "Allow";
    AllowEvents, "Allow-Events", "u";
    AuthenticationInfo, "Authentication-Info";
    Authorization, "Authorization";
    CallId, "Call-ID", "i";
    CallInfo, "Call-Info";
    Contact, "Contact", "m";
    ContentDisposition, "Content-Disposition";
    ContentEncoding, "Content-Encoding", "e";
    ContentLanguage, "Content-Language";
    ContentLength, "Content-Length", "l";
    ContentTransferEncoding, "Content-Transfer-Encoding";
    ContentType, "Content-Type", "c";
    CSeq, "CSeq";
    Date, "Date";
    Diversion, "Diversion";
    ErrorInfo, "Error-Info";
    Event, "Event", "o";
    Expires, "Expires";
    From, "From", "f";
    HistoryInfo, "History-Info";
    Identity, "Identity", "y";
    InfoPackage, "Info-Package";
    InReplyTo, "In-Reply-To";
    MaxForwards, "Max-Forwards";
    MimeVersion, "MIME-Version";
    MinExpires, "Min-Expires";
    MinSe, "Min-SE";
    Organization, "Organization";
    PAssertedIdentity, "P-Asserted-Identity";
    PPreferredIdentity, "P-Preferred-Identity";
    Path, "Path";
    Priority, "Priority";
    Privacy, "Privacy";
    ProxyAuthenticate, "Proxy-Authenticate";
    ProxyAuthorization, "Proxy-Authorization";
    ProxyRequire, "Proxy-Require";
    RAck, "RAck";
    Reason, "Reason";
    RecordRoute, "Record-Route";
    RecvInfo, "Recv-Info";
    ReferSub, "Refer-Sub";
    ReferTo, "Refer-To", "r";
    ReferredBy, "Referred-By", "b";
    RemotePartyId, "Remote-Party-ID";
    Replaces, "Replaces";
    ReplyTo, "Reply-To";
    RequestDisposition, "Request-Disposition", "d";
    Require, "Require";
    RetryAfter, "Retry-After";
    Route, "Route";
    RSeq, "RSeq";
    Server, "Server";
    SessionExpires, "Session-Expires", "x";
    Subject, "Subject", "s";
    SubscriptionState, "Subscription-State";
    Supported, "Supported", "k";
    Timestamp, "Timestamp";
    To, "To", "t";
    Unsupported, "Unsupported";
    UserAgent, "User-Agent";
    Via, "Via", "v";
    Warning, "Warning";
    WwwAuthenticate, "WWW-Authenticate";
}

/// Longest name in the table, plus one.
const LENGTHS: usize = 26;
/// Most names of one length.
const SAME_LENGTH: usize = 20;

/// Entries of `TABLE` by the length of their name; `u8::MAX` ends a row.
const BY_LENGTH: [[u8; SAME_LENGTH]; LENGTHS] = by_length();

const fn by_length() -> [[u8; SAME_LENGTH]; LENGTHS] {
    let mut rows = [[u8::MAX; SAME_LENGTH]; LENGTHS];
    let mut used = [0; LENGTHS];
    let mut entry = 0;
    while entry < TABLE.len() {
        let length = TABLE[entry].1.len();
        rows[length][used[length]] = entry as u8;
        used[length] += 1;
        entry += 1;
    }
    rows
}

/// Finds the table entry of a name in any case and form.
pub(crate) fn classify(name: &[u8]) -> Id {
    let Some(row) = BY_LENGTH.get(name.len()) else {
        return Id::Other;
    };
    row.iter()
        .map_while(|&entry| TABLE.get(usize::from(entry)))
        .find(|(_, known)| known.as_bytes().eq_ignore_ascii_case(name))
        .map_or(Id::Other, |(id, _)| *id)
}

impl PartialEq for HeaderName<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.id() == other.id()
            && (self.id() != Id::Other || self.as_str().eq_ignore_ascii_case(other.as_str()))
    }
}

impl Eq for HeaderName<'_> {}
