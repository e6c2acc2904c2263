//! The OpenAPI document: the shapes that bodies are read from and written in.

use std::collections::HashMap;

use serde_json::Value;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, SecurityScheme};
use utoipa::{Modify, OpenApi, ToSchema};

/// The document's root.
#[derive(Debug, OpenApi)]
#[openapi(
    info(
        title = "Call transfers",
        description = "Register a call transfer, route the call, fetch what the agent made of it."
    ),
    paths(crate::routes::register, crate::routes::fetch),
    components(schemas(crate::failure::ErrorBody)),
    modifiers(&Keys),
    security(("asapp-api-id" = [], "asapp-api-secret" = []))
)]
pub(crate) struct Document;

/// The two headers of every request.
struct Keys;

impl Modify for Keys {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let components = openapi.components.get_or_insert_default();
        for name in ["asapp-api-id", "asapp-api-secret"] {
            components.add_security_scheme(
                name,
                SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new(name))),
            );
        }
    }
}

/// A call transfer to be registered. Unknown fields are ignored.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase")]
#[allow(
    dead_code,
    reason = "the shape of what `registration` reads field by field"
)]
pub(crate) struct Registration {
    /// The customer's own id, unique in the account: visible ASCII.
    #[schema(min_length = 1, max_length = 255, pattern = "^[!-~]+$")]
    id: String,
    /// Transfers that share it are one conversation.
    #[schema(min_length = 1, max_length = 255)]
    external_conversation_id: String,
    /// How the call comes to us.
    #[schema(rename = "type")]
    kind: Kind,
    /// How the call is returned.
    #[schema(nullable = false)]
    sip: Option<RegistrationSip>,
    /// What the agent is to know.
    #[schema(nullable = false)]
    input_context: Option<InputContext>,
}

/// How the call is returned.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase")]
#[allow(dead_code, reason = "as above")]
pub(crate) struct RegistrationSip {
    /// Where to; required when the return type is REFER or INVITE. `returnUri` is read as well.
    #[schema(
        rename = "returnURI",
        max_length = 1024,
        nullable = false,
        example = "sip:queue@sbc.example.com"
    )]
    return_uri: Option<String>,
    /// Overrides the account's default.
    #[schema(nullable = false)]
    return_transfer_type: Option<ReturnTransferType>,
    /// Digest credentials for an INVITE return; never shown again.
    #[schema(nullable = false)]
    return_invite_authentication: Option<Credentials>,
}

/// Digest credentials.
#[derive(Debug, ToSchema)]
#[allow(dead_code, reason = "as above")]
pub(crate) struct Credentials {
    /// User name.
    #[schema(write_only)]
    username: String,
    /// Password.
    #[schema(write_only, format = "password")]
    password: String,
}

/// What the agent is to know.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase")]
#[allow(dead_code, reason = "as above")]
pub(crate) struct InputContext {
    /// The task to begin with.
    #[schema(nullable = false)]
    task_name: Option<String>,
    /// Any JSON values by name; kept as they came.
    #[schema(nullable = false)]
    input_variables: Option<HashMap<String, Value>>,
}

/// What the agent made of the call.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase")]
#[allow(dead_code, reason = "the shape of `call_control`'s type")]
pub(crate) struct OutputContext {
    /// Who takes the caller next.
    transfer_type: TransferType,
    /// The task the agent was on.
    #[schema(nullable = false)]
    current_task_name: Option<String>,
    /// Any JSON values by name.
    reference_variables: HashMap<String, Value>,
    /// Any JSON values by name.
    transfer_variables: HashMap<String, Value>,
}

/// How the call comes to us.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "SCREAMING_SNAKE_CASE")]
#[allow(dead_code, reason = "as above")]
pub(crate) enum Kind {
    /// By SIP, with the id in the header X-ASAPP-CallTransferId.
    Sip,
}

/// How a call is returned.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "UPPERCASE")]
#[allow(dead_code, reason = "as above")]
pub(crate) enum ReturnTransferType {
    /// The call ends here and the SBC takes the caller on.
    Bye,
    /// REFER to the return URI.
    Refer,
    /// A new INVITE to the return URI, bridged to the caller.
    Invite,
}

/// Where a call transfer is in its life.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "UPPERCASE")]
#[allow(dead_code, reason = "as above")]
pub(crate) enum Status {
    /// Registered, waiting for the call.
    Active,
    /// The agent has the call.
    Ongoing,
    /// Over.
    Completed,
    /// Nobody called in time.
    Expired,
}

/// Who takes the caller next.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "UPPERCASE")]
#[allow(dead_code, reason = "as above")]
pub(crate) enum TransferType {
    /// A human agent.
    Agent,
    /// The customer's system.
    System,
}
