//! An outbound proxy of RFC 2543's kind, without `lr` in its URI (RFC 3261 §12.2.1.1).

use serde_json::json;
use stories::{Call, Lab, Target, Transport, text};

#[tokio::test(flavor = "multi_thread")]
async fn strict_proxy_finds_itself_in_the_request_line_and_the_target_in_the_route() {
    for (transport, lr) in [
        (Transport::Udp, false),
        (Transport::Tcp, false),
        (Transport::Udp, true),
    ] {
        let mut proxy = Target::waiting(transport).await;
        let word = if transport == Transport::Tcp {
            ";transport=tcp"
        } else {
            ""
        };
        let loose = if lr { ";lr" } else { "" };
        let uri = format!("sip:{}{word}{loose}", proxy.peer.address);
        let lab = Lab::start(&[
            ("agent.hook", "builtin:lab"),
            ("account.0.trunk.0.outbound_proxy", &uri),
            ("account.0.trunk.0.options_interval", "0s"),
        ])
        .await;
        let target = "sip:queue@pbx.example.com;x=%41";
        let to = json!({ "returnTransferType": "INVITE", "returnURI": target });
        let mut call = Call::that_completes_itself(&lab, transport, "routed", to).await;
        let invite = proxy.peer.request("INVITE").await;
        let line = String::from_utf8_lossy(invite.message.request_uri().unwrap()).into_owned();
        let route = text(&invite.message, "Route");
        if lr {
            assert_eq!((line, route), (target.to_owned(), format!("<{uri}>")));
        } else {
            assert_eq!((line, route), (uri, format!("<{target}>")));
        }
        proxy.answer(&invite).await;
        call.hang_up().await;
        let bye = proxy.peer.request("BYE").await;
        proxy.peer.answer(&bye, "200 OK").await;
        lab.until_idle().await;
    }
}
