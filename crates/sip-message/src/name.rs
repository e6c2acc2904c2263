//! Header names: long and compact forms, case-insensitive (RFC 3261 section 7.3).

use crate::grammar::same_name;

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
/// Initials are told apart by their low five bits, which do not know the case of a letter.
const INITIALS: usize = 32;
/// The end of a chain of names.
const NONE: u8 = u8::MAX;

/// The first entry of `TABLE` by the length of its name and its initial.
const FIRST: [[u8; INITIALS]; LENGTHS] = chains().0;
/// For each entry of `TABLE`, the next of the same length and initial.
const NEXT: [u8; TABLE.len()] = chains().1;

const fn chains() -> ([[u8; INITIALS]; LENGTHS], [u8; TABLE.len()]) {
    let mut first = [[NONE; INITIALS]; LENGTHS];
    let mut next = [NONE; TABLE.len()];
    let mut entry = TABLE.len();
    while entry > 0 {
        entry -= 1;
        let name = TABLE[entry].1.as_bytes();
        let chain = &mut first[name.len()][initial(name[0])];
        next[entry] = *chain;
        *chain = entry as u8;
    }
    (first, next)
}

const fn initial(byte: u8) -> usize {
    byte as usize % INITIALS
}

/// Finds the table entry of a name in any case and form.
pub(crate) fn classify(name: &[u8]) -> Id {
    let (Some(&first), Some(row)) = (name.first(), FIRST.get(name.len())) else {
        return Id::Other;
    };
    let mut entry = row[initial(first)];
    while let Some((id, known)) = TABLE.get(usize::from(entry)) {
        if same_name(known.as_bytes(), name) {
            return *id;
        }
        entry = NEXT[usize::from(entry)];
    }
    Id::Other
}

impl PartialEq for HeaderName<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.id() == other.id()
            && (self.id() != Id::Other || self.as_str().eq_ignore_ascii_case(other.as_str()))
    }
}

impl Eq for HeaderName<'_> {}
