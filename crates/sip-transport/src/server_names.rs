//! The names that TLS peers must prove, kept once and known by number, so that a [`sip_core::Flow`] stays a plain value.

use sip_core::ServerName;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Names that are known at most: return targets are few, and one that is not known is not called over TLS.
const MOST: usize = 65_536;

/// Every name that a flow was asked for with, in lower case and without its final dot.
#[derive(Debug, Default)]
pub(crate) struct ServerNames(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    names: Vec<Arc<str>>,
    numbers: HashMap<Arc<str>, ServerName>,
}

impl ServerNames {
    /// The number of a name; none when too many are known.
    pub(crate) fn number(&self, name: &str) -> Option<ServerName> {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(&number) = known.numbers.get(name.as_str()) {
            return Some(number);
        }
        let number = ServerName(
            u32::try_from(known.names.len())
                .ok()
                .filter(|_| known.names.len() < MOST)?,
        );
        let name: Arc<str> = name.into();
        known.names.push(Arc::clone(&name));
        known.numbers.insert(name, number);
        Some(number)
    }

    /// The name behind a number.
    pub(crate) fn name(&self, number: ServerName) -> Option<Arc<str>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.names.get(usize::try_from(number.0).ok()?).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_has_one_number_however_it_is_written() {
        let names = ServerNames::default();
        let first = names.number("Sip.Example.com.").unwrap();
        assert_eq!(names.number("sip.example.com"), Some(first));
        assert_ne!(names.number("sip.example.org"), Some(first));
        assert_eq!(names.name(first).as_deref(), Some("sip.example.com"));
        assert_eq!(names.name(ServerName(9)), None);
    }
}
