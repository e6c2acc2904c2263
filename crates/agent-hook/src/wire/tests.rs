use super::*;
use serde_json::json;

#[test]
fn messages_of_agents_are_read_and_written_back_as_they_were() {
    for message in [
        json!({"event":"media","streamSid":"MZ1","media":{"payload":"/wA="}}),
        json!({"event":"mark","streamSid":"MZ1","mark":{"name":"a"}}),
        json!({"event":"clear","streamSid":"MZ1"}),
        json!({"event":"hook.hello","version":"1.0","features":["tracks","new"],"agent":"x"}),
        json!({"event":"hook.update","currentTaskName":"t","referenceVariables":{"n":1.50},"transferVariables":{}}),
        json!({"event":"hook.complete","id":"c","outputContext":{"transferType":"SYSTEM","referenceVariables":{},"transferVariables":{"a":[1,2]}},"when":"now"}),
        json!({"event":"hook.transcript","utterance":"u","track":"outbound","final":false,"text":"hi","startMs":20,"endMs":40}),
        json!({"event":"hook.sendDtmf","digits":"12#","durationMs":100}),
    ] {
        let read = AgentMessage::parse(&message.to_string()).unwrap();
        let written: Value = serde_json::from_str(&read.to_json()).unwrap();
        assert_eq!(written, message);
        assert_eq!(message["event"], read.event());
    }
}

#[test]
fn what_is_wrong_is_named_by_event_and_field() {
    let problem = |text: &str| AgentMessage::parse(text).unwrap_err().to_string();
    assert!(problem("nonsense").contains("JSON"));
    assert!(problem("{}").contains("event"));
    assert!(problem(r#"{"event":"x"}"#).contains("unknown event"));
    assert!(problem(r#"{"event":"media","media":{}}"#).contains("payload"));
    let wrong = r#"{"event":"hook.complete","outputContext":{"transferType":"agent"}}"#;
    assert!(problem(wrong).contains("agent"), "{}", problem(wrong));
}

#[test]
fn schema_names_every_event_of_both_directions() {
    let schema = |schema: schemars::Schema| serde_json::to_string(&schema).unwrap();
    let (agent, gateway) = (
        schema(schemars::schema_for!(AgentMessage)),
        schema(schemars::schema_for!(GatewayMessage)),
    );
    for event in AgentMessage::EVENTS {
        assert!(agent.contains(&format!("{event:?}")), "{event}");
    }
    for event in GatewayMessage::EVENTS {
        assert!(gateway.contains(&format!("{event:?}")), "{event}");
    }
}
