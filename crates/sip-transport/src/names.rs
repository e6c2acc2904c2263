//! Whom a certificate speaks for: SIP domain identities, RFC 5922 §7.

use rustls::pki_types::{CertificateDer, ServerName};
use sip_message::Message;
use webpki::EndEntityCert;

/// Whether a certificate has the identity `name` (RFC 5922 §7.1, §7.2): a `sip:` URI of the
/// domain; only where there is no such URI at all, a DNS name, compared as a whole since wildcards
/// are not for SIP. The subject's common name counts for nothing. Literal addresses, of which the
/// RFC does not speak, need that very address.
pub(crate) fn covers(certificate: &CertificateDer<'_>, name: &ServerName<'_>) -> bool {
    let Ok(certificate) = EndEntityCert::try_from(certificate) else {
        return false;
    };
    let ServerName::DnsName(domain) = name else {
        return certificate.verify_is_valid_for_subject_name(name).is_ok();
    };
    let same = |identity: &str| {
        let whole = |name: &str| name.trim_end_matches('.').to_ascii_lowercase();
        whole(identity) == whole(domain.as_ref())
    };
    let mut uris = certificate
        .valid_uri_names()
        .filter_map(domain_of)
        .peekable();
    if uris.peek().is_some() {
        uris.any(same)
    } else {
        certificate.valid_dns_names().any(same)
    }
}

/// The domain that a URI of a certificate stands for; none where it is not `sip:` or names a user.
fn domain_of(uri: &str) -> Option<&str> {
    let (scheme, rest) = uri.split_once(':')?;
    let host = rest.split([';', '?', ':']).next().unwrap_or_default();
    (scheme.eq_ignore_ascii_case("sip") && !rest.contains('@') && !host.is_empty()).then_some(host)
}

/// The name that the peer of a message must prove to have, RFC 5922 §7.3: the host that was
/// resolved, never what it resolved to. That is the topmost loose route or else the Request-URI;
/// for a response whose connection is gone, the Via.
pub(crate) fn of_next_hop(message: &Message) -> Option<ServerName<'static>> {
    let host = if message.is_request() {
        let route = message.routes().next().and_then(Result::ok);
        match route.filter(|route| route.uri().param("lr").is_some()) {
            Some(route) => route.uri().host().to_vec(),
            None => message.target().ok()?.host().to_vec(),
        }
    } else {
        message.via().ok()?.host().to_vec()
    };
    let host = String::from_utf8(host).ok()?;
    let bare = host.trim_matches(['[', ']']).trim_end_matches('.');
    ServerName::try_from(bare.to_ascii_lowercase()).ok()
}
