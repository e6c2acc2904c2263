//! One RTP packet received and one sent.
fn main() {}
