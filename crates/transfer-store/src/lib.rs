//! Transfers, stored.
