//! Answers to the challenges of others, RFC 3261 §22.2 and §22.3, RFC 8760 §2.4.

use bytes::Bytes;
use sip_message::{Challenge, HeaderName, Message};
use smallvec::SmallVec;
use thiserror::Error;

use super::{Algorithm, Proof, Qop, quote};
use crate::config::Credentials;
use crate::ids::Ids;

/// Realms that one dialog answers to at most: its peer and the proxies on the way.
const REALMS: usize = 4;

/// The end of the names of the session variants.
const SESSION: &str = "-sess";

/// Who sends which of the fields of RFC 7616 §3.5: whether a proxy, and the name.
const INFO: [(bool, &str); 2] = [
    (false, "Authentication-Info"),
    (true, "Proxy-Authentication-Info"),
];

/// New nonces taken from one realm without any use of the former ones beyond the first.
const RENEWALS: u8 = 3;

/// What one dialog (or one request outside a dialog) knows about the challenges on its path.
/// Later requests reuse the nonces, with rising counts.
#[derive(Clone, Debug, Default)]
pub struct Client {
    sessions: SmallVec<[Session; 1]>,
}

#[derive(Clone, Debug)]
struct Session {
    proxy: bool,
    realm: Vec<u8>,
    nonce: Vec<u8>,
    opaque: Option<Vec<u8>>,
    algorithm: Algorithm,
    /// A session variant of the algorithm: the client's nonce that the session key is made with,
    /// drawn for the first request and kept (RFC 7616 §3.4.2).
    session: Option<SessionKey>,
    protection: Protection,
    /// How often the nonce was used.
    count: u32,
    /// A request with this nonce got another answer than a challenge.
    served: bool,
    renewals: u8,
}

/// The client's nonce of a session variant; drawn when it is first needed.
#[derive(Clone, Debug, Default)]
struct SessionKey {
    cnonce: Option<String>,
}

/// The quality of protection chosen from those offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protection {
    None,
    Auth,
    AuthInt,
}

/// A header field that answers a challenge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorization {
    /// Whether it is Proxy-Authorization.
    pub proxy: bool,
    /// The value.
    pub value: Bytes,
}

impl Authorization {
    /// The name of the header field.
    #[must_use]
    pub const fn name(&self) -> HeaderName<'static> {
        if self.proxy {
            HeaderName::ProxyAuthorization
        } else {
            HeaderName::Authorization
        }
    }
}

/// The request that is to be authorised.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The method.
    pub method: &'a str,
    /// The Request-URI as it stands in the request line.
    pub uri: &'a [u8],
    /// The body, which `auth-int` protects.
    pub body: &'a [u8],
}

/// Why a 401 or 407 is left as the refusal that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NoAnswer {
    /// There is no challenge in it.
    #[error("no challenge")]
    NoChallenge,
    /// No challenge is for the realm that the credentials are for.
    #[error("the credentials are for another realm")]
    ForeignRealm,
    /// No challenge can be met: scheme, algorithm or protection.
    #[error("no challenge of a supported kind")]
    Unsupported,
    /// The credentials were given and refused.
    #[error("the credentials were refused")]
    Rejected,
    /// New nonces without end, or more realms than a dialog answers to.
    #[error("too many challenges")]
    TooMany,
}

impl Client {
    /// Takes the challenges of a 401 or 407. `Ok`: the request can be sent again with
    /// [`Self::authorize`]. Of several challenges by one realm the first that can be met counts,
    /// since servers list what they prefer first (RFC 8760 §2.4).
    pub fn challenged(
        &mut self,
        response: &Message,
        credentials: &Credentials,
    ) -> Result<(), NoAnswer> {
        let mut outcome = Err(NoAnswer::NoChallenge);
        let mut met: SmallVec<[(bool, Vec<u8>); 2]> = SmallVec::new();
        let www = response
            .www_authenticate()
            .map(|challenge| (false, challenge));
        let proxy = response
            .proxy_authenticate()
            .map(|challenge| (true, challenge));
        for (proxy, challenge) in www.chain(proxy) {
            let Ok(challenge) = challenge else { continue };
            let offer = match Session::read(proxy, &challenge, credentials) {
                Ok(offer) => offer,
                Err(reason) => {
                    outcome = outcome.or(Err(reason));
                    continue;
                }
            };
            let realm = (offer.proxy, offer.realm.clone());
            if met.contains(&realm) {
                continue;
            }
            met.push(realm);
            self.take(offer, is_stale(&challenge))?;
            outcome = Ok(());
        }
        outcome
    }

    /// The header fields for a request: one for each realm that has challenged.
    pub fn authorize(
        &mut self,
        credentials: &Credentials,
        ids: &mut Ids,
        request: Request<'_>,
    ) -> Vec<Authorization> {
        self.sessions
            .iter_mut()
            .map(|session| session.answer(credentials, ids, request))
            .collect()
    }

    /// Whether any realm has challenged, so that requests need header fields.
    #[must_use]
    pub fn is_challenged(&self) -> bool {
        !self.sessions.is_empty()
    }

    /// A request got another final answer than a challenge: what it carried was good. The answer
    /// may name the nonce to use next (RFC 7616 §3.5).
    pub fn served(&mut self, response: &Message) {
        for session in &mut self.sessions {
            session.served = true;
        }
        for (proxy, name) in INFO {
            // The field names no realm: of several that may have sent it, none is known to have.
            let mut of = self
                .sessions
                .iter_mut()
                .filter(|known| known.proxy == proxy);
            if let (Some(session), None) = (of.next(), of.next())
                && let Some(nonce) = next_nonce(response, name)
            {
                session.renew(nonce);
            }
        }
    }

    fn take(&mut self, mut offer: Session, stale: bool) -> Result<(), NoAnswer> {
        let known = self
            .sessions
            .iter_mut()
            .find(|known| known.proxy == offer.proxy && known.realm == offer.realm);
        let Some(known) = known else {
            if self.sessions.len() >= REALMS {
                return Err(NoAnswer::TooMany);
            }
            self.sessions.push(offer);
            return Ok(());
        };
        // A nonce that has served before may have run out without `stale`; one refused at once
        // means a wrong password (RFC 7616 §3.3).
        let served = known.served;
        if !stale && (!served || known.nonce == offer.nonce) {
            return Err(NoAnswer::Rejected);
        }
        if !served && known.renewals >= RENEWALS {
            return Err(NoAnswer::TooMany);
        }
        offer.renewals = if served { 0 } else { known.renewals + 1 };
        *known = offer;
        Ok(())
    }
}

impl Session {
    fn read(
        proxy: bool,
        challenge: &Challenge,
        credentials: &Credentials,
    ) -> Result<Self, NoAnswer> {
        if !challenge.is_digest() {
            return Err(NoAnswer::Unsupported);
        }
        let realm = challenge.param("realm").ok_or(NoAnswer::Unsupported)?;
        if credentials
            .realm
            .as_ref()
            .is_some_and(|ours| *ours.as_bytes() != *realm)
        {
            return Err(NoAnswer::ForeignRealm);
        }
        let (algorithm, session) = match challenge.param("algorithm") {
            None => (Algorithm::Md5, None),
            Some(name) => scheme(&name).ok_or(NoAnswer::Unsupported)?,
        };
        let protection = Protection::choose(challenge.param("qop").as_deref())?;
        // Its key needs the client's nonce, which may not be sent without `qop` (RFC 7616 §3.4).
        if session.is_some() && protection == Protection::None {
            return Err(NoAnswer::Unsupported);
        }
        Ok(Self {
            proxy,
            realm: realm.into_owned(),
            nonce: challenge
                .param("nonce")
                .ok_or(NoAnswer::Unsupported)?
                .into_owned(),
            opaque: challenge.param("opaque").map(std::borrow::Cow::into_owned),
            algorithm,
            session,
            protection,
            count: 0,
            served: false,
            renewals: 0,
        })
    }

    fn answer(
        &mut self,
        credentials: &Credentials,
        ids: &mut Ids,
        request: Request<'_>,
    ) -> Authorization {
        self.count = self.count.saturating_add(1);
        let count = format!("{:08x}", self.count);
        let cnonce = match &mut self.session {
            None => ids.cnonce(),
            Some(key) => key.cnonce.get_or_insert_with(|| ids.cnonce()).clone(),
        };
        let (count, cnonce) = (count.as_bytes(), cnonce.as_bytes());
        let qop = match self.protection {
            Protection::None => Qop::None,
            Protection::Auth => Qop::Auth { count, cnonce },
            Protection::AuthInt => Qop::AuthInt {
                count,
                cnonce,
                body: request.body,
            },
        };
        let proof = Proof {
            algorithm: self.algorithm,
            username: credentials.username.as_bytes(),
            realm: &self.realm,
            password: credentials.password.as_bytes(),
            nonce: &self.nonce,
            method: request.method.as_bytes(),
            uri: request.uri,
            qop,
            session: self.session.is_some().then_some(cnonce),
        };
        Authorization {
            proxy: self.proxy,
            value: self.write(&proof),
        }
    }

    /// Another nonce of the same server, for the same realm.
    fn renew(&mut self, nonce: Vec<u8>) {
        self.nonce = nonce;
        self.count = 0;
        if let Some(key) = &mut self.session {
            key.cnonce = None;
        }
    }

    fn write(&self, proof: &Proof<'_>) -> Bytes {
        let mut text = Vec::with_capacity(320);
        text.extend_from_slice(b"Digest username=");
        quote(&mut text, proof.username);
        let response = proof.response();
        let quoted: [(&[u8], &[u8]); 4] = [
            (b", realm=", proof.realm),
            (b", nonce=", proof.nonce),
            (b", uri=", proof.uri),
            (b", response=", response.as_bytes()),
        ];
        for (name, value) in quoted {
            text.extend_from_slice(name);
            quote(&mut text, value);
        }
        text.extend_from_slice(b", algorithm=");
        text.extend_from_slice(self.algorithm.name().as_bytes());
        if self.session.is_some() {
            text.extend_from_slice(SESSION.as_bytes());
        }
        if let Some(opaque) = &self.opaque {
            text.extend_from_slice(b", opaque=");
            quote(&mut text, opaque);
        }
        let (name, count, cnonce): (&[u8], _, _) = match proof.qop {
            Qop::None => return text.into(),
            Qop::Auth { count, cnonce } => (b"auth", count, cnonce),
            Qop::AuthInt { count, cnonce, .. } => (b"auth-int", count, cnonce),
        };
        for part in [b", qop=".as_slice(), name, b", nc=", count, b", cnonce="] {
            text.extend_from_slice(part);
        }
        quote(&mut text, cnonce);
        text.into()
    }
}

impl Protection {
    /// `auth` where it is offered, else `auth-int`; none where none is.
    fn choose(offered: Option<&[u8]>) -> Result<Self, NoAnswer> {
        let Some(offered) = offered else {
            return Ok(Self::None);
        };
        let has = |name: &[u8]| {
            offered
                .split(|byte| *byte == b',')
                .any(|option| option.trim_ascii().eq_ignore_ascii_case(name))
        };
        if has(b"auth") {
            Ok(Self::Auth)
        } else if has(b"auth-int") {
            Ok(Self::AuthInt)
        } else {
            Err(NoAnswer::Unsupported)
        }
    }
}

/// An algorithm by its name in a challenge, and the key to come where it is a session variant.
fn scheme(name: &[u8]) -> Option<(Algorithm, Option<SessionKey>)> {
    let plain = name.len().saturating_sub(SESSION.len());
    let (plain, end) = name.split_at(plain);
    if end.eq_ignore_ascii_case(SESSION.as_bytes()) {
        Algorithm::parse(plain).map(|algorithm| (algorithm, Some(SessionKey::default())))
    } else {
        Algorithm::parse(name).map(|algorithm| (algorithm, None))
    }
}

/// The `nextnonce` of an Authentication-Info field; of several fields, that of the first that has one.
fn next_nonce(response: &Message, name: &str) -> Option<Vec<u8>> {
    response.fields_named(name).find_map(|field| {
        let value = field.value();
        let info = sip_message::AuthenticationInfo::parse(&value).ok()?;
        let nonce = info.param("nextnonce")?.into_owned();
        (!nonce.is_empty()).then_some(nonce)
    })
}

fn is_stale(challenge: &Challenge) -> bool {
    challenge
        .param("stale")
        .is_some_and(|stale| stale.eq_ignore_ascii_case(b"true"))
}
