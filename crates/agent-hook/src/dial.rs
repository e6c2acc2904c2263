//! Opening a WebSocket to an agent, up to the protocol's first messages.

use futures_util::SinkExt as _;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::error::{ProtocolError, SubProtocolError};
use tokio_tungstenite::tungstenite::http::{HeaderMap, HeaderValue, header};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use crate::audiohook::{AudioHookConfig, AudioHookWire};
use crate::credentials::{Credentials, Signed};
use crate::facts::CallFacts;
use crate::hooks::Protocol;
use crate::link::{Ends, Link, Pump, WireAgent};
use crate::probe::{Probe, Speaker};
use crate::transport::{ConnectFailure, Stream, Transport, Url};
use crate::twilio::{StreamKind, TwilioWire, call_sid};

/// The largest message that is accepted.
const MAX_MESSAGE: usize = 4 * 1024 * 1024;

/// Buffers of the WebSocket layer, for each connection.
const READ_BUFFER: usize = 8 * 1024;
const WRITE_BUFFER: usize = 16 * 1024;

/// Why a stream was not opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    #[error("{0}")]
    Connect(#[from] ConnectFailure),
    #[error("{0}")]
    Handshake(#[from] Box<tungstenite::Error>),
    #[error("{0}")]
    Refused(String),
}

/// What is said of a call when its stream opens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opening<'a> {
    pub(crate) facts: &'a CallFacts,
    /// Parameters that a webhook gave.
    pub(crate) parameters: &'a [(String, String)],
    pub(crate) kind: StreamKind<'a>,
}

/// A stream that is open and not yet served.
#[derive(Debug)]
pub(crate) enum Connection {
    Twilio(Box<Pump<Stream, TwilioWire>>),
    AudioHook(Box<Pump<Stream, AudioHookWire>>),
}

impl Connection {
    /// Leaves the connection to a task, and gives the shard's end of it.
    pub(crate) fn start(self) -> WireAgent {
        match self {
            Self::Twilio(pump) => {
                let (agent, ends) = WireAgent::new(pump.stream());
                tokio::spawn(Link::new(*pump, ends).run());
                agent
            }
            Self::AudioHook(pump) => {
                let (agent, ends) = WireAgent::new(pump.stream());
                tokio::spawn(Link::new(*pump, ends).run());
                agent
            }
        }
    }

    /// Serves the connection to its end; gives the queues back unless the call is done with them.
    pub(crate) async fn serve(self, ends: Ends) -> Option<Ends> {
        match self {
            Self::Twilio(pump) => Link::new(*pump, ends).run_once().await,
            Self::AudioHook(pump) => Link::new(*pump, ends).run_once().await,
        }
    }
}

/// What all connections of a hook share.
#[derive(Clone)]
pub(crate) struct Dialer {
    pub(crate) transport: Transport,
    pub(crate) credentials: Credentials,
    pub(crate) protocol: Protocol,
    pub(crate) audiohook: AudioHookConfig,
    pub(crate) subprotocol: Option<String>,
    pub(crate) probe: Option<Probe>,
}

impl Dialer {
    /// Connects and says the protocol's first messages.
    pub(crate) async fn open(
        &self,
        url: &Url,
        opening: Opening<'_>,
    ) -> Result<Connection, DialError> {
        match self.protocol {
            Protocol::Twilio => {
                let call_sid = call_sid(&opening.facts.call);
                let mut headers = self.headers(url, &call_sid)?;
                let mut socket = self.shake_hands(url, &mut headers).await?;
                let Opening {
                    facts,
                    parameters,
                    kind,
                } = opening;
                let (wire, first) = TwilioWire::open(facts, parameters, kind);
                if let Some(probe) = &self.probe {
                    for message in &first {
                        probe.saw(Speaker::Gateway, message);
                    }
                }
                say(&mut socket, first).await?;
                let pump = Pump::new(socket, wire).probed(self.probe.clone());
                Ok(Connection::Twilio(Box::new(pump)))
            }
            Protocol::AudioHook => {
                let mut wire = AudioHookWire::new(&self.audiohook, opening);
                let call_sid = call_sid(&opening.facts.call);
                let mut headers = self.headers(url, &call_sid)?;
                headers.extend(wire.headers(url).map_err(DialError::Refused)?);
                let mut socket = self.shake_hands(url, &mut headers).await?;
                say(&mut socket, [wire.open_message()]).await?;
                wire.await_opened(&mut socket)
                    .await
                    .map_err(DialError::Refused)?;
                let pump = Pump::new(socket, wire).probed(self.probe.clone());
                Ok(Connection::AudioHook(Box::new(pump)))
            }
        }
    }

    fn headers(&self, url: &Url, call_sid: &str) -> Result<HeaderMap, DialError> {
        let signed = Signed {
            url: url.as_str(),
            call_sid,
            form: &[],
            now: timebase::wall_now().0 / 1000,
        };
        self.credentials.headers(signed).map_err(DialError::Refused)
    }

    /// The WebSocket handshake. A server that does not answer the subprotocol asked for is asked
    /// again without it.
    async fn shake_hands(
        &self,
        url: &Url,
        headers: &mut HeaderMap,
    ) -> Result<WebSocketStream<Stream>, DialError> {
        if let Some(subprotocol) = &self.subprotocol {
            let value = HeaderValue::try_from(subprotocol.as_str())
                .map_err(|_| DialError::Refused("the subprotocol is no header value".to_owned()))?;
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, value);
            match self.upgrade(url, headers).await {
                Err(DialError::Handshake(error)) if lacks_subprotocol(&error) => {
                    tracing::info!("the hook does not know the subprotocol: asked without it");
                    headers.remove(header::SEC_WEBSOCKET_PROTOCOL);
                }
                other => return other,
            }
        }
        self.upgrade(url, headers).await
    }

    async fn upgrade(
        &self,
        url: &Url,
        headers: &HeaderMap,
    ) -> Result<WebSocketStream<Stream>, DialError> {
        let stream = self.transport.connect(url).await?;
        let mut request = url.as_str().into_client_request().map_err(Box::new)?;
        for (name, value) in headers {
            request.headers_mut().insert(name.clone(), value.clone());
        }
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(WRITE_BUFFER)
            .max_message_size(Some(MAX_MESSAGE))
            .max_frame_size(Some(MAX_MESSAGE));
        let shaken = client_async_with_config(request, stream, Some(config)).await;
        let (socket, _response) = shaken.map_err(Box::new)?;
        Ok(socket)
    }
}

fn lacks_subprotocol(error: &tungstenite::Error) -> bool {
    matches!(
        error,
        tungstenite::Error::Protocol(ProtocolError::SecWebSocketSubProtocolError(
            SubProtocolError::NoSubProtocol | SubProtocolError::InvalidSubProtocol
        ))
    )
}

async fn say<const N: usize>(
    socket: &mut WebSocketStream<Stream>,
    messages: [Message; N],
) -> Result<(), DialError> {
    for message in messages {
        socket.feed(message).await.map_err(Box::new)?;
    }
    socket.flush().await.map_err(Box::new)?;
    Ok(())
}
