//! The part of TwiML that says where a voice agent is.

use roxmltree::{Document, Node};

/// The longest document that is read.
pub(crate) const MAX_TWIML: usize = 64 * 1024;

/// The most parameters that are taken over.
const MAX_PARAMETERS: usize = 64;

/// What a document says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Twiml {
    /// `<Connect><Stream url>`: the agent is there.
    Stream {
        url: String,
        /// `<Parameter name value>`, in their order.
        parameters: Vec<(String, String)>,
        /// Verbs before it that were passed over.
        skipped: Vec<String>,
    },
    /// `<Dial>`: the caller is to be connected with a number.
    Dial { target: String },
    /// `<Reject>`; true when its reason is `busy`.
    Reject { busy: bool },
    /// `<Hangup>`.
    Hangup,
}

/// Reads a document.
///
/// The error names what is wrong, for a log line or an answer.
pub(crate) fn parse(text: &str) -> Result<Twiml, String> {
    if text.len() > MAX_TWIML {
        return Err(format!("TwiML of more than {MAX_TWIML} bytes"));
    }
    let document = Document::parse(text).map_err(|error| format!("not XML: {error}"))?;
    let root = document.root_element();
    if root.tag_name().name() != "Response" {
        return Err(format!("<{}> is not <Response>", root.tag_name().name()));
    }
    let mut skipped = Vec::new();
    for verb in root.children().filter(Node::is_element) {
        match verb.tag_name().name() {
            "Say" | "Pause" | "Play" => skipped.push(verb.tag_name().name().to_owned()),
            "Connect" => return stream(verb, skipped),
            "Dial" => return dial(verb),
            "Reject" => {
                return Ok(Twiml::Reject {
                    busy: verb.attribute("reason") == Some("busy"),
                });
            }
            "Hangup" => return Ok(Twiml::Hangup),
            other => return Err(format!("<{other}> is not supported")),
        }
    }
    Err("<Response> has neither <Connect>, <Dial>, <Reject> nor <Hangup>".to_owned())
}

fn stream(connect: Node<'_, '_>, skipped: Vec<String>) -> Result<Twiml, String> {
    let stream = connect
        .children()
        .find(|child| child.has_tag_name("Stream"))
        .ok_or("<Connect> has no <Stream>")?;
    let url = stream.attribute("url").ok_or("<Stream> has no url")?;
    let mut parameters = Vec::new();
    for parameter in stream.children().filter(Node::is_element) {
        if !parameter.has_tag_name("Parameter") {
            return Err(format!("<{}> in <Stream>", parameter.tag_name().name()));
        }
        let name = parameter
            .attribute("name")
            .ok_or("<Parameter> has no name")?;
        let value = parameter
            .attribute("value")
            .ok_or("<Parameter> has no value")?;
        if parameters.len() == MAX_PARAMETERS {
            return Err(format!("more than {MAX_PARAMETERS} <Parameter>"));
        }
        parameters.push((name.to_owned(), value.to_owned()));
    }
    Ok(Twiml::Stream {
        url: url.to_owned(),
        parameters,
        skipped,
    })
}

/// A number as text, or in `<Number>` or `<Sip>`.
fn dial(dial: Node<'_, '_>) -> Result<Twiml, String> {
    let nested = dial.children().find(Node::is_element);
    let target = nested.unwrap_or(dial).text().unwrap_or_default().trim();
    if target.is_empty() {
        Err("<Dial> names nobody".to_owned())
    } else {
        Ok(Twiml::Dial {
            target: target.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stream_is_found_behind_what_is_passed_over() {
        let text = r#"<?xml version="1.0" encoding="UTF-8"?>
            <Response><Say>Hi</Say><Pause length="1"/>
            <Connect><Stream url="wss://a.example/x"><Parameter name="a" value="1 &amp; 2"/></Stream></Connect>
            </Response>"#;
        let expected = Twiml::Stream {
            url: "wss://a.example/x".to_owned(),
            parameters: vec![("a".to_owned(), "1 & 2".to_owned())],
            skipped: vec!["Say".to_owned(), "Pause".to_owned()],
        };
        assert_eq!(parse(text), Ok(expected));
    }

    #[test]
    fn ends_are_read() {
        let reject = |text: &str| parse(&format!("<Response>{text}</Response>"));
        assert_eq!(reject("<Reject/>"), Ok(Twiml::Reject { busy: false }));
        let busy = r#"<Reject reason="busy"/>"#;
        assert_eq!(reject(busy), Ok(Twiml::Reject { busy: true }));
        assert_eq!(reject("<Hangup/>"), Ok(Twiml::Hangup));
        let target = "+15550100".to_owned();
        assert_eq!(
            reject("<Dial> +15550100 </Dial>"),
            Ok(Twiml::Dial {
                target: target.clone()
            })
        );
        assert_eq!(
            reject("<Dial><Number>+15550100</Number></Dial>"),
            Ok(Twiml::Dial { target })
        );
    }

    #[test]
    fn anything_else_is_an_error_that_names_it() {
        let table = [
            ("", "XML"),
            ("<a/>", "<a>"),
            ("<Response/>", "neither"),
            ("<Response><Gather/></Response>", "<Gather>"),
            ("<Response><Connect/></Response>", "<Stream>"),
            ("<Response><Connect><Stream/></Connect></Response>", "url"),
            ("<Response><Dial/></Response>", "<Dial>"),
            (
                "<!DOCTYPE x [<!ENTITY a \"b\">]><Response><Say>&a;</Say></Response>",
                "XML",
            ),
        ];
        for (text, what) in table {
            let error = parse(text).unwrap_err();
            assert!(error.contains(what), "{text}: {error}");
        }
    }
}
