//! The sentences of the REST contract, each with its exact status and code.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::atomic::Ordering;

use axum::body::Body;
use axum::http::Request;
use call_control::transfer::{AccountId, OutputContext, TransferId, TransferType};
use common::{Answer, Gateway, PATH, SECRET, body};
use serde_json::json;
use transfer_store::Claim;

fn full() -> String {
    json!({
        "id": "call-1",
        "externalConversationId": "c 1 ü",
        "type": "SIP",
        "unknownField": {"ignored": [true]},
        "sip": {
            "returnURI": "sip:back@sbc.example.com:5070;transport=tcp;x=%20?X-Info=a%20b&Y=1",
            "returnTransferType": "INVITE",
            "returnInviteAuthentication": {"username": "u", "password": "p4ss-w0rd"},
            "unknown": 1
        },
        "inputContext": {
            "taskName": "greet",
            "inputVariables": {"name": "Ada", "age": 36, "vip": true, "nested": {"list": [1.50, null]}}
        }
    })
    .to_string()
}

fn assert_error(answer: &Answer, status: u16, code: &str, names: &str) {
    let (got, got_code, message) = answer.error();
    assert_eq!((got, got_code.as_str()), (status, code), "{message}");
    assert!(message.contains(names), "{message:?} must name {names:?}");
}

#[tokio::test]
async fn a_registration_is_answered_with_the_stored_transfer() {
    let gateway = Gateway::start().await;
    let answer = gateway.post(full()).await;
    assert_eq!(answer.status, 200);
    let expected = json!({
        "id": "call-1",
        "externalConversationId": "c 1 ü",
        "status": "ACTIVE",
        "type": "SIP",
        "sip": {
            "returnURI": "sip:back@sbc.example.com:5070;transport=tcp;x=%20?X-Info=a%20b&Y=1",
            "returnTransferType": "INVITE"
        },
        "inputContext": {
            "taskName": "greet",
            "inputVariables": {"name": "Ada", "age": 36, "vip": true, "nested": {"list": [1.50, null]}}
        },
        "createdAt": "2025-01-15T13:06:00Z"
    });
    assert_eq!(answer.json(), expected);
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_eq!(gateway.get("call-1").await.json(), expected);
    assert!(
        !answer.text.contains("p4ss-w0rd") && !answer.text.contains("returnInviteAuthentication")
    );
}

#[tokio::test]
async fn input_variables_are_kept_as_they_came() {
    let gateway = Gateway::start().await;
    let variables =
        r#"{"z":1.50,"a":1e+400,"big":123456789012345678901234567890,"neg":-0.0,"t":"\u0041\n"}"#;
    let text = format!(
        r#"{{"id":"t","externalConversationId":"c","type":"SIP","inputContext":{{"inputVariables":{variables}}}}}"#
    );
    gateway.post(text).await;
    let kept = r#"{"z":1.50,"a":1e+400,"big":123456789012345678901234567890,"neg":-0.0,"t":"A\n"}"#;
    let read = gateway.get("t").await.text;
    assert!(read.contains(kept), "{read}");
}

#[tokio::test]
async fn the_smallest_registration_has_no_fields_that_it_did_not_give() {
    let gateway = Gateway::start().await;
    let json = gateway.post(body("{}")).await.json();
    let fields: Vec<_> = json
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(
        fields,
        [
            "id",
            "externalConversationId",
            "status",
            "type",
            "createdAt"
        ]
    );
    let json = gateway
        .post(body(r#"{"id":"t-2","sip":{},"inputContext":{}}"#))
        .await
        .json();
    assert_eq!(
        (&json["sip"], &json["inputContext"]),
        (&json!({}), &json!({}))
    );
}

#[tokio::test]
async fn the_answer_spells_the_return_uri_as_it_came_in() {
    let gateway = Gateway::start().await;
    let json = gateway
        .post(body(r#"{"sip":{"returnUri":"sip:a@b.example"}}"#))
        .await
        .json();
    assert_eq!(json["sip"], json!({"returnUri": "sip:a@b.example"}));
    assert_eq!(gateway.get("t-1").await.json()["sip"], json["sip"]);
    let both =
        body(r#"{"id":"t-2","sip":{"returnUri":"sip:a@b.example","returnURI":"sip:a@b.example"}}"#);
    assert_error(&gateway.post(both).await, 400, "400-01", "sip.returnURI");
}

#[tokio::test]
async fn a_missing_or_wrong_key_is_401() {
    let gateway = Gateway::start().await;
    for key in [
        None,
        Some(("lab", "wrong")),
        Some(("nobody", SECRET)),
        Some(("lab", "")),
    ] {
        assert_error(
            &gateway.request("POST", PATH, key, body("{}")).await,
            401,
            "401-01",
            "asapp-api-id",
        );
        let one = format!("{PATH}/t-1");
        assert_error(
            &gateway.request("GET", &one, key, "").await,
            401,
            "401-01",
            "asapp-api-secret",
        );
    }
    let only_id = Request::get(format!("{PATH}/t-1"))
        .header("asapp-api-id", "lab")
        .body(Body::empty())
        .unwrap();
    assert_error(&gateway.send(only_id).await, 401, "401-01", "");
    let twice = Request::get(format!("{PATH}/t-1"))
        .header("asapp-api-id", "lab")
        .header("asapp-api-secret", "wrong")
        .header("asapp-api-secret", SECRET)
        .body(Body::empty())
        .unwrap();
    assert_error(&gateway.send(twice).await, 401, "401-01", "");
}

#[tokio::test]
async fn a_key_without_the_api_enabled_is_403() {
    let gateway = Gateway::start().await;
    assert_error(
        &gateway.post_as("disabled", body("{}")).await,
        403,
        "403-01",
        "",
    );
    let wrong = gateway
        .request("POST", PATH, Some(("disabled", "wrong")), body("{}"))
        .await;
    assert_error(&wrong, 401, "401-01", "");
}

#[tokio::test]
async fn a_reload_takes_effect_at_the_next_request() {
    let gateway = Gateway::start().await;
    assert_eq!(gateway.post(body("{}")).await.status, 200);
    let mut accounts = common::accounts();
    accounts[0].api_keys[0].secret_hash = transfer_api::keys::hash_secret("new").unwrap();
    gateway.accounts.send_replace(std::sync::Arc::new(
        transfer_api::Accounts::new(accounts).unwrap(),
    ));
    assert_error(&gateway.get("t-1").await, 401, "401-01", "");
    let renewed = gateway
        .request("GET", &format!("{PATH}/t-1"), Some(("lab", "new")), "")
        .await;
    assert_eq!(renewed.status, 200);
}

#[tokio::test]
async fn a_known_key_costs_the_hash_only_once() {
    let gateway = Gateway::start().await;
    gateway.post(body("{}")).await;
    let begun = std::time::Instant::now();
    for _ in 0..200 {
        assert_eq!(gateway.get("t-1").await.status, 200);
    }
    let known = begun.elapsed() / 200;
    let begun = std::time::Instant::now();
    gateway
        .request("GET", PATH, Some(("lab", "not yet known")), "")
        .await;
    let path = format!("{PATH}/t-1");
    gateway
        .request("GET", &path, Some(("lab", "not known either")), "")
        .await;
    let hashed = begun.elapsed();
    assert!(
        known * 4 < hashed,
        "{known:?} when known, {hashed:?} when hashed"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_with_a_key_not_yet_known_is_let_in_and_a_crowd_of_guesses_is_503() {
    let gateway = std::sync::Arc::new(Gateway::start().await);
    let crowd = async |secret: fn(usize) -> String| {
        let mut asking = tokio::task::JoinSet::new();
        for number in 0..200 {
            let gateway = std::sync::Arc::clone(&gateway);
            asking.spawn(async move {
                let path = format!("{PATH}/t-1");
                let key = Some(("lab", secret(number)));
                let key = key.as_ref().map(|(id, secret)| (*id, secret.as_str()));
                gateway.request("GET", &path, key, "").await
            });
        }
        asking.join_all().await
    };
    let known = crowd(|_| SECRET.to_owned()).await;
    assert!(known.iter().all(|answer| answer.status == 404));
    let guesses = crowd(|number| format!("guess {number}")).await;
    let busy: Vec<_> = guesses
        .iter()
        .filter(|answer| answer.status == 503)
        .collect();
    assert!(!busy.is_empty());
    assert_error(busy[0], 503, "503-01", "");
    assert!(
        guesses
            .iter()
            .all(|answer| answer.status == 503 || answer.status == 401)
    );
    assert_eq!(gateway.post(body("{}")).await.status, 200);
}

#[tokio::test]
async fn the_same_id_again_is_409_and_changes_nothing() {
    let gateway = Gateway::start().await;
    gateway.post(full()).await;
    let again = body(r#"{"id":"call-1","externalConversationId":"other"}"#);
    assert_error(
        &gateway.post(again.clone()).await,
        409,
        "409-01",
        "persisted",
    );
    assert_eq!(
        gateway.get("call-1").await.json()["externalConversationId"],
        "c 1 ü"
    );
    assert_eq!(gateway.post_as("strict", again).await.status, 200);
}

#[tokio::test]
async fn another_accounts_id_is_404() {
    let gateway = Gateway::start().await;
    gateway.post_as("strict", body("{}")).await;
    assert_error(&gateway.get("t-1").await, 404, "404-01", "");
    assert_error(&gateway.get("never-heard-of").await, 404, "404-01", "");
}

#[tokio::test]
async fn a_body_over_1_mib_is_413_and_one_of_1_mib_is_not() {
    let gateway = Gateway::start().await;
    let bytes = |size: usize| {
        let short = body(r#"{"pad":""}"#).len();
        body(&format!(r#"{{"pad":"{}"}}"#, "x".repeat(size - short)))
    };
    let largest = bytes(1024 * 1024);
    assert_eq!(largest.len(), 1024 * 1024);
    assert_error(
        &gateway.post(bytes(1024 * 1024 + 1)).await,
        413,
        "413-01",
        "1048576",
    );
    assert_eq!(gateway.post(largest).await.status, 200);
}

#[tokio::test]
async fn a_body_that_is_not_a_json_object_is_400() {
    let gateway = Gateway::start().await;
    for text in [
        "",
        "{",
        "not json",
        "[]",
        "null",
        "\"text\"",
        "{\"id\":\"a\"}trailing",
    ] {
        assert_error(&gateway.post(text).await, 400, "400-01", "body");
    }
    assert_error(
        &gateway.post(vec![b'{', 0xff, b'}']).await,
        400,
        "400-01",
        "body",
    );
    assert_error(
        &gateway.post("[".repeat(500_000)).await,
        400,
        "400-01",
        "body",
    );
}

#[tokio::test]
async fn a_missing_field_is_400_and_named_by_its_path() {
    let gateway = Gateway::start().await;
    for (text, path) in [
        (
            r#"{"externalConversationId":"c","type":"SIP"}"#,
            "id is required",
        ),
        (
            r#"{"id":"t","type":"SIP"}"#,
            "externalConversationId is required",
        ),
        (
            r#"{"id":"t","externalConversationId":"c"}"#,
            "type is required",
        ),
    ] {
        assert_error(&gateway.post(text).await, 400, "400-01", path);
    }
    let half = body(r#"{"sip":{"returnInviteAuthentication":{"username":"u"}}}"#);
    assert_error(
        &gateway.post(half).await,
        400,
        "400-01",
        "sip.returnInviteAuthentication.password is required",
    );
}

#[tokio::test]
async fn a_wrong_type_is_400_and_named_by_its_path() {
    let gateway = Gateway::start().await;
    for (wrong, path) in [
        (r#"{"id":1}"#, "id must be a string"),
        (r#"{"id":null}"#, "id must be a string"),
        (
            r#"{"externalConversationId":["c"]}"#,
            "externalConversationId must be a string",
        ),
        (r#"{"type":{}}"#, "type must be a string"),
        (r#"{"sip":"sip:a@b"}"#, "sip must be an object"),
        (
            r#"{"sip":{"returnURI":7}}"#,
            "sip.returnURI must be a string",
        ),
        (
            r#"{"sip":{"returnUri":7}}"#,
            "sip.returnUri must be a string",
        ),
        (
            r#"{"sip":{"returnTransferType":true}}"#,
            "sip.returnTransferType must be a string",
        ),
        (
            r#"{"sip":{"returnInviteAuthentication":"x"}}"#,
            "sip.returnInviteAuthentication must be an object",
        ),
        (
            r#"{"sip":{"returnInviteAuthentication":{"username":"u","password":1}}}"#,
            "sip.returnInviteAuthentication.password must be a string",
        ),
        (r#"{"inputContext":[]}"#, "inputContext must be an object"),
        (
            r#"{"inputContext":{"taskName":1}}"#,
            "inputContext.taskName must be a string",
        ),
        (
            r#"{"inputContext":{"inputVariables":[1]}}"#,
            "inputContext.inputVariables must be an object",
        ),
    ] {
        assert_error(&gateway.post(body(wrong)).await, 400, "400-01", path);
    }
}

#[tokio::test]
async fn an_unknown_enum_is_400_and_phone_number_is_not_enabled() {
    let gateway = Gateway::start().await;
    assert_error(
        &gateway.post(body(r#"{"type":"PIGEON"}"#)).await,
        400,
        "400-01",
        "type",
    );
    assert_error(
        &gateway.post(body(r#"{"type":"sip"}"#)).await,
        400,
        "400-01",
        "type",
    );
    let answer = gateway.post(body(r#"{"type":"PHONE_NUMBER"}"#)).await;
    assert_error(&answer, 400, "400-01", "type PHONE_NUMBER is not enabled");
    let answer = gateway
        .post(body(r#"{"sip":{"returnTransferType":"bye"}}"#))
        .await;
    assert_error(&answer, 400, "400-01", "sip.returnTransferType");
}

#[tokio::test]
async fn an_id_must_be_visible_ascii_of_1_to_255_characters() {
    let gateway = Gateway::start().await;
    let with = |id: &str| body(&json!({ "id": id }).to_string());
    for id in [
        "",
        " ",
        "a b",
        "a\r\nX: y",
        "a\u{0}",
        "ä",
        "a\u{7f}",
        &"x".repeat(256),
    ] {
        assert_error(&gateway.post(with(id)).await, 422, "422-01", "id");
    }
    for id in [
        "x".repeat(255).as_str(),
        "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~",
        "0",
    ] {
        assert_eq!(gateway.post(with(id)).await.status, 200, "{id}");
    }
}

#[tokio::test]
async fn the_id_in_the_path_is_percent_decoded_once() {
    let gateway = Gateway::start().await;
    for (id, path) in [
        ("a/b?c#d", "a%2Fb%3Fc%23d"),
        ("a%20b", "a%2520b"),
        ("50%", "50%25"),
        ("a+b", "a+b"),
    ] {
        gateway.post(body(&json!({ "id": id }).to_string())).await;
        let answer = gateway.get(path).await;
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.json()["id"], id);
    }
    assert_error(&gateway.get("a%20b").await, 404, "404-01", "");
    assert_error(&gateway.get("%ff%fe").await, 404, "404-01", "");
}

#[tokio::test]
async fn an_external_conversation_id_has_1_to_255_characters() {
    let gateway = Gateway::start().await;
    let with = |text: &str| body(&json!({ "externalConversationId": text }).to_string());
    assert_error(
        &gateway.post(with("")).await,
        422,
        "422-01",
        "externalConversationId",
    );
    assert_error(
        &gateway.post(with(&"ü".repeat(256))).await,
        422,
        "422-01",
        "externalConversationId",
    );
    assert_eq!(gateway.post(with(&"ü".repeat(255))).await.status, 200);
}

#[tokio::test]
async fn a_return_uri_is_required_when_the_type_in_force_needs_one() {
    let gateway = Gateway::start().await;
    for sip in [
        r#"{"returnTransferType":"REFER"}"#,
        r#"{"returnTransferType":"INVITE"}"#,
    ] {
        let answer = gateway.post(body(&format!(r#"{{"sip":{sip}}}"#))).await;
        assert_error(&answer, 422, "422-01", "sip.returnURI is required");
    }
    assert_error(
        &gateway.post_as("refer", body("{}")).await,
        422,
        "422-01",
        "sip.returnURI is required",
    );
    let bye = body(r#"{"sip":{"returnTransferType":"BYE"}}"#);
    assert_eq!(gateway.post_as("refer", bye).await.status, 200);
    let given = body(r#"{"id":"t-2","sip":{"returnURI":"sips:x@y.example"}}"#);
    assert_eq!(gateway.post_as("refer", given).await.status, 200);
}

#[tokio::test]
async fn a_return_uri_that_is_no_sip_uri_is_422() {
    let gateway = Gateway::start().await;
    let long = format!("sip:a@b.example;x={}", "y".repeat(1024 - 18));
    assert_eq!(long.len(), 1024);
    for uri in [
        "",
        "x",
        "sip:",
        "sip:@",
        "tel:+15551234",
        "http://x.example",
        "sip:a b@c",
        "sip:a@b\r\nX: y",
        "<sip:a@b>",
        "sip:a@b>",
        "sip:a@[::1",
        "sip:a@b:port",
        "sip:ä@b",
        "sip:a@b;method=BYE",
        "sip:a@b;METHOD=bye",
        "sip:a@b;method",
        "sip:a@b;m%65thod=REFER",
        &format!("{long}z"),
    ] {
        for kind in ["REFER", "INVITE", "BYE"] {
            let sip = json!({"sip": {"returnURI": uri, "returnTransferType": kind}});
            let answer = gateway.post(body(&sip.to_string())).await;
            assert_error(&answer, 422, "422-01", "sip.returnURI");
        }
    }
    for (number, uri) in [
        long.as_str(),
        "sip:a@b.example;method=INVITE",
        "SIP:a@b.example",
        "sip:b.example",
    ]
    .iter()
    .enumerate()
    {
        let sip = json!({"id": format!("ok-{number}"), "sip": {"returnURI": uri, "returnTransferType": "INVITE"}});
        let answer = gateway.post(body(&sip.to_string())).await;
        assert_eq!(answer.status, 200, "{uri}: {}", answer.text);
        assert_eq!(answer.json()["sip"]["returnURI"], *uri);
    }
}

#[tokio::test]
async fn a_return_uri_that_leads_back_to_the_gateway_is_422() {
    let gateway = Gateway::start().await;
    for kind in ["REFER", "INVITE"] {
        for uri in [
            "sip:a@127.0.0.1",
            "sip:a@127.0.0.1:5060",
            "sip:a@GW.example.com",
            "sip:a@gw.example.com.:5060",
            "sip:a@[::ffff:127.0.0.1]",
            "sip:a@other.example;maddr=127.0.0.1",
        ] {
            let sip = json!({"sip": {"returnURI": uri, "returnTransferType": kind}});
            assert_error(
                &gateway.post(body(&sip.to_string())).await,
                422,
                "422-01",
                "sip.returnURI leads back",
            );
        }
        for uri in [
            "sip:a@127.0.0.1:5070",
            "sips:a@gw.example.com",
            "sip:a@127.0.0.2",
        ] {
            let sip = json!({"id": format!("{kind}-{uri}"), "sip": {"returnURI": uri, "returnTransferType": kind}});
            let answer = gateway.post(body(&sip.to_string())).await;
            assert_eq!(answer.status, 200, "{uri}: {}", answer.text);
        }
    }
}

#[tokio::test]
async fn a_literal_address_outside_the_return_targets_is_422_for_an_invite_only() {
    let gateway = Gateway::start().await;
    let post = async |account: &str, kind: &str, uri: &str| {
        let sip = json!({"id": format!("{kind} {uri}").replace(' ', "-"), "sip": {"returnURI": uri, "returnTransferType": kind}});
        gateway.post_as(account, body(&sip.to_string())).await
    };
    for uri in [
        "sip:a@10.0.0.1",
        "sip:a@169.254.169.254",
        "sip:a@[fd00::1]",
        "sip:a@[::ffff:10.0.0.1]",
        "sip:a@192.168.1.1;maddr=8.8.8.8",
    ] {
        assert_error(
            &post("lab", "INVITE", uri).await,
            422,
            "422-01",
            "sip.returnURI leads to an address",
        );
        assert_eq!(post("lab", "REFER", uri).await.status, 200, "{uri}");
    }
    assert_eq!(post("lab", "INVITE", "sip:a@8.8.8.8").await.status, 200);
    assert_eq!(
        post("lab", "INVITE", "sip:a@internal.example").await.status,
        200
    );
    assert_eq!(
        post("strict", "INVITE", "sip:a@192.0.2.7").await.status,
        200
    );
    assert_error(
        &post("strict", "INVITE", "sip:a@8.8.8.8").await,
        422,
        "422-01",
        "sip.returnURI",
    );
    assert_error(
        &post("strict", "INVITE", "sip:a@127.0.0.9").await,
        422,
        "422-01",
        "sip.returnURI",
    );
}

#[tokio::test]
async fn more_requests_than_the_rate_are_429_with_retry_after() {
    let gateway = Gateway::with_rate(2).await;
    assert_eq!(gateway.post(body("{}")).await.status, 200);
    assert_eq!(gateway.get("t-1").await.status, 200);
    let answer = gateway.get("t-1").await;
    assert_error(&answer, 429, "429-01", "");
    assert_eq!(answer.headers["retry-after"], "1");
    let other = gateway.post_as("strict", body("{}")).await;
    assert_eq!(other.status, 200, "another key has a rate of its own");
}

#[tokio::test]
async fn a_store_that_cannot_be_reached_is_503() {
    let folder = std::env::temp_dir().join(format!("transfer-api-{}.db", std::process::id()));
    let url = format!("sqlite://{}", folder.display());
    let store = transfer_store::Store::open(&url, transfer_store::StoreOptions::default())
        .await
        .unwrap();
    let gateway = Gateway::over(store.clone(), std::sync::Arc::default(), 1000);
    assert_eq!(gateway.post(body("{}")).await.status, 200);
    store.close().await;
    assert_error(&gateway.post(body("{}")).await, 503, "503-01", "store");
    let answer = gateway.get("t-1").await;
    assert_error(&answer, 503, "503-01", "store");
    assert_eq!(answer.headers["retry-after"], "1");
    for suffix in ["", ".key", ".lock", "-wal", "-shm"] {
        drop(std::fs::remove_file(format!(
            "{}{suffix}",
            folder.display()
        )));
    }
}

#[tokio::test]
async fn a_draining_node_takes_no_new_transfers_but_answers_fetches() {
    let gateway = Gateway::start().await;
    gateway.post(body("{}")).await;
    gateway.draining.send_replace(true);
    let answer = gateway.post(body(r#"{"id":"t-2"}"#)).await;
    assert_error(&answer, 503, "503-01", "shutting down");
    assert_eq!(answer.headers["retry-after"], "5");
    assert_eq!(gateway.get("t-1").await.status, 200);
}

#[tokio::test]
async fn an_unknown_path_is_404_and_a_wrong_method_405_with_allow() {
    let gateway = Gateway::start().await;
    for path in [
        "/",
        "/generativeagent/v1",
        "/generativeagent/v1/call-transfers/a/b",
        "/generativeagent/v1/call-transfers/",
    ] {
        assert_error(
            &gateway.request("GET", path, None, "").await,
            404,
            "404-01",
            "",
        );
    }
    let answer = gateway
        .request("GET", PATH, Some(("lab", SECRET)), "")
        .await;
    assert_error(&answer, 405, "405-01", "");
    assert_eq!(answer.headers["allow"], "POST");
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        let answer = gateway
            .request(method, &format!("{PATH}/t-1"), Some(("lab", SECRET)), "")
            .await;
        assert_error(&answer, 405, "405-01", "");
        assert_eq!(answer.headers["allow"], "GET,HEAD");
    }
}

#[tokio::test]
async fn content_type_is_not_looked_at() {
    let gateway = Gateway::start().await;
    for (number, kind) in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "nonsense",
    ]
    .iter()
    .enumerate()
    {
        let request = Request::post(PATH)
            .header("content-type", *kind)
            .header("asapp-api-id", "lab")
            .header("asapp-api-secret", SECRET)
            .body(Body::from(body(&format!(r#"{{"id":"t-{number}"}}"#))))
            .unwrap();
        assert_eq!(gateway.send(request).await.status, 200);
    }
}

#[tokio::test]
async fn the_result_is_fetched_with_its_times() {
    let gateway = Gateway::start().await;
    gateway.post(full()).await;
    let (account, id) = (AccountId::from("lab"), TransferId::from("call-1"));
    gateway.wall.fetch_add(5_000, Ordering::SeqCst);
    let Ok(Claim::Claimed { fence, .. }) = gateway.store.claim(&account, &id).await else {
        panic!("not claimed")
    };
    let json = gateway.get("call-1").await.json();
    assert_eq!(
        (&json["status"], &json["callReceivedAt"]),
        (&json!("ONGOING"), &json!("2025-01-15T13:06:05Z"))
    );
    assert!(json.get("completedAt").is_none() && json.get("outputContext").is_none());
    gateway.wall.fetch_add(60_000, Ordering::SeqCst);
    let output = OutputContext {
        transfer_type: TransferType::Agent,
        current_task_name: None,
        reference_variables: serde_json::Map::new(),
        transfer_variables: serde_json::from_str(r#"{"n":1,"deep":{"a":[null]}}"#).unwrap(),
    };
    gateway
        .store
        .complete(&account, &id, fence, Some(output))
        .await
        .unwrap();
    let json = gateway.get("call-1").await.json();
    assert_eq!(
        (&json["status"], &json["completedAt"]),
        (&json!("COMPLETED"), &json!("2025-01-15T13:07:05Z"))
    );
    let expected = json!({"transferType": "AGENT", "referenceVariables": {}, "transferVariables": {"n": 1, "deep": {"a": [null]}}});
    assert_eq!(json["outputContext"], expected);
    assert!(!gateway.get("call-1").await.text.contains("p4ss-w0rd"));
}

#[tokio::test]
async fn a_transfer_past_its_time_to_live_reads_expired() {
    let gateway = Gateway::start().await;
    gateway.post(body("{}")).await;
    gateway.wall.fetch_add(600_000, Ordering::SeqCst);
    assert_eq!(gateway.get("t-1").await.json()["status"], "EXPIRED");
}

#[tokio::test]
async fn the_document_describes_what_is_served() {
    let gateway = Gateway::start().await;
    let answer = gateway.request("GET", "/openapi.json", None, "").await;
    let document = answer.json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let register = &document["paths"][PATH]["post"];
    let fetch = &document["paths"][format!("{PATH}/{{id}}")]["get"];
    for status in [
        "200", "400", "401", "403", "409", "413", "422", "429", "503",
    ] {
        assert!(register["responses"].get(status).is_some(), "{status}");
    }
    assert!(fetch["responses"].get("404").is_some());
    let schemas = &document["components"]["schemas"];
    let names = |schema: &str| -> Vec<String> {
        schemas[schema]["properties"]
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect()
    };
    assert_eq!(
        names("Registration"),
        [
            "externalConversationId",
            "id",
            "inputContext",
            "sip",
            "type"
        ]
    );
    assert_eq!(
        names("RegistrationSip"),
        [
            "returnInviteAuthentication",
            "returnTransferType",
            "returnURI"
        ]
    );
    assert_eq!(schemas["Kind"]["enum"], json!(["SIP"]));
    assert_eq!(
        schemas["ReturnTransferType"]["enum"],
        json!(["BYE", "REFER", "INVITE"])
    );
    for field in [
        "id",
        "status",
        "createdAt",
        "callReceivedAt",
        "completedAt",
        "outputContext",
    ] {
        assert!(
            names("CallTransfer").iter().any(|name| name == field),
            "{field}"
        );
    }
}

#[tokio::test]
async fn the_documents_page_needs_no_other_server() {
    let gateway = Gateway::start().await;
    let page = gateway.request("GET", "/docs/", None, "").await;
    assert_eq!(page.status, 200);
    assert!(
        !page.text.contains("http://") && !page.text.contains("https://"),
        "{}",
        page.text
    );
    assert_eq!(
        gateway
            .request("GET", "/docs/swagger-ui-bundle.js", None, "")
            .await
            .status,
        200
    );
}
