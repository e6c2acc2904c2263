//! A voice agent on Twilio's wire that says what it hears: a process of its own, so that its CPU time is not the gateway's.

use std::io;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_tungstenite::accept_async;
use tokio_tungstenite::tungstenite::Message;

/// What the agent is told.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct EchoOrder {
    /// Where it listens.
    #[arg(long)]
    listen: SocketAddr,
    /// From this many seconds after a stream's start, read only a message in half a second.
    #[arg(long)]
    slow_after: Option<u64>,
}

/// The agent as a child of this process.
pub(crate) struct EchoAgent {
    pub(crate) child: Child,
    pub(crate) listen: SocketAddr,
    slow_after: Option<u64>,
}

impl EchoAgent {
    /// Starts it and waits until it listens.
    pub(crate) fn start(listen: SocketAddr, slow_after: Option<u64>) -> io::Result<Self> {
        let child = spawn(listen, slow_after)?;
        Ok(Self {
            child,
            listen,
            slow_after,
        })
    }

    /// Starts it again where it was.
    pub(crate) fn restart(&mut self) -> io::Result<()> {
        self.child = spawn(self.listen, self.slow_after)?;
        Ok(())
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://{}/media", self.listen)
    }
}

impl Drop for EchoAgent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(listen: SocketAddr, slow_after: Option<u64>) -> io::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .arg("echo-agent")
        .arg("--listen")
        .arg(listen.to_string());
    if let Some(after) = slow_after {
        command.arg("--slow-after").arg(after.to_string());
    }
    let child = command.stdin(Stdio::null()).spawn()?;
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(10) {
        if std::net::TcpStream::connect(listen).is_ok() {
            return Ok(child);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Err(io::Error::other("the echo agent does not listen"))
}

/// Runs the agent until the process is ended.
pub(crate) fn run(order: &EchoOrder) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = listener(order)?;
        let slow_after = order.slow_after.map(Duration::from_secs);
        loop {
            let (stream, _) = listener.accept().await?;
            tokio::spawn(serve(stream, slow_after));
        }
    })
}

/// A slow reader's buffer is small, so that its slowness is felt in seconds.
fn listener(order: &EchoOrder) -> io::Result<TcpListener> {
    let socket = if order.listen.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    socket.set_reuseaddr(true)?;
    if order.slow_after.is_some() {
        socket.set_recv_buffer_size(4096)?;
    }
    socket.bind(order.listen)?;
    socket.listen(1024)
}

async fn serve(stream: TcpStream, slow_after: Option<Duration>) {
    let _ = stream.set_nodelay(true);
    // a connection that is only looked at, or that breaks, is over
    let Ok(mut socket) = accept_async(stream).await else {
        return;
    };
    let began = Instant::now();
    while let Some(Ok(message)) = socket.next().await {
        if slow_after.is_some_and(|after| began.elapsed() > after) {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        let Message::Text(text) = message else {
            continue;
        };
        if text.contains("\"event\":\"stop\"") {
            let _ = socket.close(None).await;
            return;
        }
        if let Some(echo) = echo_of(&text)
            && socket.send(Message::text(echo)).await.is_err()
        {
            return;
        }
    }
}

/// The media message that gives a media message's audio back.
fn echo_of(text: &str) -> Option<String> {
    let value = |name: &str| text.split(name).nth(1)?.split('"').next();
    let payload = value("\"payload\":\"")?;
    let stream = value("\"streamSid\":\"")?;
    Some(format!(
        r#"{{"event":"media","streamSid":"{stream}","media":{{"payload":"{payload}"}}}}"#
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_are_given_back_and_nothing_else_is() {
        let heard =
            r#"{"event":"media","media":{"track":"inbound","payload":"/wA="},"streamSid":"MZ1"}"#;
        let said = r#"{"event":"media","streamSid":"MZ1","media":{"payload":"/wA="}}"#;
        assert_eq!(echo_of(heard).as_deref(), Some(said));
        assert_eq!(echo_of(r#"{"event":"connected","protocol":"Call"}"#), None);
    }
}
