//! The torture messages of `tests/torture` against the gateway, from outside.

use stories::torture::{Player, Row, Until, folder, judge_datagram, judge_stream, rows};
use stories::{Lab, Transport};

async fn wrong(judge: fn(&Player, &Row) -> std::io::Result<Option<String>>) -> Vec<String> {
    let lab = Lab::start(&[]).await;
    let player = Player {
        udp: lab.sip(Transport::Udp),
        tcp: lab.sip(Transport::Tcp),
    };
    let played = tokio::task::spawn_blocking(move || {
        let rows = rows(&folder(env!("CARGO_MANIFEST_DIR")));
        assert!(rows.len() > 150, "{} messages", rows.len());
        rows.iter()
            .filter_map(|row| judge(&player, row).unwrap())
            .collect()
    });
    let wrong = played.await.unwrap();
    lab.until_idle().await;
    wrong
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_torture_message_has_its_verdict_from_the_gateway_over_udp() {
    let wrong = wrong(judge_datagram).await;
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_torture_message_has_its_verdict_from_the_gateway_over_tcp() {
    let wrong = wrong(judge_stream).await;
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A request whose Content-Length lies, and a request hidden in what would be its body.
fn lie(lines: &str, number: usize) -> String {
    let head = |kind: &str, number: usize| {
        format!(
            "OPTIONS sip:agent@gw.lantern.example SIP/2.0\r\nVia: SIP/2.0/TCP harbour.example;branch=z9hG4bK-{kind}-{number}\r\n\
             From: <sip:quill@harbour.example>;tag=1\r\nTo: <sip:agent@gw.lantern.example>\r\nCall-ID: {kind}-{number}\r\nCSeq: 1 OPTIONS\r\n"
        )
    };
    let hidden = format!("{}Content-Length: 0\r\n\r\n", head("hidden", number));
    let lines = lines.replace("LEN", &hidden.len().to_string());
    format!(
        "{}Content-Type: text/plain\r\n{lines}\r\n{hidden}",
        head("first", number)
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_lie_about_its_length_lets_a_second_request_out_of_a_body() {
    let lab = Lab::start(&[]).await;
    let (udp, tcp) = (lab.sip(Transport::Udp), lab.sip(Transport::Tcp));
    // Each is a lie, or an honest length in odd clothes: the hidden request is a body in all of them.
    let lies = [
        ("Content-Length: LEN\r\n", Until::Alive),
        ("l: 000LEN\r\n", Until::Alive),
        ("Content-Length:\r\n LEN\r\n", Until::Alive),
        ("Content-Length \t: \tLEN \r\n", Until::Alive),
        ("Content-Length: LEN\r\nl: LEN\r\n", Until::Alive),
        (
            "Subject: x\r\n Content-Length: 0\r\nl: LEN\r\n",
            Until::Alive,
        ),
        ("", Until::Closed),
        (
            "Content-Length: LEN\r\nContent-Length: 0\r\n",
            Until::Closed,
        ),
        ("Content-Length: 0\r\nl: LEN\r\n", Until::Closed),
        ("Content-Length: LEN, 0\r\n", Until::Closed),
        ("Content-Length: -LEN\r\n", Until::Closed),
        ("Content-Length: -0\r\n", Until::Closed),
        ("Content-Length: +0\r\n", Until::Closed),
        ("Content-Length: 0x0\r\n", Until::Closed),
        ("Content-Length: 4294967296\r\n", Until::Closed),
        ("Content-Length: 18446744073709551616\r\n", Until::Closed),
        ("Content-Length: 0\r\n LEN\r\n", Until::Closed),
        ("Content-Length: 0 LEN\r\n", Until::Closed),
        ("Content-Length:\r\n", Until::Closed),
        (
            "Content-Length\0: 0\r\nContent-Length: LEN\r\n",
            Until::Closed,
        ),
        ("Content-Length: 0\0\r\n", Until::Closed),
        ("Content_Length: 0\r\n", Until::Closed),
        ("Subject: x\nContent-Length: 0\r\nl: LEN\r\n", Until::Closed),
        ("Subject: x\rContent-Length: 0\r\nl: LEN\r\n", Until::Closed),
        ("l: LEN\r\n\n", Until::Closed),
        ("Transfer-Encoding: chunked\r\n", Until::Closed),
    ];
    let played = tokio::task::spawn_blocking(move || {
        let player = Player { udp, tcp };
        let mut wrong = Vec::new();
        for (number, (lines, until)) in lies.into_iter().enumerate() {
            for chunk in [usize::MAX, 200, 1] {
                let text = lie(lines, number);
                let pieces: Vec<&[u8]> = text.as_bytes().chunks(chunk.min(text.len())).collect();
                let heard = player.stream(&pieces, until, 0).unwrap();
                let hidden = heard.call_ids.iter().any(|id| id.starts_with("hidden"));
                let ended = heard.closed == (until == Until::Closed);
                if hidden || !ended || !heard.alive {
                    wrong.push(format!("{lines:?} in pieces of {chunk}: {heard}"));
                }
            }
        }
        wrong
    });
    let wrong = played.await.unwrap();
    assert!(wrong.is_empty(), "{wrong:#?}");
}
