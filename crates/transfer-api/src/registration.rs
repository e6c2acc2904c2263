//! The body of a registration: read (400), then held against the rules (422).

use call_control::transfer::{
    InputContext, NewTransfer, ReturnCredentials, ReturnType, SipReturn, TransferId, UriSpelling,
};

use crate::accounts::Account;
use crate::failure::Failure;
use crate::json::{Fields, parse};
use crate::return_uri;
use crate::targets::OwnAddresses;

const LONGEST_ID: usize = 255;

/// The transfer that a body asks for.
pub(crate) fn read(
    body: &[u8],
    account: &Account,
    own: &OwnAddresses,
) -> Result<NewTransfer, Failure> {
    let mut fields = Fields::of_body(parse(body)?)?;
    let id = fields.text("id")?;
    let external_conversation_id = fields.text("externalConversationId")?;
    let kind = fields.text("type")?;
    check_kind(&fields, &kind)?;
    let sip = fields
        .optional_fields("sip", "sip.")?
        .map(read_sip)
        .transpose()?;
    let input = fields
        .optional_fields("inputContext", "inputContext.")?
        .map(read_input)
        .transpose()?;
    check_ids(&id, &external_conversation_id)?;
    check_sip(sip.as_ref(), account, own)?;
    Ok(NewTransfer {
        account: account.id.clone(),
        id: TransferId(id),
        external_conversation_id,
        sip,
        input,
    })
}

fn check_kind(fields: &Fields, kind: &str) -> Result<(), Failure> {
    match kind {
        "SIP" => Ok(()),
        "PHONE_NUMBER" => Err(fields.malformed("type", "PHONE_NUMBER is not enabled; use SIP")),
        _ => Err(fields.malformed("type", "must be SIP")),
    }
}

fn read_sip(mut sip: Fields) -> Result<SipReturn, Failure> {
    if sip.has("returnURI") && sip.has("returnUri") {
        return Err(sip.malformed(
            "returnURI",
            "and sip.returnUri are the same field; give one of them",
        ));
    }
    let spelling = if sip.has("returnUri") {
        UriSpelling::ReturnUri
    } else {
        UriSpelling::ReturnURI
    };
    let return_uri = match spelling {
        UriSpelling::ReturnURI => sip.optional_text("returnURI")?,
        UriSpelling::ReturnUri => sip.optional_text("returnUri")?,
    };
    let return_type = match sip.optional_text("returnTransferType")?.as_deref() {
        None => None,
        Some("BYE") => Some(ReturnType::Bye),
        Some("REFER") => Some(ReturnType::Refer),
        Some("INVITE") => Some(ReturnType::Invite),
        Some(_) => {
            return Err(sip.malformed("returnTransferType", "must be one of BYE, REFER, INVITE"));
        }
    };
    let path = "sip.returnInviteAuthentication.";
    let credentials = sip
        .optional_fields("returnInviteAuthentication", path)?
        .map(read_credentials)
        .transpose()?;
    Ok(SipReturn {
        return_uri,
        spelling,
        return_type,
        credentials,
    })
}

fn read_credentials(mut fields: Fields) -> Result<ReturnCredentials, Failure> {
    Ok(ReturnCredentials {
        username: fields.text("username")?,
        password: fields.text("password")?,
    })
}

fn read_input(mut input: Fields) -> Result<InputContext, Failure> {
    Ok(InputContext {
        task_name: input.optional_text("taskName")?,
        input_variables: input.optional_map("inputVariables")?,
    })
}

/// The id travels later as a header's value.
fn check_ids(id: &str, conversation: &str) -> Result<(), Failure> {
    let visible = id.bytes().all(|byte| byte.is_ascii_graphic());
    if id.is_empty() || id.len() > LONGEST_ID || !visible {
        return Err(Failure::Refused(
            "id must be 1 to 255 visible ASCII characters".to_owned(),
        ));
    }
    if !(1..=LONGEST_ID).contains(&conversation.chars().count()) || conversation.contains('\0') {
        return Err(Failure::Refused(
            "externalConversationId must be 1 to 255 characters".to_owned(),
        ));
    }
    Ok(())
}

fn check_sip(
    sip: Option<&SipReturn>,
    account: &Account,
    own: &OwnAddresses,
) -> Result<(), Failure> {
    let return_type = sip
        .and_then(|sip| sip.return_type)
        .unwrap_or(account.default_return);
    let spelled = match sip.map(|sip| sip.spelling).unwrap_or_default() {
        UriSpelling::ReturnURI => "sip.returnURI",
        UriSpelling::ReturnUri => "sip.returnUri",
    };
    let Some(uri) = sip.and_then(|sip| sip.return_uri.as_deref()) else {
        return match return_type {
            ReturnType::Bye => Ok(()),
            ReturnType::Refer | ReturnType::Invite => Err(Failure::Refused(format!(
                "{spelled} is required when the return type is {return_type}"
            ))),
        };
    };
    return_uri::check(uri, return_type, account, own)
        .map_err(|problem| Failure::Refused(format!("{spelled} {problem}")))?;
    let hidden = sip.and_then(|sip| sip.credentials.as_ref());
    let controls = hidden.is_some_and(|it| {
        it.username
            .chars()
            .chain(it.password.chars())
            .any(char::is_control)
    });
    if controls {
        let problem = "sip.returnInviteAuthentication must not hold control characters";
        return Err(Failure::Refused(problem.to_owned()));
    }
    Ok(())
}
