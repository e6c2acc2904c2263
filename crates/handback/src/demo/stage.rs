//! What a story needs: a gateway, two phones and a customer, all on loopback, gone without a trace afterwards.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use sip_core::Transport;
use sip_transport::Packet;
use timebase::Clock;
use tokio::task::JoinHandle;

use super::story::StoryError;
use crate::caller::{Phone, PhoneOptions};
use crate::config::{Config, LAB};
use crate::gateway::{self, Gateway};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const PATH: &str = "/generativeagent/v1/call-transfers";
/// How long the gateway may take to put everything away.
const TIDY: Duration = Duration::from_secs(5);

/// Everything that takes part.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) clock: Clock,
    pub(super) sbc: Phone,
    pub(super) target: Phone,
    gateway: Gateway,
    http: reqwest::Client,
    folder: PathBuf,
}

/// The customer's view of one transfer.
#[derive(Clone, Debug)]
pub(super) struct Customer {
    http: reqwest::Client,
    url: String,
}

impl Stage {
    pub(super) const SBC: &str = "sbc";
    pub(super) const TARGET: &str = "target";

    pub(super) async fn set() -> Result<Self, StoryError> {
        let clock = Clock::start();
        let folder = std::env::temp_dir().join(format!(
            "handback-demo-{}-{:08x}",
            std::process::id(),
            rand::random::<u32>()
        ));
        std::fs::create_dir_all(&folder)?;
        let mut config = Config::parse(LAB, [])?.config;
        for listener in &mut config.sip.listen {
            listener.address.set_port(0);
        }
        config.api.listen = SocketAddr::new(LOOPBACK, 0);
        config.admin.listen = SocketAddr::new(LOOPBACK, 0);
        config.store.url = format!("sqlite://{}", folder.join("demo.db").display());
        let gateway = gateway::start(config).await?;
        let sbc = phone(Self::SBC, false, 42_000..=42_999, clock).await?;
        let target = phone(Self::TARGET, true, 43_000..=43_999, clock).await?;
        let http = reqwest::Client::builder()
            .timeout(TIDY)
            .no_proxy()
            .build()?;
        Ok(Self {
            clock,
            sbc,
            target,
            gateway,
            http,
            folder,
        })
    }

    pub(super) fn gateway_address(&self) -> SocketAddr {
        self.gateway
            .sip_address(Transport::Udp)
            .unwrap_or(SocketAddr::new(LOOPBACK, 0))
    }

    pub(super) fn sbc_address(&self) -> SocketAddr {
        self.sbc.address().unwrap_or(SocketAddr::new(LOOPBACK, 0))
    }

    pub(super) fn target_address(&self) -> SocketAddr {
        self.target
            .address()
            .unwrap_or(SocketAddr::new(LOOPBACK, 0))
    }

    /// Registers a transfer; the API's answer, whatever it is.
    pub(super) async fn register(&self, transfer: &Value) -> Result<Value, StoryError> {
        let request = self
            .http
            .post(format!("http://{}{PATH}", self.gateway.api_address()))
            .json(transfer);
        Ok(as_customer(request).send().await?.json().await?)
    }

    pub(super) async fn fetch(&self, transfer: &str) -> Result<Value, StoryError> {
        Ok(self.customer(transfer).fetch().await?)
    }

    pub(super) fn customer(&self, transfer: &str) -> Customer {
        let url = format!("http://{}{PATH}/{transfer}", self.gateway.api_address());
        Customer {
            http: self.http.clone(),
            url,
        }
    }

    /// Calls and media ports that the gateway still holds, after a moment to put them away.
    pub(super) async fn left(&self) -> (usize, usize) {
        let until = self.clock.now() + TIDY;
        loop {
            let left = (
                self.gateway.live_calls().len(),
                self.gateway.media_census().ports_in_use,
            );
            if left == (0, 0) || self.clock.now() >= until {
                return left;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Closes the phones; what they sent and received.
    pub(super) async fn packets(
        &self,
        taps: [JoinHandle<Vec<Packet>>; 2],
    ) -> io::Result<[Vec<Packet>; 2]> {
        self.sbc.shutdown().await;
        self.target.shutdown().await;
        let [sbc, target] = taps;
        Ok([
            sbc.await.map_err(io::Error::other)?,
            target.await.map_err(io::Error::other)?,
        ])
    }

    pub(super) async fn strike(self) -> Result<(), StoryError> {
        self.sbc.shutdown().await;
        self.target.shutdown().await;
        self.gateway.shutdown().await;
        Ok(std::fs::remove_dir_all(&self.folder)?)
    }
}

impl Customer {
    async fn fetch(&self) -> Result<Value, reqwest::Error> {
        as_customer(self.http.get(&self.url))
            .send()
            .await?
            .json()
            .await
    }

    /// The transfer's status now.
    pub(super) async fn status(&self) -> Option<String> {
        self.fetch().await.ok()?["status"]
            .as_str()
            .map(str::to_owned)
    }
}

/// With the lab's key.
fn as_customer(request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
    request
        .header("asapp-api-id", "lab")
        .header("asapp-api-secret", "lab-secret")
}

async fn phone(
    name: &'static str,
    takes_calls: bool,
    media_ports: std::ops::RangeInclusive<u16>,
    clock: Clock,
) -> io::Result<Phone> {
    Phone::start(PhoneOptions {
        name,
        address: LOOPBACK,
        port: 0,
        media_ports,
        takes_calls,
        tls: None,
        clock,
    })
    .await
}
