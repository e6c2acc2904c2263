//! Stories live in `tests/tests`.
