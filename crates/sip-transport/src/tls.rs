//! TLS: what it is made of, and how a peer's certificate is judged (RFC 5922).

use crate::names;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, ServerConfig,
    SignatureScheme, SupportedProtocolVersion,
};
use std::fmt;
use std::sync::{Arc, OnceLock};

/// What TLS is made of, as it stands in PEM files.
#[derive(Clone, Default)]
pub struct TlsMaterial {
    /// Our certificate, those of its issuers after it.
    pub certificate: Option<Vec<u8>>,
    /// The private key of the certificate.
    pub key: Option<Vec<u8>>,
    /// Authorities whose client certificates are taken; without them none is asked for.
    pub client_ca: Option<Vec<u8>>,
    /// Whether a client without a certificate is turned away.
    pub require_client_certificate: bool,
    /// Authorities of the servers that we connect to; the system's where absent.
    pub ca: Option<Vec<u8>>,
    /// Whether TLS 1.2 is spoken besides 1.3.
    pub allow_tls12: bool,
    /// Take any server's certificate; for tests by hand only.
    pub insecure: bool,
}

impl fmt::Debug for TlsMaterial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsMaterial")
            .field(
                "require_client_certificate",
                &self.require_client_certificate,
            )
            .field("allow_tls12", &self.allow_tls12)
            .field("insecure", &self.insecure)
            .finish_non_exhaustive()
    }
}

/// The part of a [`TlsMaterial`] that is not usable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsPart {
    /// Our certificate, or that there is none.
    Certificate,
    /// Its key, or that there is none.
    Key,
    /// The authorities of clients.
    ClientCa,
    /// The authorities of servers.
    Ca,
}

/// What is wrong with TLS as it is set up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct TlsError {
    /// Where.
    pub part: TlsPart,
    /// What.
    pub problem: String,
}

/// TLS ready for use, in both roles.
#[derive(Clone, Debug)]
pub struct Tls {
    pub(crate) server: Option<Arc<ServerConfig>>,
    pub(crate) client: Arc<ClientConfig>,
}

impl Tls {
    /// Reads certificates and keys and checks that they belong together.
    ///
    /// # Errors
    /// The first part that is not usable.
    pub fn new(material: &TlsMaterial) -> Result<Self, TlsError> {
        let identity = identity(material)?;
        let client = client(material, identity.as_ref())?;
        let server = identity.map(|identity| server(material, identity));
        Ok(Self {
            server: server.transpose()?.map(Arc::new),
            client: Arc::new(client),
        })
    }

    /// Whether connections can be taken, not only made.
    #[must_use]
    pub const fn serves(&self) -> bool {
        self.server.is_some()
    }
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn wrong(part: TlsPart, problem: impl Into<String>) -> TlsError {
    TlsError {
        part,
        problem: problem.into(),
    }
}

fn identity(material: &TlsMaterial) -> Result<Option<Identity>, TlsError> {
    match (&material.certificate, &material.key) {
        (None, None) => Ok(None),
        (Some(_), None) => Err(wrong(TlsPart::Key, "a certificate needs its key")),
        (None, Some(_)) => Err(wrong(TlsPart::Certificate, "a key needs its certificate")),
        (Some(chain), Some(key)) => {
            let chain = certificates(TlsPart::Certificate, chain)?;
            let key = PrivateKeyDer::from_pem_slice(key)
                .map_err(|error| wrong(TlsPart::Key, format!("no private key in PEM: {error}")))?;
            Ok(Some((chain, key)))
        }
    }
}

fn certificates(part: TlsPart, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|error| wrong(part, format!("not PEM: {error}")))?;
    if found.is_empty() {
        return Err(wrong(part, "holds no certificate in PEM"));
    }
    Ok(found)
}

fn roots(part: TlsPart, pem: &[u8]) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(part, pem)? {
        roots
            .add(certificate)
            .map_err(|error| wrong(part, format!("not an authority: {error}")))?;
    }
    Ok(roots)
}

/// The system's authorities, read once.
fn system_roots() -> RootCertStore {
    static ROOTS: OnceLock<RootCertStore> = OnceLock::new();
    let read = || {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        roots
    };
    ROOTS.get_or_init(read).clone()
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// 1.3 and, where allowed, 1.2; what is older is not spoken at all (RFC 8996).
const fn versions(allow_tls12: bool) -> &'static [&'static SupportedProtocolVersion] {
    static BOTH: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
    static NEWEST: [&SupportedProtocolVersion; 1] = [&TLS13];
    if allow_tls12 { &BOTH } else { &NEWEST }
}

fn server(material: &TlsMaterial, (chain, key): Identity) -> Result<ServerConfig, TlsError> {
    let provider = provider();
    let certificate = |error: Error| wrong(TlsPart::Certificate, error.to_string());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions(material.allow_tls12))
        .map_err(certificate)?;
    let builder = match &material.client_ca {
        None if material.require_client_certificate => {
            return Err(wrong(
                TlsPart::ClientCa,
                "is needed to judge the client certificates that are required",
            ));
        }
        None => builder.with_no_client_auth(),
        Some(pem) => {
            let roots = Arc::new(roots(TlsPart::ClientCa, pem)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
            let verifier = if material.require_client_certificate {
                verifier
            } else {
                verifier.allow_unauthenticated()
            };
            let verifier = verifier.build();
            builder.with_client_cert_verifier(
                verifier.map_err(|error| wrong(TlsPart::ClientCa, error.to_string()))?,
            )
        }
    };
    builder.with_single_cert(chain, key).map_err(certificate)
}

fn client(material: &TlsMaterial, identity: Option<&Identity>) -> Result<ClientConfig, TlsError> {
    let provider = provider();
    let verifier = DomainVerifier {
        roots: match &material.ca {
            Some(pem) => roots(TlsPart::Ca, pem)?,
            None => system_roots(),
        },
        algorithms: provider.signature_verification_algorithms,
        insecure: material.insecure,
    };
    let certificate = |error: Error| wrong(TlsPart::Certificate, error.to_string());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions(material.allow_tls12))
        .map_err(certificate)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    match identity {
        None => Ok(builder.with_no_client_auth()),
        Some((chain, key)) => builder
            .with_client_auth_cert(chain.clone(), key.clone_key())
            .map_err(certificate),
    }
}

/// The chain as everywhere, the name as RFC 5922 has it.
#[derive(Debug)]
struct DomainVerifier {
    roots: RootCertStore,
    algorithms: WebPkiSupportedAlgorithms,
    insecure: bool,
}

impl ServerCertVerifier for DomainVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.insecure {
            return Ok(ServerCertVerified::assertion());
        }
        verify_server_cert_signed_by_trust_anchor(
            &ParsedCertificate::try_from(end_entity)?,
            &self.roots,
            intermediates,
            now,
            self.algorithms.all,
        )?;
        if names::covers(end_entity, server_name) {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::NotValidForName.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
