//! Transactions, dialogs, legs.
