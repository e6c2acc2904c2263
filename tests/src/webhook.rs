//! A webhook: it is asked over HTTP where the agent is, and answers TwiML.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::lab::PATIENCE;

/// Where a webhook waits to be asked.
#[derive(Debug)]
pub struct Webhook {
    listener: TcpListener,
}

/// What a webhook was asked.
#[derive(Debug)]
pub struct Asked {
    head: String,
    form: Vec<(String, String)>,
}

impl Webhook {
    /// On a free port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self { listener }
    }

    /// What to set `agent.hook` to.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/twiml", self.listener.local_addr().unwrap())
    }

    /// Takes the next request, and answers it.
    pub async fn answer(&self, twiml: &str) -> Asked {
        let accepted = tokio::time::timeout(PATIENCE, self.listener.accept()).await;
        let (mut stream, _) = accepted.expect("nobody asks the webhook").unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        let length = value(&head, "content-length").parse().unwrap();
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.unwrap();
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{twiml}",
            twiml.len()
        );
        stream.write_all(answer.as_bytes()).await.unwrap();
        let body = String::from_utf8(body).unwrap();
        let fields = body.split('&').map(|field| field.split_once('=').unwrap());
        let form = fields.map(|(name, value)| (decoded(name), decoded(value)));
        Asked {
            head,
            form: form.collect(),
        }
    }
}

impl Asked {
    /// A field of the form; empty when it is not there.
    #[must_use]
    pub fn field(&self, name: &str) -> &str {
        let found = self.form.iter().find(|(field, _)| field == name);
        found.map_or("", |(_, value)| value)
    }

    /// A header; empty when it is not there.
    #[must_use]
    pub fn header(&self, name: &str) -> String {
        value(&self.head, name)
    }

    /// What X-Twilio-Signature must be: base64 of HMAC-SHA1 over the URL and the sorted fields.
    #[must_use]
    pub fn signature(&self, url: &str, token: &str) -> String {
        let mut sorted = self.form.clone();
        sorted.sort();
        let fields: String = sorted
            .into_iter()
            .map(|(name, value)| name + &value)
            .collect();
        let mut mac = Hmac::<Sha1>::new_from_slice(token.as_bytes()).unwrap();
        mac.update(format!("{url}{fields}").as_bytes());
        STANDARD.encode(mac.finalize().into_bytes())
    }
}

fn value(head: &str, name: &str) -> String {
    let mut lines = head.lines().filter_map(|line| line.split_once(':'));
    let found = lines.find(|(field, _)| field.eq_ignore_ascii_case(name));
    found.map_or_else(String::new, |(_, value)| value.trim().to_owned())
}

fn decoded(text: &str) -> String {
    let spaced = text.replace('+', " ");
    let mut bytes = Vec::new();
    let mut rest = spaced.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next().unwrap(), rest.next().unwrap()];
            let digits = std::str::from_utf8(&digits).unwrap();
            bytes.push(u8::from_str_radix(digits, 16).unwrap());
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).unwrap()
}
