//! What the call asks of its media, in the media plane's own words.

use call_control::MediaRequest;
use media_bridge::MediaCommand;

/// The command of a request; none of those that open and close, want an
/// answer, or a prompt that the trunk knows.
pub(super) const fn command(request: &MediaRequest) -> Option<MediaCommand> {
    Some(match *request {
        MediaRequest::Open { .. }
        | MediaRequest::Ask
        | MediaRequest::Comfort
        | MediaRequest::Close => return None,
        MediaRequest::Connect { side, media } => MediaCommand::Connect { side, media },
        MediaRequest::Disconnect { side } => MediaCommand::Disconnect(side),
        MediaRequest::Pressed {
            side,
            key: digit,
            duration_ms,
        } => MediaCommand::Pressed {
            side,
            digit,
            duration_ms,
        },
        MediaRequest::Clear => MediaCommand::Clear,
        MediaRequest::Tone(tone) => MediaCommand::Tone(tone),
        MediaRequest::Bridge(on) => MediaCommand::Bridge(on),
        MediaRequest::Drain => MediaCommand::Drain {
            skip_trailing_silence: true,
        },
        MediaRequest::Watch(limit) => MediaCommand::WatchTimeout(limit),
    })
}
