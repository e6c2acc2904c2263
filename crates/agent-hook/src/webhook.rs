//! The webhook: a POST that asks where the agent for a call is, and what it answers.

use std::collections::BTreeMap;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::http::{Request, StatusCode, header};

use bytes::Bytes;

use crate::credentials::{Credentials, Signed};
use crate::facts::CallFacts;
use crate::transport::{Transport, Url};
use crate::twilio::{account_sid, call_sid, custom_parameters};
use crate::twiml::{self, MAX_TWIML, Twiml};

/// What a form leaves as it is (HTML's application/x-www-form-urlencoded).
const FORM: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'*');

/// Asks the webhook.
pub(crate) async fn ask(
    transport: &Transport,
    credentials: &Credentials,
    url: &Url,
    facts: &CallFacts,
) -> Result<Twiml, String> {
    let form = form(facts);
    let call_sid = call_sid(&facts.call);
    let signed = Signed {
        url: url.as_str(),
        call_sid: &call_sid,
        form: &form,
        now: timebase::wall_now().0 / 1000,
    };
    let mut request = Request::post(url.target())
        .header(header::HOST, url.authority())
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(header::ACCEPT, "text/xml, application/xml")
        .body(Full::new(Bytes::from(encode(&form))))
        .map_err(|error| error.to_string())?;
    request.headers_mut().extend(credentials.headers(signed)?);
    let stream = transport
        .connect(url)
        .await
        .map_err(|error| error.to_string())?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    let answering = async {
        let answer = sender.send_request(request).await;
        let answer = answer.map_err(|error| error.to_string())?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MAX_TWIML).collect().await;
        let body = body.map_err(|error| error.to_string())?.to_bytes();
        Ok::<(StatusCode, Bytes), String>((status, body))
    };
    // the connection's own failure is the answer's as well
    let mut driving = JoinSet::new();
    driving.spawn(connection);
    let answer = answering.await;
    let (status, body) = answer?;
    if status != StatusCode::OK {
        return Err(format!("the webhook answered {status}"));
    }
    let text = std::str::from_utf8(&body).map_err(|_| "TwiML that is not UTF-8".to_owned())?;
    twiml::parse(text)
}

/// The fields of the form: Twilio's own, and the inputContext's with the prefix `Hook_`.
fn form(facts: &CallFacts) -> Vec<(String, String)> {
    let mut form: Vec<(String, String)> = [
        ("CallSid", call_sid(&facts.call)),
        ("AccountSid", account_sid(&facts.account)),
        ("From", facts.from.clone()),
        ("To", facts.to.clone()),
        ("Direction", "inbound".to_owned()),
        ("CallStatus", "ringing".to_owned()),
        ("ApiVersion", "2010-04-01".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec();
    let parameters: BTreeMap<String, String> = custom_parameters(facts);
    // the token is for the agent, whose stream comes later; a webhook may be somebody else
    let told = parameters
        .into_iter()
        .filter(|(name, _)| !matches!(name.as_str(), "hookToken" | "from_number" | "to_number"));
    form.extend(told.map(|(name, value)| (format!("Hook_{name}"), value)));
    form
}

fn encode(form: &[(String, String)]) -> String {
    let mut body = String::new();
    for (name, value) in form {
        if !body.is_empty() {
            body.push('&');
        }
        for (text, end) in [(name, "="), (value, "")] {
            let encoded = utf8_percent_encode(text, FORM).to_string();
            body.push_str(&encoded.replace("%20", "+"));
            body.push_str(end);
        }
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::tests::facts;

    #[test]
    fn form_holds_twilios_fields_and_the_input_context() {
        let form = form(&facts());
        let value = |name: &str| {
            let found = form.iter().find(|(field, _)| field == name);
            found.map(|(_, value)| value.as_str())
        };
        assert_eq!(value("Direction"), Some("inbound"));
        assert_eq!(value("CallStatus"), Some("ringing"));
        assert_eq!(value("Hook_taskName"), Some("pay"));
        assert!(value("Hook_inputContext").is_some());
        assert_eq!(value("Hook_hookToken"), None);
    }

    #[test]
    fn form_is_encoded_as_browsers_do() {
        let form = vec![
            ("From".to_owned(), "+1 555".to_owned()),
            ("a&b".to_owned(), "é=".to_owned()),
        ];
        assert_eq!(encode(&form), "From=%2B1+555&a%26b=%C3%A9%3D");
    }
}
