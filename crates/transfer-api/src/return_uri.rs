//! Which return URIs are taken: pure, without resolving a name.

use std::net::IpAddr;

use call_control::transfer::ReturnType;
use percent_encoding::percent_decode;
use sip_message::{Uri, tel_as_sip};

use crate::accounts::Account;
use crate::targets::{OwnAddresses, TargetRules};

const LONGEST: usize = 1024;

/// Holds a return URI against the rules; the text says what is wrong with it.
pub(crate) fn check(
    text: &str,
    return_type: ReturnType,
    account: &Account,
    own: &OwnAddresses,
) -> Result<(), &'static str> {
    if text.chars().count() > LONGEST {
        return Err("must be at most 1024 characters");
    }
    let scheme = text.split(':').next().unwrap_or_default();
    if scheme.eq_ignore_ascii_case("tel") {
        return check_number(text, account);
    }
    let clean = text
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && !b"<>\"".contains(&byte));
    let uri = Uri::parse(text.as_bytes())
        .ok()
        .filter(|uri| clean && uri.is_sip() && !uri.host().is_empty());
    let uri = uri.ok_or("must be a valid sip: or sips: URI")?;
    check_method(&uri)?;
    match return_type {
        ReturnType::Bye => Ok(()),
        ReturnType::Refer => check_not_own(&uri, own),
        ReturnType::Invite => {
            check_not_own(&uri, own).and_then(|()| check_target(&uri, &account.targets))
        }
    }
}

/// A telephone number is called where a trunk of the account says.
fn check_number(text: &str, account: &Account) -> Result<(), &'static str> {
    if !account.calls_numbers {
        return Err("must be a sip: or sips: URI; no trunk maps tel: (tel_host)");
    }
    match tel_as_sip(text.as_bytes(), "trunk.invalid") {
        Some(_) => Ok(()),
        None => Err("must be a valid tel: URI"),
    }
}

fn check_method(uri: &Uri) -> Result<(), &'static str> {
    let other = uri.params().any(|param| {
        let name: Vec<u8> = percent_decode(param.name).collect();
        let value: Vec<u8> = percent_decode(param.value.unwrap_or_default()).collect();
        name.eq_ignore_ascii_case(b"method") && !value.eq_ignore_ascii_case(b"INVITE")
    });
    if other {
        Err("must not have a method parameter other than INVITE")
    } else {
        Ok(())
    }
}

/// The hosts that a URI can lead to: its own and that of `maddr`.
fn hosts(uri: &Uri) -> impl Iterator<Item = String> {
    let maddr = uri.param("maddr").map(<[u8]>::to_vec);
    std::iter::once(uri.host().to_vec())
        .chain(maddr)
        .map(|host| {
            let host = String::from_utf8_lossy(&host).into_owned();
            host.trim_start_matches('[')
                .trim_end_matches(']')
                .to_owned()
        })
}

fn check_not_own(uri: &Uri, own: &OwnAddresses) -> Result<(), &'static str> {
    let tls = uri.is_sips()
        || uri
            .param("transport")
            .is_some_and(|it| it.eq_ignore_ascii_case(b"tls"));
    let port = uri.port().unwrap_or(if tls { 5061 } else { 5060 });
    if hosts(uri).any(|host| own.contain(&host, port)) {
        return Err("leads back to this gateway");
    }
    Ok(())
}

fn check_target(uri: &Uri, targets: &TargetRules) -> Result<(), &'static str> {
    let admitted = |host: String| {
        host.parse::<IpAddr>().is_err() || host.parse().is_ok_and(|ip| targets.admit(&host, ip))
    };
    if hosts(uri).all(admitted) {
        Ok(())
    } else {
        Err("leads to an address that calls may not be returned to")
    }
}
