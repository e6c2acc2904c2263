//! Keys by INFO, both ways.

use super::*;

fn info(tag: &str, branch: &'static str, cseq: u32) -> Req<'static> {
    Req::new("INFO", branch, cseq).to(tag)
}

#[test]
fn info_that_is_no_key_gets_its_status() {
    for (lines, body, status) in [
        (&["Content-Type: application/dtmf"][..], "7", 200),
        (&[], "", 200),
        (&["Content-Type: application/dtmf-relay"], "Signal=E", 400),
        (
            &["Content-Type: application/media_control+xml"],
            "<x/>",
            415,
        ),
        (
            &[
                "Content-Type: application/x",
                "Content-Disposition: info; handling=optional",
            ],
            "x",
            200,
        ),
        (
            &["Content-Type: application/dtmf", "Content-Encoding: gzip"],
            "7",
            415,
        ),
        (&[], "Signal=5", 415),
        (
            &["Info-Package: foo", "Content-Type: application/dtmf"],
            "7",
            469,
        ),
        (&["Info-Package: foo"], "", 469),
    ] {
        let (mut bench, _, tag) = standing();
        let mut request = info(&tag, "i", 2).body(body);
        for line in lines {
            request = request.line(line);
        }
        bench.hear(&request.text());
        let answer = bench.last().clone();
        assert_eq!(answer.status(), Some(status), "{lines:?}");
        let named = |name: &str| answer.fields_named(name).next().is_some();
        assert_eq!(named("Accept"), status == 415, "{lines:?}");
        assert_eq!(named("Recv-Info"), status == 469, "{lines:?}");
        let pressed = usize::from(body == "7" && status == 200);
        assert_eq!(bench.told().len(), pressed, "{lines:?}");
    }
}

#[test]
fn key_that_is_sent_again_is_told_once() {
    let (mut bench, _, tag) = standing();
    let body = "--b\nContent-Type: application/dtmf-relay\n\nSignal=9\nDuration=80\n--b--\n";
    let request = info(&tag, "i", 2)
        .line("Content-Type: multipart/mixed;boundary=b")
        .body(body);
    bench.hear(&request.text());
    bench.hear(&request.text());
    assert_eq!(bench.said(), ["200 INFO", "200 INFO"]);
    let pressed = LegEvent::Pressed {
        key: '9',
        duration_ms: Some(80),
    };
    assert_eq!(bench.told(), [pressed]);
}

#[test]
fn keys_of_ours_leave_one_after_the_other() {
    let (mut bench, leg, tag) = standing();
    for key in ['1', '#'] {
        bench.command(
            leg,
            Command::Press {
                key,
                duration_ms: 120,
            },
        );
    }
    let first = bench.last().clone();
    assert_eq!(bench.said(), ["INFO"]);
    assert_eq!(field(&first, "Content-Type"), "application/dtmf-relay");
    assert_eq!(first.body(), Bytes::from("Signal=1\r\nDuration=120\r\n"));
    bench.hear(&answer_to(&first, 415, &tag, "", ""));
    let second = bench.last().clone();
    assert_eq!(second.body(), Bytes::from("Signal=#\r\nDuration=120\r\n"));
    bench.hear(&answer_to(&second, 481, &tag, "", ""));
    assert_eq!(bench.told(), [ended(Ended::Gone(481))]);
}

#[test]
fn keys_that_wait_do_not_follow_a_bye() {
    let (mut bench, leg, tag) = standing();
    for key in ['1', '2'] {
        bench.command(
            leg,
            Command::Press {
                key,
                duration_ms: 100,
            },
        );
    }
    let first = bench.sent.remove(0).1;
    bench.command(leg, hang_up());
    bench.hear(&answer_to(&first, 200, &tag, "", ""));
    assert_eq!(bench.said(), ["BYE"]);
}
