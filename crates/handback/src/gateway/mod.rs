//! The gateway: every plane started from one configuration, wired, and brought to its end.

mod admin;
mod admission;
mod agent_words;
mod backlog;
mod beside;
mod call_task;
mod checkpoint;
mod dial;
mod directory;
mod families;
mod history;
mod hook_api;
mod hook_config;
mod http;
mod identity;
mod ladders;
mod live_calls;
mod media_figures;
mod media_words;
mod node;
mod outward;
mod record;
mod recover;
mod shared;
mod store_writes;
mod told;
mod transcript;
mod trunk_health;
mod turns;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use media_bridge::{MediaAddress, MediaCensus, MediaConfig, MediaPlane};
use sip_core::{Advertised, Census, Counters, Endpoint, Transport};
use sip_transport::dns::Locator;
use sip_transport::{
    Listen, Packet, SendError, SipHandle, Sockets, Tls, TlsError, TransportOptions,
};
use timebase::Clock;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use transfer_api::{ApiState, NodeOrder, OwnAddresses};
use transfer_store::{EncryptionKey, Store, StoreError, StoreOptions, TakenOver};

use crate::config::{Config, Protocol};
use backlog::Backlog;
use directory::{Directory, DirectoryError, advertised, endpoint_config};
use ladders::Ladders;
pub use live_calls::{CallHandle, LiveCalls, Order, Snapshot};
use shared::{Rules, Shared};
use trunk_health::TrunkHealth;

/// How long calls that are handed back or hung up at the end of a drain may take for it.
const LAST_CALLS: Duration = Duration::from_secs(10);
/// How long writes that wait for the store are waited for at the end.
const LAST_WRITES: Duration = Duration::from_secs(5);

/// Why a gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration reads well but cannot serve.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The store.
    #[error("store.url: {0}")]
    Store(#[from] StoreError),
    /// An encryption key of another length than 32 bytes.
    #[error("store.encryption_key_file: not a key of 32 bytes")]
    EncryptionKey,
    /// A certificate or key that is not usable.
    #[error("sip.tls: {0}")]
    Tls(#[from] TlsError),
    /// An address that cannot be listened on.
    #[error("{key}: {what}: {error}")]
    Listen {
        /// The configuration's key.
        key: &'static str,
        /// The address.
        what: String,
        /// What the system said.
        error: io::Error,
    },
    /// Names cannot be looked up.
    #[error("sip.nameservers: {0}")]
    Resolver(String),
    /// The media loops.
    #[error("media: {0}")]
    Media(io::Error),
}

/// A gateway that serves.
#[derive(Debug)]
pub struct Gateway {
    shared: Arc<Shared>,
    sip: SipHandle,
    api: SocketAddr,
    admin: SocketAddr,
    rules: watch::Sender<Arc<Rules>>,
    accounts: watch::Sender<Arc<transfer_api::Accounts>>,
    draining: watch::Sender<bool>,
    orders: mpsc::Receiver<NodeOrder>,
    servers: Vec<JoinHandle<()>>,
}

/// Starts a gateway. Port 0 anywhere takes a free port.
///
/// # Errors
/// The first part that cannot start; nothing keeps running then.
pub async fn start(config: Config) -> Result<Gateway, StartError> {
    let clock = Clock::start();
    let directory = Directory::new(&config, None)?;
    let (store, taken) = open_store(&config).await?;
    let media = MediaPlane::start(media_config(&config), clock).map_err(StartError::Media)?;
    let tls = config.sip.tls.usable()?;
    let locator = Locator::new(&config.sip.nameservers).map_err(StartError::Resolver)?;
    let sockets = bind_sip(&config).await?;
    let api = listen("api.listen", config.api.listen).await?;
    let admin = listen("admin.listen", config.admin.listen).await?;

    let (accounts, accounts_now) = watch::channel(directory.accounts());
    let (draining, draining_now) = watch::channel(false);
    let (own, own_now) = watch::channel(Arc::new(OwnAddresses::default()));
    let rules_given = Arc::new(Rules { config, directory });
    let (rules, rules_now) = watch::channel(Arc::clone(&rules_given));
    let config = &rules_given.config;
    let state = ApiState {
        store: store.clone(),
        accounts: accounts_now,
        own: own_now.clone(),
        draining: draining_now.clone(),
        rate_limit: NonZeroU32::new(config.api.rate_limit).unwrap_or(NonZeroU32::MIN),
        body_limit: usize::try_from(config.api.body_limit).unwrap_or(usize::MAX),
    };
    let shared = Arc::new(Shared {
        clock,
        store,
        media,
        live: LiveCalls::default(),
        ladders: Ladders::default(),
        backlog: Backlog::default(),
        turns: turns::Turns::default(),
        trunk_health: TrunkHealth::default(),
        rules: rules_now,
        draining: draining_now,
        own: own_now,
        locator,
        resting: Arc::default(),
        sip: OnceLock::new(),
    });
    let sip = run_sip(sockets, &shared, config, tls);
    own.send_replace(Arc::new(own_addresses(&sip, config)));

    let (api_address, admin_address) = (local_address(&api)?, local_address(&admin)?);
    let api_router = hook_api::beside(state, &shared);
    let (admin_router, orders) = admin::router(&shared);
    let mut servers = tasks(&shared, &rules, taken);
    servers.push(tokio::spawn(http::serve(api, api_router)));
    servers.push(tokio::spawn(http::serve(admin, admin_router)));
    Ok(Gateway {
        api: api_address,
        admin: admin_address,
        shared,
        sip,
        rules,
        accounts,
        draining,
        orders,
        servers,
    })
}

/// What runs beside the calls.
fn tasks(
    shared: &Arc<Shared>,
    rules: &watch::Sender<Arc<Rules>>,
    taken: TakenOver,
) -> Vec<JoinHandle<()>> {
    vec![
        tokio::spawn(ladders::keep(Arc::clone(shared))),
        tokio::spawn(node::tend(Arc::clone(shared), taken)),
        tokio::spawn(trunk_health::watch(Arc::clone(shared), rules.subscribe())),
    ]
}

/// Starts the SIP driver with the door of the gateway.
fn run_sip(sockets: Sockets, shared: &Arc<Shared>, config: &Config, tls: Arc<Tls>) -> SipHandle {
    let endpoint = Endpoint::new(endpoint_config(config), rand::random());
    let options = TransportOptions {
        udp_max: config.sip.udp_max.into(),
        tls: Some(tls),
        dscp: config.sip.dscp,
        keep_alive: config.sip.keep_alive,
        max_connections: usize::try_from(config.limits.connections).unwrap_or(usize::MAX),
        max_connections_per_source: usize::try_from(config.limits.connections_per_source)
            .unwrap_or(usize::MAX),
        ..TransportOptions::default()
    };
    let gate = admission::gate(Arc::clone(shared));
    let sip = sockets.run(endpoint, shared.clock, gate, options);
    // Set once: there is no other driver. An invitation that is quicker than this is refused 503.
    let _ = shared.sip.set(sip.clone());
    sip
}

impl Gateway {
    /// What an operator asks of the node next, through the admin API.
    pub async fn next_order(&mut self) -> Option<NodeOrder> {
        self.orders.recv().await
    }

    /// The SIP listeners with their real ports.
    #[must_use]
    pub fn sip_listeners(&self) -> &[Listen] {
        self.sip.listeners()
    }

    /// The first SIP listener of a transport.
    #[must_use]
    pub fn sip_address(&self, transport: Transport) -> Option<SocketAddr> {
        let listeners = self.sip.listeners();
        listeners
            .iter()
            .find(|listen| listen.transport == transport)
            .map(|listen| listen.address)
    }

    /// Where the transfer API listens.
    #[must_use]
    pub const fn api_address(&self) -> SocketAddr {
        self.api
    }

    /// Where health, metrics and the console are.
    #[must_use]
    pub const fn admin_address(&self) -> SocketAddr {
        self.admin
    }

    /// The live calls.
    #[must_use]
    pub fn live_calls(&self) -> &LiveCalls {
        &self.shared.live
    }

    /// What the media plane holds.
    #[must_use]
    pub fn media_census(&self) -> MediaCensus {
        self.shared.media.census()
    }

    /// What the SIP endpoint holds and has counted.
    ///
    /// # Errors
    /// When the driver has ended.
    pub async fn sip_census(&self) -> Result<(Census, Counters), SendError> {
        self.sip.census().await
    }

    /// A copy of every SIP message from now on.
    ///
    /// # Errors
    /// When the driver has ended.
    pub async fn tap(&self, capacity: usize) -> Result<mpsc::Receiver<Packet>, SendError> {
        self.sip.tap(capacity).await
    }

    /// Puts another configuration's accounts, trunks, limits, hand-back rules and certificates in force;
    /// live calls and open connections keep theirs. Listeners, store and media ports stay as they are.
    ///
    /// # Errors
    /// What is wrong with the new one; the old one stays in force then.
    pub fn reload(&self, config: Config) -> Result<(), StartError> {
        let tls = config.sip.tls.usable()?;
        let directory = Directory::new(&config, Some(&self.shared.rules().directory))?;
        if self.sip.set_tls(tls).is_err() || self.sip.reconfigure(endpoint_config(&config)).is_err()
        {
            tracing::warn!("the SIP driver did not take the new configuration");
        }
        self.accounts.send_replace(directory.accounts());
        self.rules
            .send_replace(Arc::new(Rules { config, directory }));
        tracing::info!("configuration reloaded");
        Ok(())
    }

    /// Takes no new calls and transfers, waits for live calls to end, at most
    /// `limits.drain_timeout`, and hands back those that are left.
    pub async fn drain(&self) {
        self.draining.send_replace(true);
        let _ = self.sip.drain(true);
        let limit = self.shared.rules().config.limits.drain_timeout;
        tracing::info!(calls = self.shared.live.len(), "draining");
        if !self.calls_end_within(limit).await {
            let left = self.shared.live.all();
            tracing::warn!(
                calls = left.len(),
                "drain time is over: calls are handed back"
            );
            for call in left {
                let _ = call.order(Order::HandBack("drain"));
            }
            self.calls_end_within(LAST_CALLS).await;
        }
    }

    async fn calls_end_within(&self, limit: Duration) -> bool {
        let until = tokio::time::Instant::now() + limit;
        while !self.shared.live.is_empty() {
            if tokio::time::Instant::now() >= until {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        true
    }

    async fn writes_end_within(&self, limit: Duration) {
        let until = tokio::time::Instant::now() + limit;
        while self.shared.backlog.len() > 0 && tokio::time::Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let lost = self.shared.backlog.len();
        if lost > 0 {
            tracing::error!(lost, "the store did not come back for these writes");
        }
    }

    /// Ends the gateway: live calls are hung up, listeners close, the store is flushed.
    pub async fn shutdown(self) {
        self.draining.send_replace(true);
        for call in self.shared.live.all() {
            let _ = call.order(Order::HangUp);
        }
        self.calls_end_within(LAST_CALLS).await;
        self.writes_end_within(LAST_WRITES).await;
        self.sip.shutdown().await;
        for server in &self.servers {
            server.abort();
        }
        self.shared.store.close().await;
    }
}

async fn open_store(config: &Config) -> Result<(Store, TakenOver), StartError> {
    let encryption_key = match &config.store.encryption_key {
        None => None,
        Some(key) => {
            let key = EncryptionKey::from_content(key.expose().as_bytes());
            Some(key.ok_or(StartError::EncryptionKey)?)
        }
    };
    let options = StoreOptions {
        time_to_live: config.transfer.time_to_live,
        keep: config.transfer.keep,
        node: config.node.name.clone(),
        encryption_key,
        lease: config.store.lease,
        ..StoreOptions::default()
    };
    let store = Store::open(&config.store.url, options).await?;
    let taken = node::join(&store).await;
    Ok((store, taken))
}

fn media_config(config: &Config) -> MediaConfig {
    MediaConfig {
        addresses: media_addresses(config),
        dscp: config.media.dscp,
        ports: config.media.ports.first..=config.media.ports.last,
        shards: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
    }
}

fn media_addresses(config: &Config) -> Vec<MediaAddress> {
    let told = |listen: &IpAddr| {
        let advertised = config.media.advertise.iter();
        advertised
            .copied()
            .find(|own| own.is_ipv4() == listen.is_ipv4())
    };
    let listens = config.media.listen.iter();
    listens
        .map(|listen| MediaAddress {
            listen: *listen,
            advertise: told(listen),
        })
        .collect()
}

async fn bind_sip(config: &Config) -> Result<Sockets, StartError> {
    let wanted: Vec<Listen> = config
        .sip
        .listen
        .iter()
        .map(|listener| Listen {
            transport: match listener.protocol {
                Protocol::Udp => Transport::Udp,
                Protocol::Tcp => Transport::Tcp,
                Protocol::Tls => Transport::Tls,
            },
            address: listener.address,
        })
        .collect();
    let what = wanted
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ");
    let bound = Sockets::bind(&wanted).await;
    bound.map_err(|error| StartError::Listen {
        key: "sip.listen",
        what,
        error,
    })
}

async fn listen(key: &'static str, address: SocketAddr) -> Result<TcpListener, StartError> {
    let failed = |error| StartError::Listen {
        key,
        what: address.to_string(),
        error,
    };
    TcpListener::bind(address).await.map_err(failed)
}

fn local_address(listener: &TcpListener) -> Result<SocketAddr, StartError> {
    listener.local_addr().map_err(|error| StartError::Listen {
        key: "listen",
        what: "its own address".to_owned(),
        error,
    })
}

fn own_addresses(sip: &SipHandle, config: &Config) -> OwnAddresses {
    let bare = |own: &Advertised| own.host().trim_matches(['[', ']']).to_owned();
    let ports = |own: &Advertised| match own.port() {
        Some(port) => vec![port],
        None => sip
            .listeners()
            .iter()
            .map(|l| l.address.port())
            .chain([5060])
            .collect(),
    };
    let mut names: Vec<(String, u16)> = advertised(config)
        .iter()
        .flat_map(|own| ports(own).into_iter().map(|port| (bare(own), port)))
        .collect();
    names.sort_unstable();
    names.dedup();
    OwnAddresses {
        sockets: sip.local_addresses(),
        names,
    }
}
