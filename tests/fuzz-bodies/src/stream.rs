//! Framing of byte streams.

use sip_message::{Frame, Limits, StreamDecoder};

const LIMITS: Limits = Limits {
    message_bytes: 4096,
    headers: 32,
};

/// The first byte says how the rest is cut; however it is, the same frames come out.
pub fn stream(data: &[u8]) {
    let Some((cut, data)) = data.split_first() else {
        return;
    };
    let whole = frames(data.chunks(data.len().max(1)));
    assert_eq!(
        frames(data.chunks(usize::from(*cut % 64) + 1)),
        whole,
        "the split is seen"
    );
    assert_eq!(frames(data.chunks(1)), whole, "the split is seen");
}

/// Frames as text; the last says how the stream ended, if it did.
fn frames<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Vec<String> {
    let mut decoder = StreamDecoder::new(LIMITS);
    let mut seen = Vec::new();
    for piece in pieces {
        decoder.push(piece);
        loop {
            match decoder.next() {
                Ok(None) => break,
                Ok(Some(Frame::Ping)) => seen.push("ping".to_owned()),
                Ok(Some(Frame::Message(Ok(message)))) => {
                    let length = message.content_length().expect("framed by its length");
                    assert_eq!(
                        length.map(|length| length as usize),
                        Some(message.body().len())
                    );
                    seen.push(format!("{message:?}"));
                }
                Ok(Some(Frame::Message(Err(error)))) => seen.push(error.to_string()),
                Err(broken) => {
                    assert_eq!(decoder.buffered(), 0, "a broken stream holds nothing");
                    // Where it was noticed depends on how much had come.
                    seen.push(format!("{} {}", broken.error.status, broken.error.what));
                    return seen;
                }
            }
        }
        assert!(decoder.buffered() <= LIMITS.message_bytes + piece.len());
    }
    seen
}
