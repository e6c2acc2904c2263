//! The one request of Twilio's REST interface that frameworks make to end a call:
//! `POST /2010-04-01/Accounts/{AccountSid}/Calls/{CallSid}.json`.

use call_control::transfer::{OutputContext, TransferType, Variables};
use serde_json::Value;

use crate::twiml::{self, Twiml};

/// What such a request asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum CallUpdate {
    /// `Status=completed`: the agent is done, without a result.
    Completed,
    /// `Twiml=<Dial>`: the caller goes to a human agent.
    Transfer(OutputContext),
}

/// Why a request is answered 400.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RestError(String);

impl CallUpdate {
    /// Reads the form of the request.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn from_form(form: &[(String, String)]) -> Result<Self, RestError> {
        let field = |name: &str| {
            let found = form.iter().find(|(field, _)| field == name);
            found.map(|(_, value)| value.as_str())
        };
        match (field("Status"), field("Twiml")) {
            (Some("completed" | "canceled"), None) => Ok(Self::Completed),
            (Some(other), None) => Err(RestError(format!("Status is not completed: {other:?}"))),
            (None, Some(text)) => match twiml::parse(text).map_err(RestError)? {
                Twiml::Dial { target } => Ok(Self::Transfer(to_human(target))),
                Twiml::Hangup => Ok(Self::Completed),
                Twiml::Stream { .. } | Twiml::Reject { .. } => Err(RestError(
                    "Twiml must be <Dial> or <Hangup> while the call stands".to_owned(),
                )),
            },
            (Some(_), Some(_)) => Err(RestError("either Status or Twiml, not both".to_owned())),
            (None, None) => Err(RestError("neither Status nor Twiml is given".to_owned())),
        }
    }
}

fn to_human(target: String) -> OutputContext {
    let mut transfer_variables = Variables::new();
    transfer_variables.insert("target".to_owned(), Value::String(target));
    OutputContext {
        transfer_type: TransferType::Agent,
        current_task_name: None,
        reference_variables: Variables::new(),
        transfer_variables,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(fields: &[(&str, &str)]) -> Result<CallUpdate, RestError> {
        let form: Vec<(String, String)> = fields
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        CallUpdate::from_form(&form)
    }

    #[test]
    fn hang_up_and_dial_are_understood() {
        assert_eq!(read(&[("Status", "completed")]), Ok(CallUpdate::Completed));
        let dial = "<Response><Dial>+15550100</Dial></Response>";
        let Ok(CallUpdate::Transfer(output)) = read(&[("Twiml", dial)]) else {
            panic!("not a transfer")
        };
        assert_eq!(output.transfer_type, TransferType::Agent);
        assert_eq!(output.transfer_variables["target"], "+15550100");
    }

    #[test]
    fn anything_else_is_refused_with_its_reason() {
        for fields in [
            &[][..],
            &[("Status", "in-progress")],
            &[("Twiml", "<Response><Reject/></Response>")],
            &[("Twiml", "nonsense")],
            &[("Status", "completed"), ("Twiml", "<Response/>")],
        ] {
            assert!(read(fields).is_err(), "{fields:?}");
        }
    }
}
