//! Rules for the gateway.

use super::{Linter, Stage};
use crate::wire::{
    GatewayDtmf, GatewayMark, GatewayMedia, GatewayMessage, PhaseName, Start, TrackName,
};

impl Linter {
    pub(super) fn gateway(&mut self, message: &GatewayMessage) {
        self.order(message);
        match message {
            GatewayMessage::Connected(connected) => {
                if connected.protocol != "Call" || connected.version != "1.0.0" {
                    self.note("connected", "protocol must be \"Call\", version \"1.0.0\"");
                }
            }
            GatewayMessage::Start(start) => self.start(start),
            GatewayMessage::Media(media) => self.gateway_media(media),
            GatewayMessage::Dtmf(dtmf) => self.dtmf(dtmf),
            GatewayMessage::Mark(mark) => self.gateway_mark(mark),
            GatewayMessage::Stop(stop) => {
                self.numbered(&stop.sequence_number, &stop.stream_sid);
                if self
                    .stream
                    .call_sid
                    .as_ref()
                    .is_some_and(|known| *known != stop.stop.call_sid)
                {
                    self.note("sid", "callSid is not that of start");
                }
                self.unanswered();
            }
            GatewayMessage::Welcome(_) => self.after_hello("hook.welcome"),
            GatewayMessage::Phase(said) => {
                self.after_hello("hook.phase");
                self.stream.bridged = said.phase == PhaseName::Bridged;
            }
            GatewayMessage::TransferResult(_) => self.after_hello("hook.transferResult"),
            GatewayMessage::Flow(_) => self.after_hello("hook.flow"),
            GatewayMessage::Completed(completed) => {
                if self.stream.agent_heard && self.stream.completed.is_none() {
                    self.note("completed", "hook.completed answers no hook.complete");
                }
                if completed.accepted {
                    self.stream.completed = Some(true);
                } else if completed.error.is_none() {
                    self.note("completed", "a refusal says no error");
                }
            }
            GatewayMessage::Error(_) => {}
        }
    }

    /// connected, start, and then everything else, until stop.
    fn order(&mut self, message: &GatewayMessage) {
        let stage = self.stream.stage;
        let next = match (stage, message) {
            (Stage::Nothing, GatewayMessage::Connected(_)) => Stage::Connected,
            (Stage::Nothing | Stage::Connected, GatewayMessage::Start(_)) => Stage::Started,
            (Stage::Started, GatewayMessage::Start(_)) => {
                self.note("order", format!("a second {}", message.event()));
                stage
            }
            (Stage::Started | Stage::Stopped, GatewayMessage::Connected(_)) => {
                // a new stream in the same recording: the connection was lost, and made again
                let agent_heard = self.stream.agent_heard;
                self.stream = super::Stream {
                    agent_heard,
                    ..super::Stream::default()
                };
                Stage::Connected
            }
            (Stage::Started, GatewayMessage::Stop(_)) => Stage::Stopped,
            (Stage::Started, _) => stage,
            (Stage::Stopped, _) => {
                self.note("order", format!("{} after stop", message.event()));
                stage
            }
            (Stage::Nothing, _) => {
                self.note(
                    "order",
                    format!("{} before connected and start", message.event()),
                );
                Stage::Started
            }
            (Stage::Connected, _) => {
                self.note(
                    "order",
                    format!("{} between connected and start", message.event()),
                );
                stage
            }
        };
        self.stream.stage = next;
    }

    fn start(&mut self, start: &Start) {
        self.number(&start.sequence_number);
        if start.sequence_number != "1" {
            self.note(
                "sequence",
                format!(
                    "start has the sequenceNumber {:?}, not \"1\"",
                    start.sequence_number
                ),
            );
        }
        let body = &start.start;
        for (name, sid, prefix) in [
            ("streamSid", &start.stream_sid, "MZ"),
            ("callSid", &body.call_sid, "CA"),
            ("accountSid", &body.account_sid, "AC"),
        ] {
            if !is_sid(sid, prefix) {
                self.note(
                    "sid",
                    format!("{name} is not {prefix} and 32 hexadecimal digits: {sid:?}"),
                );
            }
        }
        if body.stream_sid != start.stream_sid {
            self.note("sid", "streamSid inside start is another than outside");
        }
        let format = &body.media_format;
        if format.encoding != "audio/x-mulaw" || format.sample_rate != 8000 || format.channels != 1
        {
            self.note("media-format", "mediaFormat is not audio/x-mulaw, 8000, 1");
        }
        self.stream.stream_sid = Some(start.stream_sid.clone());
        self.stream.call_sid = Some(body.call_sid.clone());
        self.stream.bridged = body.tracks.contains(&TrackName::Outbound);
    }

    fn gateway_media(&mut self, media: &GatewayMedia) {
        self.numbered(&media.sequence_number, &media.stream_sid);
        let body = &media.media;
        if let Some(audio) = self.payload(&body.payload)
            && audio.len() != 160
        {
            self.note(
                "media-size",
                format!("{} bytes are not the 160 of 20 ms", audio.len()),
            );
        }
        let name = match body.track {
            TrackName::Inbound => "inbound",
            TrackName::Outbound => "outbound",
        };
        if body.track == TrackName::Outbound && !self.stream.bridged {
            self.note("track", "outbound is heard before the caller is bridged");
        }
        let (Some(chunk), Some(timestamp)) = (decimal(&body.chunk), decimal(&body.timestamp))
        else {
            self.note(
                "media-number",
                "chunk and timestamp must be decimal strings",
            );
            return;
        };
        if chunk == 0 || timestamp != (chunk - 1) * 20 {
            self.note(
                "timestamp",
                format!(
                    "chunk {chunk} has the timestamp {timestamp}, not {}",
                    chunk.saturating_sub(1) * 20
                ),
            );
        }
        // a gap is audio that was dropped, and told by the number
        if self
            .stream
            .chunks
            .insert(name, chunk)
            .is_some_and(|last| chunk <= last)
        {
            self.note("timestamp", format!("{name} goes back to chunk {chunk}"));
        }
    }

    fn dtmf(&mut self, dtmf: &GatewayDtmf) {
        self.numbered(&dtmf.sequence_number, &dtmf.stream_sid);
        if dtmf.dtmf.track != "inbound_track" {
            self.note("dtmf", "track must be \"inbound_track\"");
        }
        let mut digits = dtmf.dtmf.digit.chars();
        let known = |c| matches!(c, '0'..='9' | '*' | '#' | 'A'..='D');
        if !digits.next().is_some_and(known) || digits.next().is_some() {
            self.note("dtmf", "digit must be one of 0-9, *, #, A-D");
        }
    }

    fn gateway_mark(&mut self, mark: &GatewayMark) {
        self.numbered(&mark.sequence_number, &mark.stream_sid);
        if !self.stream.agent_heard {
            return;
        }
        match self
            .stream
            .marks
            .iter()
            .position(|(name, _)| *name == mark.mark.name)
        {
            Some(0) => {
                self.stream.marks.remove(0);
            }
            Some(place) => {
                self.stream.marks.remove(place);
                self.note("mark", "given back before one that was asked for earlier");
            }
            None => self.note("mark", "given back without having been asked for"),
        }
    }

    /// At the end every mark must have been given back.
    fn unanswered(&mut self) {
        for (name, line) in std::mem::take(&mut self.stream.marks) {
            self.note(
                "mark",
                format!("mark {name:?} of line {line} was never given back"),
            );
        }
    }

    fn after_hello(&mut self, event: &str) {
        if self.stream.agent_heard && !self.stream.hello {
            self.note(
                "hello",
                format!("{event} to an agent that has not said hook.hello"),
            );
        }
    }

    fn numbered(&mut self, sequence: &str, stream_sid: &str) {
        self.number(sequence);
        self.same_stream(stream_sid);
    }

    fn number(&mut self, sequence: &str) {
        let Some(number) = decimal(sequence) else {
            self.note(
                "sequence",
                format!("sequenceNumber must be a decimal string, is {sequence:?}"),
            );
            return;
        };
        // hook.* messages take numbers too, and carry none in their types
        if self.stream.sequence.is_some_and(|last| number <= last) {
            self.note(
                "sequence",
                format!("sequenceNumber {number} does not follow"),
            );
        }
        self.stream.sequence = Some(number);
    }
}

fn decimal(text: &str) -> Option<u64> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok())?
}

fn is_sid(sid: &str, prefix: &str) -> bool {
    sid.strip_prefix(prefix).is_some_and(|rest| {
        rest.len() == 32
            && rest
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    })
}
