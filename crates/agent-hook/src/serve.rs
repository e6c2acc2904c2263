//! The far end of the wire: a WebSocket server that puts a built-in agent behind it, for
//! developing gateways and for holding our own client to the protocol.

mod stream;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_tungstenite::accept_async_with_config;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use crate::builtin::Builtin;
use stream::Conversation;

/// Calls at one time; one more waits to be accepted.
const CALLS: usize = 1000;

/// How long a gateway may take for its handshake and for its first two messages.
const OPENING: Duration = Duration::from_secs(10);

/// The largest message that is taken.
const MAX_MESSAGE: usize = 4 * 1024 * 1024;

/// A server of a built-in agent.
#[derive(Clone, Debug)]
pub struct AgentServer {
    agent: Builtin,
}

impl AgentServer {
    /// A server of the agent that `builtin:…` names, with its options.
    ///
    /// # Errors
    /// When there is no such agent, or its file is not usable.
    pub fn new(agent: &str) -> Result<Self, String> {
        let name = agent.strip_prefix("builtin:").unwrap_or(agent);
        let agent = Builtin::parse(name)?;
        Ok(Self { agent })
    }

    /// Takes calls until the listener fails.
    ///
    /// # Errors
    /// When the listener fails.
    pub async fn serve(self, listener: TcpListener) -> io::Result<()> {
        let room = Arc::new(Semaphore::new(CALLS));
        loop {
            let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
                return Ok(());
            };
            let (stream, peer) = listener.accept().await?;
            let agent = self.agent.clone();
            tokio::spawn(async move {
                if let Err(problem) = converse(agent, stream).await {
                    tracing::warn!(%peer, problem, "call ended by a problem");
                }
                drop(permit);
            });
        }
    }
}

async fn converse(agent: Builtin, stream: TcpStream) -> Result<(), String> {
    stream
        .set_nodelay(true)
        .map_err(|error| error.to_string())?;
    let config = WebSocketConfig::default()
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE));
    let opening = async {
        let socket = accept_async_with_config(stream, Some(config))
            .await
            .map_err(|error| format!("handshake: {error}"))?;
        Conversation::open(socket, &agent).await
    };
    let conversation = timeout(OPENING, opening)
        .await
        .map_err(|_| "no start in time".to_owned())??;
    conversation.run().await
}
