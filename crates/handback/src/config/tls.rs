//! `[sip.tls]` as the sockets take it.

use std::sync::Arc;

use sip_transport::{Tls, TlsError, TlsMaterial};

use super::types::{SipTls, TlsVersion};

impl SipTls {
    /// The certificates and keys, ready for use.
    ///
    /// # Errors
    /// The first part that is not usable.
    pub fn usable(&self) -> Result<Arc<Tls>, TlsError> {
        let key = self
            .key
            .as_ref()
            .map(|key| key.expose().as_bytes().to_vec());
        let material = TlsMaterial {
            certificate: self.certificate.clone(),
            key,
            client_ca: self.client_ca.clone(),
            require_client_certificate: self.require_client_certificate,
            ca: self.ca.clone(),
            allow_tls12: self.min_version == TlsVersion::V12,
            insecure: false,
        };
        Tls::new(&material).map(Arc::new)
    }
}
