//! OPTIONS to outbound proxies: who answers is up, who does not is down, and is still called.

use serde_json::{Value, json};
use stories::{Call, Lab, Peer, Transport, eventually, text};

fn accounts(proxy: &Peer) -> String {
    format!(
        r#"
[[account]]
id = "lab"
  [[account.api_key]]
  id = "lab"
  secret_hash = "$argon2id$v=19$m=19456,t=2,p=1$teKf915p5MgOFW1jFPMDBw$DNW5rDjINzpyEzRIDHHvHyYLBmkzelDMl8WhYD7a5cI"
  [[account.trunk]]
  name = "sbc"
  allow = ["127.0.0.0/8"]
  outbound_proxy = "{}"
  options_interval = "1s"
"#,
        proxy.address
    )
}

async fn trunk(lab: &Lab) -> Value {
    let trunks: Value = serde_json::from_str(&lab.admin("/trunks").await).unwrap();
    trunks[0].clone()
}

async fn until(lab: &Lab, state: &str) -> Value {
    let what = format!("the trunk to be {state}");
    eventually(&what, async || {
        let trunk = trunk(lab).await;
        (trunk["state"] == state).then_some(trunk)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn outbound_proxy_that_stops_answering_is_down_and_up_with_its_next_answer() {
    let mut proxy = Peer::waiting(Transport::Udp).await;
    let lab = Lab::with_accounts(&accounts(&proxy), &[("agent.hook", "builtin:lab")]).await;
    let options = proxy.request("OPTIONS").await;
    let uri = format!("sip:{}", proxy.address);
    assert_eq!(options.message.request_uri(), Some(uri.as_bytes()));
    assert_eq!(text(&options.message, "To"), format!("<{uri}>"));
    proxy.answer(&options, "404 Not Found").await;
    let up = until(&lab, "up").await;
    assert_eq!(up["trunk"], "sbc");
    assert_eq!(up["addresses"][0]["address"], json!(proxy.address));
    assert_eq!(up["addresses"][0]["lastStatus"], 404);

    for _ in 0..2 {
        let options = proxy.request("OPTIONS").await;
        proxy.answer(&options, "503 Service Unavailable").await;
    }
    until(&lab, "down").await;
    let metrics = lab.admin("/metrics").await;
    let line = "handback_trunk_up{account=\"lab\",trunk=\"sbc\"} 0";
    assert!(metrics.contains(line), "{metrics}");

    // Its state is advice: what is to go there still goes there.
    let to = json!({ "returnTransferType": "INVITE", "returnURI": "sip:desk@127.0.0.2" });
    let call = Call::that_completes_itself(&lab, Transport::Udp, "advice", to).await;
    let invite = proxy.request("INVITE").await;
    proxy.answer(&invite, "486 Busy Here").await;
    drop(call);

    let options = proxy.request("OPTIONS").await;
    proxy.answer(&options, "200 OK").await;
    until(&lab, "up").await;
}
