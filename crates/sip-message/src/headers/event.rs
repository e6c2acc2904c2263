//! Token values with parameters: Event, Subscription-State, Reason, Replaces, Session-Expires, Warning.

use std::borrow::Cow;

use bytes::Bytes;
use nom::Parser;

use super::{Params, params_end};
use crate::ParseError;
use crate::grammar::{decimal, token};

/// A token or word, then parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Value {
    raw: Bytes,
    head: usize,
}

impl Value {
    fn token(raw: Bytes, what: &'static str) -> Result<Self, ParseError> {
        let Ok((rest, _)) = token(&raw) else {
            return Err(ParseError::new(what, 0));
        };
        let head = raw.len() - rest.len();
        params_end(rest, what, head)?;
        Ok(Self { raw, head })
    }

    fn head(&self) -> &[u8] {
        &self.raw[..self.head]
    }

    fn params(&self) -> Params<'_> {
        Params::new(&self.raw[self.head..])
    }

    fn number(&self, name: &str) -> Option<u32> {
        self.params().get(name).and_then(decimal)
    }
}

macro_rules! value_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name(Value);

        impl $name {
            /// The value, byte for byte.
            pub fn as_bytes(&self) -> &Bytes {
                &self.0.raw
            }

            /// The parameters.
            pub fn params(&self) -> Params<'_> {
                self.0.params()
            }
        }
    };
}

value_type! {
    /// `Event` (RFC 6665 section 8.2.1).
    Event
}
value_type! {
    /// `Subscription-State` (RFC 6665 section 8.2.3).
    SubscriptionState
}
value_type! {
    /// One value of `Reason` (RFC 3326).
    Reason
}
value_type! {
    /// `Replaces` (RFC 3891 section 6.1).
    Replaces
}
value_type! {
    /// `Session-Expires` or `Min-SE` (RFC 4028 sections 4 and 5).
    SessionExpires
}

impl Event {
    /// Reads the value, folds allowed.
    pub fn parse(raw: Bytes) -> Result<Self, ParseError> {
        Value::token(raw, "Event malformed").map(Self)
    }

    /// The event package, `refer` for instance.
    pub fn package(&self) -> &[u8] {
        self.0.head()
    }

    /// The `id` parameter.
    pub fn id(&self) -> Option<&[u8]> {
        self.params().get("id")
    }
}

impl SubscriptionState {
    /// Reads the value, folds allowed.
    pub fn parse(raw: Bytes) -> Result<Self, ParseError> {
        Value::token(raw, "Subscription-State malformed").map(Self)
    }

    /// The state as spelled: `active`, `pending`, `terminated`.
    pub fn state(&self) -> &[u8] {
        self.0.head()
    }

    /// Whether the subscription is over.
    pub fn is_terminated(&self) -> bool {
        self.state().eq_ignore_ascii_case(b"terminated")
    }

    /// Why it is over.
    pub fn reason(&self) -> Option<&[u8]> {
        self.params().get("reason")
    }

    /// Seconds that it lasts.
    pub fn expires(&self) -> Option<u32> {
        self.0.number("expires")
    }
}

impl Reason {
    /// Reads one value, folds allowed.
    pub fn parse(raw: Bytes) -> Result<Self, ParseError> {
        Value::token(raw, "Reason malformed").map(Self)
    }

    /// The protocol as spelled: `SIP`, `Q.850`.
    pub fn protocol(&self) -> &[u8] {
        self.0.head()
    }

    /// The cause code.
    pub fn cause(&self) -> Option<u32> {
        self.0.number("cause")
    }

    /// The text, without quotes.
    pub fn text(&self) -> Option<Cow<'_, [u8]>> {
        self.params().find("text").map(|text| text.text())
    }
}

impl Replaces {
    /// Reads the value: a Call-ID with `to-tag` and `from-tag`, both required.
    pub fn parse(raw: Bytes) -> Result<Self, ParseError> {
        let what = "Replaces malformed";
        let head = memchr::memchr(b';', &raw).ok_or(ParseError::new(what, 0))?;
        let call_id = crate::grammar::trim(&raw[..head]);
        if !crate::grammar::is_call_id(call_id) {
            return Err(ParseError::new(what, 0));
        }
        params_end(&raw[head..], what, head)?;
        let value = Self(Value { raw, head });
        if value.to_tag().is_none() || value.from_tag().is_none() {
            return Err(ParseError::new("Replaces without tags", 0));
        }
        Ok(value)
    }

    /// The Call-ID of the dialog to replace.
    pub fn call_id(&self) -> &[u8] {
        crate::grammar::trim(self.0.head())
    }

    /// The `to-tag`.
    pub fn to_tag(&self) -> Option<&[u8]> {
        self.params().get("to-tag")
    }

    /// The `from-tag`.
    pub fn from_tag(&self) -> Option<&[u8]> {
        self.params().get("from-tag")
    }

    /// Whether only an early dialog may be replaced.
    pub fn early_only(&self) -> bool {
        self.params().contains("early-only")
    }
}

impl SessionExpires {
    /// Reads the value, folds allowed.
    pub fn parse(raw: Bytes) -> Result<Self, ParseError> {
        let value = Value::token(raw, "Session-Expires malformed")?;
        match decimal(value.head()) {
            Some(_) => Ok(Self(value)),
            None => Err(ParseError::new("Session-Expires malformed", 0)),
        }
    }

    /// Seconds.
    pub fn seconds(&self) -> u32 {
        decimal(self.0.head()).unwrap_or_default()
    }

    /// The `refresher` parameter: `uac` or `uas`.
    pub fn refresher(&self) -> Option<&[u8]> {
        self.params().get("refresher")
    }
}

/// One value of `Warning` (RFC 3261 section 20.43).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The three-digit code.
    pub code: u16,
    /// The host or pseudonym that added it.
    pub agent: Bytes,
    /// The text, without quotes.
    pub text: Bytes,
}

impl Warning {
    /// Reads one value.
    pub fn parse(raw: &Bytes) -> Result<Self, ParseError> {
        use crate::grammar::{lws, number, quoted_string};
        use nom::bytes::complete::take_while1;
        let agent = take_while1(|byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b',');
        let malformed = ParseError::new("Warning malformed", 0);
        match (number, lws, agent, lws, quoted_string).parse(&raw[..]) {
            Ok(([], (code @ 100..=999, _, agent, _, text))) => Ok(Self {
                code: u16::try_from(code).unwrap_or_default(),
                agent: raw.slice_ref(agent),
                text: Bytes::from(crate::list::unquote(text).into_owned()),
            }),
            _ => Err(malformed),
        }
    }
}
