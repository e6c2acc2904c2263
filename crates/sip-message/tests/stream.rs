//! Messages out of byte streams.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use sip_message::{Frame, FramingError, Limits, Method, StreamDecoder};

const OPTIONS: &str = "OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/TCP c;branch=z9hG4bK1\r\nFrom: <sip:c@c>;tag=1\r\nTo: <sip:a@b>\r\nCall-ID: x\r\nCSeq: 1 OPTIONS\r\n";

fn options(extra: &str, body: &str) -> String {
    format!("{OPTIONS}{extra}\r\n{body}")
}

/// All frames of the stream, a chunk at a time: messages by their bytes.
fn decode(stream: &[u8], chunk: usize) -> (Vec<String>, Option<FramingError>) {
    let mut decoder = StreamDecoder::new(Limits::default());
    let mut seen = Vec::new();
    for part in stream.chunks(chunk) {
        decoder.push(part);
        loop {
            match decoder.next() {
                Ok(Some(Frame::Ping)) => seen.push("ping".into()),
                Ok(Some(Frame::Message(message))) => {
                    seen.push(String::from_utf8_lossy(message.unwrap().bytes()).into_owned());
                }
                Ok(None) => break,
                Err(error) => return (seen, Some(error)),
            }
        }
    }
    (seen, None)
}

fn decode_any_split(stream: &str) -> (Vec<String>, Option<FramingError>) {
    let whole = decode(stream.as_bytes(), stream.len().max(1));
    for chunk in [1, 2, 3, 7, 64] {
        assert_eq!(
            decode(stream.as_bytes(), chunk),
            whole,
            "in chunks of {chunk}"
        );
    }
    whole
}

#[test]
fn messages_end_where_content_length_says() {
    let (one, two) = (
        options("Content-Length: 5\r\n", "hello"),
        options("l: 0\r\n", ""),
    );
    let (seen, error) = decode_any_split(&format!("{one}{two}{one}"));
    assert_eq!((seen, error), (vec![one.clone(), two, one], None));
}

#[test]
fn a_message_without_content_length_ends_the_stream_and_nothing_is_read_from_its_body() {
    let (one, two) = (options("", ""), options("Content-Length: 0\r\n", ""));
    let (seen, error) = decode_any_split(&format!("{one}{two}"));
    assert_eq!(seen, Vec::<String>::new());
    assert!(error.is_some());
}

#[test]
fn double_line_ends_are_pings_and_single_ones_are_skipped() {
    let one = options("Content-Length: 0\r\n", "");
    let (seen, error) = decode_any_split(&format!("\r\n\r\n{one}\r\n{one}\r\n\r\n\r\n\r\n"));
    assert_eq!(error, None);
    assert_eq!(seen, ["ping", &one, &one, "ping", "ping"]);
}

#[test]
fn an_unfinished_message_is_waited_for() {
    let text = options("Content-Length: 10\r\n", "123456789");
    assert_eq!(decode_any_split(&text), (vec![], None));
}

#[test]
fn what_cannot_be_framed_ends_the_stream_and_can_be_answered() {
    let table = [
        ("Content-Length: -1\r\n", 400),
        ("Content-Length: one\r\n", 400),
        ("Content-Length: 99999999999999999999\r\n", 400),
        ("Content-Length: 1\r\nl: 2\r\n", 400),
        ("Content-Length: 70000\r\n", 513),
        ("no colon\r\n", 400),
        ("Subject: bare\nContent-Length: 0\r\n", 400),
    ];
    for (lines, status) in table {
        let (seen, error) = decode_any_split(&options(lines, ""));
        let error = error.expect(lines).error;
        assert_eq!((seen.len(), error.status), (0, status), "{lines:?}");
        let salvage = error.salvage.expect(lines);
        assert!(salvage.via().is_ok(), "{lines:?}");
        assert_eq!(salvage.method(), Method::Options);
    }
}

#[test]
fn nothing_comes_after_a_framing_error() {
    let mut decoder = StreamDecoder::new(Limits::default());
    decoder.push(b"nonsense\r\n\r\n");
    let first = decoder.next().unwrap_err();
    decoder.push(options("Content-Length: 0\r\n", "").as_bytes());
    assert_eq!(decoder.next(), Err(first));
    assert_eq!(decoder.buffered(), 0);
}

#[test]
fn a_head_without_end_is_given_up_at_the_limit() {
    let mut decoder = StreamDecoder::new(Limits::default());
    decoder.push(OPTIONS.as_bytes());
    let mut pushed = 0;
    let error = loop {
        decoder.push(b"X: yyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n");
        pushed += 33;
        assert!(pushed < 70_000, "the limit must hold");
        if let Err(error) = decoder.next() {
            break error.error;
        }
    };
    assert_eq!((error.status, error.salvage.is_some()), (513, true));
}

#[test]
fn a_version_that_we_lack_is_told_with_the_message() {
    let text = options("Content-Length: 0\r\n", "").replace("SIP/2.0\r\nVia", "SIP/4.0\r\nVia");
    let (_, error) = decode_any_split(&text);
    assert_eq!(error.unwrap().error.status, 505);
}
