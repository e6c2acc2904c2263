//! A gateway in this process, with its own ports and its own folder, and its customer.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use handback::config::Config;
use handback::gateway::{self, Gateway};
use reqwest::StatusCode;
use serde_json::{Value, json};
use sip_core::Transport;

/// How long a story waits for what must happen.
pub const PATIENCE: Duration = Duration::from_secs(15);
const PAUSE: Duration = Duration::from_millis(10);

const PLANES: &str = r#"
[sip]
listen = ["udp://127.0.0.1:0", "tcp://127.0.0.1:0"]
[media]
listen = "127.0.0.1"
[api]
listen = "127.0.0.1:0"
rate_limit = 10000
[admin]
listen = "127.0.0.1:0"
[limits]
calls = 50
"#;

const ACCOUNT: &str = r#"
[[account]]
id = "lab"
return_transfer_type = "BYE"
  [[account.api_key]]
  id = "lab"
  secret_hash = "$argon2id$v=19$m=19456,t=2,p=1$teKf915p5MgOFW1jFPMDBw$DNW5rDjINzpyEzRIDHHvHyYLBmkzelDMl8WhYD7a5cI"
  [[account.trunk]]
  name = "sbc"
  allow = ["127.0.0.0/8"]
"#;

/// A gateway and its customer.
#[derive(Debug)]
pub struct Lab {
    /// The gateway.
    pub gateway: Gateway,
    http: reqwest::Client,
    folder: Folder,
}

/// A folder: one of its own goes with its owner.
#[derive(Debug)]
struct Folder {
    path: PathBuf,
    kept: bool,
}

impl Lab {
    /// A gateway whose keys are set as given (`agent.hook`, `account.0.trunk.0.max_calls`).
    pub async fn start(settings: &[(&str, &str)]) -> Self {
        Self::with_accounts(ACCOUNT, settings).await
    }

    /// One whose agent is `builtin:lab`.
    pub async fn with_lab_agent() -> Self {
        Self::start(&[("agent.hook", "builtin:lab")]).await
    }

    /// One with other accounts; they share the API key if they want one.
    pub async fn with_accounts(accounts: &str, settings: &[(&str, &str)]) -> Self {
        Self::open(Folder::new(), accounts, settings).await
    }

    /// Ends the gateway and starts one anew on the same store.
    pub async fn restart(self, settings: &[(&str, &str)]) -> Self {
        let Self {
            gateway, folder, ..
        } = self;
        gateway.shutdown().await;
        Self::open(folder, ACCOUNT, settings).await
    }

    /// A gateway over this folder, which stays.
    pub async fn in_folder(folder: &Path, settings: &[(&str, &str)]) -> Self {
        Self::open(Folder::kept(folder), ACCOUNT, settings).await
    }

    /// Ends the gateway.
    pub async fn shutdown(self) {
        self.gateway.shutdown().await;
    }

    async fn open(folder: Folder, accounts: &str, settings: &[(&str, &str)]) -> Self {
        let store = format!("sqlite://{}", folder.path.join("store.db").display());
        let store = ("store.url", store.as_str());
        let agent = ("agent.hook", "builtin:silence");
        let settings = [store, agent].into_iter().chain(settings.iter().copied());
        // The last of two settings of one key counts.
        let variables: BTreeMap<String, String> = settings
            .map(|(key, value)| (variable(key), value.to_owned()))
            .collect();
        let loaded = Config::parse(&format!("{PLANES}{accounts}"), variables).unwrap();
        Self {
            gateway: gateway::start(loaded.config).await.unwrap(),
            http: reqwest::Client::new(),
            folder,
        }
    }

    /// The SIP listener.
    #[must_use]
    pub fn sip(&self, transport: Transport) -> std::net::SocketAddr {
        self.gateway.sip_address(transport).unwrap()
    }

    /// What the admin listener says at a path.
    pub async fn admin(&self, path: &str) -> String {
        let url = format!("http://{}{path}", self.gateway.admin_address());
        let answer = self.http.get(url).send().await.unwrap();
        answer.text().await.unwrap()
    }

    /// POST as the customer.
    pub async fn post(&self, body: &Value) -> (StatusCode, Value) {
        let url = self.url("");
        let request = self.http.post(url).body(body.to_string());
        answer(request).await
    }

    /// GET as the customer.
    pub async fn get(&self, id: &str) -> (StatusCode, Value) {
        answer(self.http.get(self.url(&format!("/{id}")))).await
    }

    /// Registers a transfer; fields of `extra` are added to, or replace, the usual ones.
    pub async fn register(&self, id: &str, extra: Value) {
        let mut body = json!({
            "id": id,
            "externalConversationId": format!("conversation of {id}"),
            "type": "SIP",
            "inputContext": { "taskName": "billing", "inputVariables": { "customer": "Ann", "balance": 12.50, "tags": ["a", 1] } },
        });
        for (name, value) in extra.as_object().unwrap() {
            body[name] = value.clone();
        }
        let (status, answer) = self.post(&body).await;
        assert_eq!(status, 200, "{answer}");
        assert_eq!(answer["status"], "ACTIVE");
    }

    /// The transfer as the customer sees it now.
    pub async fn fetch(&self, id: &str) -> Value {
        let (status, transfer) = self.get(id).await;
        assert_eq!(status, 200, "{transfer}");
        transfer
    }

    /// What the admin API tells of the transfer's latest call, once that is over.
    pub async fn until_recorded(&self, id: &str) -> Value {
        let url = format!("http://{}/transfers/lab/{id}", self.gateway.admin_address());
        eventually(&format!("the call of {id} to be recorded"), async || {
            let (_, transfer) = answer(self.http.get(&url)).await;
            let call = transfer["calls"][0].clone();
            call["record"].is_object().then_some(call)
        })
        .await
    }

    /// Waits until the transfer has this status.
    pub async fn until_status(&self, id: &str, status: &str) -> Value {
        eventually(&format!("{id} to be {status}"), async || {
            let transfer = self.fetch(id).await;
            (transfer["status"] == status).then_some(transfer)
        })
        .await
    }

    /// The transfer is over and was handed back by the agent.
    pub async fn assert_completed_with_output(&self, id: &str) -> Value {
        let transfer = self.fetch(id).await;
        assert_eq!(transfer["status"], "COMPLETED", "{transfer}");
        assert!(transfer["completedAt"].is_string(), "{transfer}");
        assert!(transfer["outputContext"].is_object(), "{transfer}");
        transfer
    }

    /// The transfer is over, and the agent had no say in it.
    pub async fn until_completed_without_output(&self, id: &str) {
        let transfer = self.until_status(id, "COMPLETED").await;
        assert!(transfer["callReceivedAt"].is_string(), "{transfer}");
        assert!(transfer["completedAt"].is_string(), "{transfer}");
        assert!(transfer.get("outputContext").is_none(), "{transfer}");
    }

    /// Nobody has called yet, as far as the transfer knows.
    pub async fn assert_unclaimed(&self, id: &str) {
        let transfer = self.fetch(id).await;
        assert_eq!(transfer["status"], "ACTIVE", "{transfer}");
        assert!(transfer.get("callReceivedAt").is_none(), "{transfer}");
    }

    /// Waits until calls, legs and media ports are all gone.
    pub async fn until_idle(&self) {
        eventually("no call, leg or port to be left", async || {
            let (sip, _) = self.gateway.sip_census().await.unwrap();
            let media = self.gateway.media_census();
            let held = self.gateway.live_calls().len()
                + sip.legs
                + sip.invitations
                + media.sessions
                + media.ports_in_use;
            (held == 0).then_some(())
        })
        .await;
    }

    fn url(&self, rest: &str) -> String {
        let api = self.gateway.api_address();
        format!("http://{api}/generativeagent/v1/call-transfers{rest}")
    }
}

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("handback-stories-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self { path, kept: false }
    }

    fn kept(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            kept: true,
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.kept {
            // What cannot be removed is the system's to clean.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

fn variable(key: &str) -> String {
    format!("HANDBACK__{}", key.replace('.', "__").to_uppercase())
}

async fn answer(request: reqwest::RequestBuilder) -> (StatusCode, Value) {
    let request = request
        .header("asapp-api-id", "lab")
        .header("asapp-api-secret", "lab-secret");
    let response = request.send().await.unwrap();
    let status = response.status();
    (status, response.json().await.unwrap())
}

/// Asks again and again until there is an answer.
pub async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let asking = async {
        loop {
            match ask().await {
                Some(answer) => return answer,
                None => tokio::time::sleep(PAUSE).await,
            }
        }
    };
    match tokio::time::timeout(PATIENCE, asking).await {
        Ok(answer) => answer,
        Err(_) => panic!("waited in vain for {what}"),
    }
}
