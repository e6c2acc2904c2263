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

/// For each entry of `TABLE`, the key of its name.
const KEYS: [(u64, u64); TABLE.len()] = keys();
/// A name no longer than this is all in its key.
const KEYED: usize = 16;

const fn keys() -> [(u64, u64); TABLE.len()] {
    let mut keys = [(0, 0); TABLE.len()];
    let mut entry = 0;
    while entry < TABLE.len() {
        keys[entry] = key(TABLE[entry].1.as_bytes());
        entry += 1;
    }
    keys
}

/// The first and the last bytes of a name, which may overlap, letters in lower case.
#[inline]
const fn key(name: &[u8]) -> (u64, u64) {
    if let (Some(first), Some(last)) = (name.first_chunk(), name.last_chunk()) {
        let (first, last) = (u64::from_le_bytes(*first), u64::from_le_bytes(*last));
        return (lower(first), lower(last));
    }
    if let (Some(first), Some(last)) = (name.first_chunk(), name.last_chunk()) {
        let (first, last) = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
        return (lower(first as u64), lower(last as u64));
    }
    let short = match *name {
        [one] => [one, 0, 0, 0],
        [one, two] => [one, two, 0, 0],
        [one, two, three] => [one, two, three, 0],
        _ => [0; 4],
    };
    (lower(u32::from_le_bytes(short) as u64), 0)
}

/// Sets bit 5 of each byte that has bit 6: letters become small, and no other byte of a name a letter.
#[inline]
const fn lower(word: u64) -> u64 {
    word | (word & 0x4040_4040_4040_4040) >> 1
}

/// Finds the table entry of a name in any case and form.
#[inline]
pub(crate) fn classify(name: &[u8]) -> Id {
    let (Some(&first), Some(row)) = (name.first(), FIRST.get(name.len())) else {
        return Id::Other;
    };
    let mut entry = row[initial(first)];
    if entry == NONE {
        return Id::Other;
    }
    let wanted = key(name);
    while let Some(known) = KEYS.get(usize::from(entry)) {
        let (id, spelled) = TABLE[usize::from(entry)];
        if *known == wanted && (name.len() <= KEYED || same_name(spelled.as_bytes(), name)) {
            return id;
        }
        entry = NEXT[usize::from(entry)];
    }
    Id::Other
}

/// The length and table entry of the name that a line begins with, where a colon ends it at once
/// and it is in the table.
#[inline]
pub(crate) fn known_name(line: &[u8]) -> Option<(u16, Id)> {
    let mut at = 0;
    while let Some((eight, _)) = line.get(at..)?.split_first_chunk() {
        let colons = u64::from_le_bytes(*eight) ^ COLONS;
        // The lowest bit set is of the first byte that is zero here; later ones are not exact.
        let found = colons.wrapping_sub(EACH) & !colons & EACH << 7;
        if found != 0 {
            let len = at + found.trailing_zeros() as usize / 8;
            let id = classify(line.get(..len)?);
            let len = u16::try_from(len).ok()?;
            return (id != Id::Other).then_some((len, id));
        }
        at += 8;
    }
    None
}

/// One in each byte, and a colon in each.
const EACH: u64 = u64::MAX / 255;
const COLONS: u64 = EACH * b':' as u64;

impl PartialEq for HeaderName<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.id() == other.id()
            && (self.id() != Id::Other || self.as_str().eq_ignore_ascii_case(other.as_str()))
    }
}

impl Eq for HeaderName<'_> {}
