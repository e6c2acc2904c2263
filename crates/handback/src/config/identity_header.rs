//! Templates of the header fields by which an INVITE return says who calls: `return_headers` of a trunk.

use super::words::Word;

/// Header fields that a template may write, besides those whose names begin with `X-`.
const NAMES: [&str; 6] = [
    "P-Asserted-Identity",
    "P-Preferred-Identity",
    "Remote-Party-ID",
    "Privacy",
    "Diversion",
    "History-Info",
];

/// A header field of INVITE returns with places to fill in: `Diversion: <sip:{called}@{host}>;reason=deflection`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityHeader {
    name: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Place(Place),
}

/// What a template can say of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The caller's display name, escaped for a quoted string (RFC 3261 §25.1).
    Display,
    /// The caller's user part; `anonymous` where there is none.
    User,
    /// Our host.
    Host,
    /// The user part that was called.
    Called,
    /// The From URI.
    From,
    /// The To URI.
    To,
    /// The transfer's id.
    Transfer,
}

const PLACES: [(&str, Place); 7] = [
    ("display", Place::Display),
    ("user", Place::User),
    ("host", Place::Host),
    ("called", Place::Called),
    ("from", Place::From),
    ("to", Place::To),
    ("transfer", Place::Transfer),
];

impl IdentityHeader {
    /// The field's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The field's value of one call.
    #[must_use]
    pub fn filled(&self, fill: impl Fn(Place) -> String) -> String {
        let part = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Place(place) => fill(*place),
        };
        self.parts.iter().map(part).collect()
    }
}

impl Word for IdentityHeader {
    fn read(text: &str) -> Result<Self, String> {
        let Some((name, value)) = text.split_once(':') else {
            return Err(format!("{text:?} is not \"Name: value\""));
        };
        let (name, value) = (name.trim(), value.trim());
        let known = NAMES.iter().any(|it| it.eq_ignore_ascii_case(name));
        let own = name.len() > 2
            && name
                .get(..2)
                .is_some_and(|start| start.eq_ignore_ascii_case("X-"))
            && is_token(name);
        if !known && !own || name.eq_ignore_ascii_case(call_control::TRANSFER_HEADER) {
            return Err(format!("{name:?} is none of {}, X-…", NAMES.join(", ")));
        }
        if value.is_empty() || value.contains(|c: char| c.is_control()) {
            return Err(format!(
                "{name} has no value, or one with control characters"
            ));
        }
        let parts = parts(value)?;
        Ok(Self {
            name: name.to_owned(),
            parts,
        })
    }

    fn show(&self) -> String {
        let place = |place: Place| {
            let named = PLACES.iter().find(|(_, it)| *it == place);
            format!("{{{}}}", named.map_or("", |(name, _)| name))
        };
        format!("{}: {}", self.name, self.filled(place))
    }
}

fn is_token(name: &str) -> bool {
    let part = |c: char| c.is_ascii_alphanumeric() || "-.!%*_+`'~".contains(c);
    name.chars().all(part)
}

fn parts(mut value: &str) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    while let Some((before, rest)) = value.split_once('{') {
        let Some((name, after)) = rest.split_once('}') else {
            return Err("a { has no }".to_owned());
        };
        let Some((_, place)) = PLACES.iter().find(|(it, _)| *it == name) else {
            let names: Vec<&str> = PLACES.iter().map(|(name, _)| *name).collect();
            return Err(format!("{{{name}}} is none of {}", names.join(", ")));
        };
        parts.push(Part::Text(before.to_owned()));
        parts.push(Part::Place(*place));
        value = after;
    }
    parts.push(Part::Text(value.to_owned()));
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn template_is_filled_in_and_shown_as_it_was_written() {
        let text = "Diversion: \"{display}\" <sip:{called}@{host}>;reason=deflection";
        let header = IdentityHeader::read(text).unwrap();
        let fill = |place| match place {
            Place::Display => "Ann".to_owned(),
            Place::Called => "agent".to_owned(),
            Place::User | Place::Host | Place::From | Place::To | Place::Transfer => {
                "gw".to_owned()
            }
        };
        assert_eq!(header.name(), "Diversion");
        assert_eq!(
            header.filled(fill),
            "\"Ann\" <sip:agent@gw>;reason=deflection"
        );
        assert_eq!(header.show(), text);
    }

    #[test]
    fn template_of_another_header_or_with_an_unknown_place_is_refused() {
        for (text, problem) in [
            ("Contact: <sip:x@y>", "\"Contact\" is none of"),
            ("X-ASAPP-CallTransferId: 7", "is none of"),
            ("Diversion", "is not \"Name: value\""),
            ("Diversion: <sip:{nobody}@x>", "{nobody} is none of"),
            ("Diversion: <sip:{user@x>", "a { has no }"),
            ("Privacy:", "has no value"),
        ] {
            let found = IdentityHeader::read(text).unwrap_err();
            assert!(found.contains(problem), "{text}: {found}");
        }
    }
}
