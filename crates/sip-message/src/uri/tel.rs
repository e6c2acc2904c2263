//! Telephone numbers as SIP URIs.

use bytes::Bytes;

/// A tel URI (RFC 3966) as a SIP URI at a host, RFC 3261 §19.1.6: the number without its visual
/// separators, its parameters in the user part, and `user=phone`. `None` where it is no tel URI.
#[must_use]
pub fn tel_as_sip(uri: &[u8], host: &str) -> Option<Bytes> {
    let text = std::str::from_utf8(uri).ok()?;
    let (scheme, rest) = text.split_once(':')?;
    if !scheme.eq_ignore_ascii_case("tel") {
        return None;
    }
    let (number, params) = rest.split_once(';').map_or((rest, ""), |(n, p)| (n, p));
    let number: String = number.chars().filter(|c| !"-.()".contains(*c)).collect();
    let digits = number.strip_prefix('+').unwrap_or(&number);
    let is_number = |c: char| c.is_ascii_hexdigit() || matches!(c, '*' | '#');
    if digits.is_empty() || !digits.chars().all(is_number) {
        return None;
    }
    let number = number.replace('#', "%23");
    let params = params.to_ascii_lowercase();
    let user = if params.is_empty() {
        number
    } else {
        format!("{number};{params}")
    };
    Some(format!("sip:{user}@{host};user=phone").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn telephone_number_becomes_the_user_of_a_sip_uri() {
        let sip = |tel: &str| {
            tel_as_sip(tel.as_bytes(), "sbc.example.com:5070")
                .map(|uri| String::from_utf8(uri.to_vec()).unwrap())
        };
        assert_eq!(
            sip("tel:+1-555-(123).4567").unwrap(),
            "sip:+15551234567@sbc.example.com:5070;user=phone"
        );
        assert_eq!(
            sip("TEL:1234;phone-context=Example.com").unwrap(),
            "sip:1234;phone-context=example.com@sbc.example.com:5070;user=phone"
        );
        for other in ["sip:+1555@x", "tel:", "tel:hello", "+1555"] {
            assert_eq!(sip(other), None, "{other}");
        }
    }
}
