//! How a call's media are: what came, what is missing, and what a listener would say to it.

use serde::Serialize;
use utoipa::ToSchema;

/// The media of a call's legs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CallMedia {
    /// The caller's leg.
    pub caller: LegMedia,
    /// The leg of the return target, where there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub target: Option<LegMedia>,
}

/// The media of one leg: what came from it, and what it says of what it hears.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LegMedia {
    /// RTP packets that came.
    pub packets_in: u64,
    /// RTP packets that were sent.
    pub packets_out: u64,
    /// Packets that never came.
    pub lost: u64,
    /// The same in percent of those expected.
    pub loss_percent: f32,
    /// Packets that came too late to be played.
    pub late: u64,
    /// Packets' worth of audio thrown away because too much had piled up.
    pub discarded: u64,
    /// Packets that came twice.
    pub duplicates: u64,
    /// Packets from an address that was not signalled.
    pub foreign: u64,
    /// Audio that was made up because packets were missing, in milliseconds.
    pub concealed_ms: u64,
    /// Interarrival jitter (RFC 3550) in milliseconds.
    pub jitter_ms: f32,
    /// How long a usual packet waits before it is played, in milliseconds.
    pub delay_ms: u32,
    /// To the peer and back, by RTCP, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub round_trip_ms: Option<f32>,
    /// The estimate of what a listener says to what comes, 1 to 4.5 (ITU-T G.107).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub mos: Option<f32>,
    /// The level of speech that comes, in dBm0.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub level_in: Option<f32>,
    /// The level of speech that is sent, in dBm0.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub level_out: Option<f32>,
    /// Digits that came.
    pub digits_in: u64,
    /// What the peer says of what it hears, by RTCP.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub remote: Option<RemoteMedia>,
}

/// What a peer says of what it hears.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RemoteMedia {
    /// Packets that did not reach it; negative where some came twice.
    pub lost: i32,
    /// The same in percent of those sent.
    pub loss_percent: f32,
    /// Interarrival jitter in milliseconds.
    pub jitter_ms: f32,
    /// The estimate of what its listener says.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub mos: Option<f32>,
}
