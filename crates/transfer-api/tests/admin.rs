//! The admin API over a store in memory and calls that stand still.
#![allow(clippy::unwrap_used)]

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use call_control::transfer::{AccountId, NewTransfer, TransferId};
use secrecy::SecretString;
use serde_json::{Value, json};
use timebase::UnixMillis;
use tokio::sync::mpsc;
use tower::ServiceExt;
use transfer_api::{
    AdminState, CallOrder, Ladder, LadderLine, LiveCall, LiveCalls, NodeOrder, TrunkShown,
    admin_router,
};
use transfer_store::{CallRecord, Store, StoreOptions};

/// 2025-01-15T13:06:00.250Z
const START: i64 = 1_736_946_360_250;
const TOKEN: &str = "admin-token";

#[derive(Debug, Default)]
struct Stood {
    calls: Vec<LiveCall>,
    orders: Mutex<Vec<(String, CallOrder)>>,
}

impl LiveCalls for Stood {
    fn all(&self) -> Vec<LiveCall> {
        self.calls.clone()
    }

    fn one(&self, call: &str) -> Option<LiveCall> {
        self.calls.iter().find(|it| it.call == call).cloned()
    }

    fn trunks(&self) -> Vec<TrunkShown> {
        Vec::new()
    }

    fn ladder(&self, sip_call_id: &str) -> Option<Ladder> {
        (sip_call_id != "gone@sbc").then(|| Ladder {
            lines: vec![LadderLine {
                at_ms: 3,
                direction: "in",
                local: ([127, 0, 0, 1], 5060).into(),
                remote: ([192, 0, 2, 1], 5062).into(),
                what: format!("INVITE of {sip_call_id}"),
            }],
            dropped: 0,
        })
    }

    fn order(&self, call: &str, order: CallOrder) -> bool {
        self.orders.lock().unwrap().push((call.to_owned(), order));
        call != "busy"
    }
}

fn live(call: &str, trunk: &str, arrived: i64) -> LiveCall {
    LiveCall {
        call: call.to_owned(),
        transfer: TransferId::from("t-1"),
        account: AccountId::from("acme"),
        trunk: trunk.to_owned(),
        sip_call_id: format!("{call}@sbc"),
        from: "100".to_owned(),
        to: "sip:agent@gw".to_owned(),
        arrived_at: UnixMillis(START + arrived),
        media: None,
        phase: "with_agent",
    }
}

struct Node {
    app: Router,
    store: Store,
    live: Arc<Stood>,
    orders: mpsc::Receiver<NodeOrder>,
}

impl Node {
    async fn new() -> Self {
        let options = StoreOptions {
            wall: Arc::new(|| UnixMillis(START)),
            ..StoreOptions::default()
        };
        let store = Store::open("memory://", options).await.unwrap();
        let live = Arc::new(Stood {
            calls: vec![
                live("b", "sbc", 20),
                live("a", "sbc", 10),
                live("busy", "other", 30),
            ],
            ..Stood::default()
        });
        let (node, orders) = mpsc::channel(4);
        let app = admin_router(AdminState {
            store: store.clone(),
            live: live.clone(),
            node,
            token: Some(Arc::new(SecretString::from(TOKEN))),
        });
        Self {
            app,
            store,
            live,
            orders,
        }
    }

    async fn ask(&self, method: &str, path: &str) -> (StatusCode, Value) {
        self.ask_as(method, path, Some(TOKEN)).await
    }

    async fn ask_as(&self, method: &str, path: &str, token: Option<&str>) -> (StatusCode, Value) {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let request = request.body(Body::empty()).unwrap();
        let response = self.app.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    async fn register(&self, id: &str) {
        let new = NewTransfer {
            account: AccountId::from("acme"),
            id: TransferId::from(id),
            external_conversation_id: "talk".to_owned(),
            sip: None,
            input: None,
        };
        self.store.register(new).await.unwrap();
    }

    async fn record(&self, call: &str, ended: i64) {
        let record = CallRecord {
            call: call.to_owned(),
            account: AccountId::from("acme"),
            transfer: TransferId::from("t-1"),
            trunk: "sbc".to_owned(),
            outcome: "handed_back".to_owned(),
            arrived_at: UnixMillis(START),
            ended_at: UnixMillis(START + ended),
            record: r#"{"sipCallId":"over@sbc","steps":[{"method":"REFER","result":"succeeded"}]}"#
                .to_owned(),
        };
        self.store.record_call(record).await.unwrap();
    }
}

#[tokio::test]
async fn nothing_is_told_without_the_token() {
    let node = Node::new().await;
    for path in [
        "/calls",
        "/calls/a",
        "/records",
        "/transfers",
        "/transfers/acme/t-1",
    ] {
        for token in [None, Some("wrong"), Some("")] {
            let (status, body) = node.ask_as("GET", path, token).await;
            assert_eq!(status, StatusCode::UNAUTHORIZED, "{path}");
            assert_eq!(body["error"]["code"], "401-02");
        }
    }
    for path in [
        "/calls/a/hang-up",
        "/calls/a/hand-back",
        "/drain",
        "/reload",
    ] {
        assert_eq!(
            node.ask_as("POST", path, None).await.0,
            StatusCode::UNAUTHORIZED
        );
    }
    assert!(node.live.orders.lock().unwrap().is_empty());
}

#[tokio::test]
async fn live_calls_are_listed_the_oldest_first_and_filtered() {
    let node = Node::new().await;
    let names = async |path: &str| {
        let (_, calls) = node.ask("GET", path).await;
        let calls = calls.as_array().unwrap().clone();
        calls
            .iter()
            .map(|call| call["call"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(names("/calls").await, ["a", "b", "busy"]);
    assert_eq!(names("/calls?trunk=sbc").await, ["a", "b"]);
    assert_eq!(names("/calls?trunk=sbc&skip=1&limit=1").await, ["b"]);
    assert_eq!(names("/calls?phase=bridged").await, [""; 0]);
    let (status, body) = node.ask("GET", "/calls?trnk=sbc").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(
        body["error"]["message"].as_str().unwrap().contains("trnk"),
        "{body}"
    );
}

#[tokio::test]
async fn one_call_is_shown_live_and_when_it_is_over() {
    let node = Node::new().await;
    let (status, call) = node.ask("GET", "/calls/a").await;
    assert_eq!(
        (status, &call["phase"]),
        (StatusCode::OK, &json!("with_agent"))
    );
    assert_eq!(call["arrivedAt"], "2025-01-15T13:06:00.260Z");
    node.record("gone", 1500).await;
    let (_, call) = node.ask("GET", "/calls/gone").await;
    assert_eq!(call["outcome"], "handed_back");
    assert_eq!(call["endedAt"], "2025-01-15T13:06:01.750Z");
    assert_eq!(call["record"]["steps"][0]["result"], "succeeded");
    let (status, body) = node.ask("GET", "/calls/nobody").await;
    assert_eq!(
        (status, &body["error"]["code"]),
        (StatusCode::NOT_FOUND, &json!("404-02"))
    );
}

#[tokio::test]
async fn ladder_of_a_call_is_shown_while_it_is_live_and_afterwards() {
    let node = Node::new().await;
    node.register("t-1").await;
    node.record("c-over", 10).await;
    for (path, call_id) in [
        ("/calls/a/ladder", "a@sbc"),
        ("/calls/c-over/ladder", "over@sbc"),
    ] {
        let (status, ladder) = node.ask("GET", path).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        assert_eq!(ladder["lines"][0]["what"], format!("INVITE of {call_id}"));
        assert_eq!(ladder["lines"][0]["remote"], "192.0.2.1:5062");
    }
    let (status, _) = node.ask("GET", "/calls/c-none/ladder").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn orders_reach_the_call_that_is_named() {
    let node = Node::new().await;
    assert_eq!(
        node.ask("POST", "/calls/a/hang-up").await.0,
        StatusCode::ACCEPTED
    );
    assert_eq!(
        node.ask("POST", "/calls/b/hand-back").await.0,
        StatusCode::ACCEPTED
    );
    assert_eq!(
        node.ask("POST", "/calls/nobody/hang-up").await.0,
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        node.ask("POST", "/calls/busy/hang-up").await.0,
        StatusCode::CONFLICT
    );
    let orders = node.live.orders.lock().unwrap().clone();
    let expected = [
        ("a", CallOrder::HangUp),
        ("b", CallOrder::HandBack),
        ("busy", CallOrder::HangUp),
    ];
    assert_eq!(
        orders,
        expected.map(|(call, order)| (call.to_owned(), order))
    );
}

#[tokio::test]
async fn transfers_and_records_come_in_pages() {
    let node = Node::new().await;
    for id in ["t-1", "t-2", "t-3"] {
        node.register(id).await;
    }
    let (_, page) = node.ask("GET", "/transfers?limit=2").await;
    assert_eq!(page["transfers"].as_array().unwrap().len(), 2);
    let next = page["next"].as_str().unwrap();
    let (_, page) = node
        .ask("GET", &format!("/transfers?limit=2&after={next}"))
        .await;
    assert_eq!(page["transfers"][0]["id"], "t-1");
    assert_eq!(page["next"], Value::Null);

    for (call, ended) in [("c-1", 1), ("c-2", 2), ("c-3", 3)] {
        node.record(call, ended).await;
    }
    let (_, page) = node
        .ask("GET", "/records?limit=2&outcome=handed_back")
        .await;
    assert_eq!(page["records"][0]["call"], "c-3");
    let next = page["next"].as_str().unwrap();
    let (_, page) = node
        .ask("GET", &format!("/records?limit=2&after={next}"))
        .await;
    assert_eq!(page["records"][0]["call"], "c-1");
    for wrong in ["limit=0", "limit=1001", "after=x"] {
        assert_eq!(
            node.ask("GET", &format!("/records?{wrong}")).await.0,
            StatusCode::BAD_REQUEST
        );
    }
}

#[tokio::test]
async fn a_transfer_is_shown_with_every_call_that_came_for_it() {
    let node = Node::new().await;
    node.register("t-1").await;
    node.record("c-1", 1).await;
    let (status, shown) = node.ask("GET", "/transfers/acme/t-1").await;
    assert_eq!(
        (status, &shown["status"]),
        (StatusCode::OK, &json!("ACTIVE"))
    );
    assert_eq!(shown["createdAt"], "2025-01-15T13:06:00.250Z");
    let calls: Vec<_> = shown["calls"]
        .as_array()
        .unwrap()
        .iter()
        .map(|call| &call["call"])
        .collect();
    assert_eq!(calls, ["b", "a", "busy", "c-1"]);
    assert_eq!(
        node.ask("GET", "/transfers/other/t-1").await.0,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn node_is_drained_and_reloaded_and_a_wrong_configuration_is_told() {
    let mut node = Node::new().await;
    assert_eq!(node.ask("POST", "/drain").await.0, StatusCode::ACCEPTED);
    assert!(matches!(node.orders.recv().await, Some(NodeOrder::Drain)));
    for (answer, status) in [
        (Ok(()), StatusCode::NO_CONTENT),
        (
            Err("sip.listen: names no listener".to_owned()),
            StatusCode::UNPROCESSABLE_ENTITY,
        ),
    ] {
        let app = node.app.clone();
        let request = Request::builder().method("POST").uri("/reload");
        let request = request.header("authorization", format!("Bearer {TOKEN}"));
        let asked = tokio::spawn(app.oneshot(request.body(Body::empty()).unwrap()));
        let Some(NodeOrder::Reload(reply)) = node.orders.recv().await else {
            panic!("no order to reload")
        };
        reply.send(answer).unwrap();
        assert_eq!(asked.await.unwrap().unwrap().status(), status);
    }
}
