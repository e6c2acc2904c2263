//! RTP sessions.
