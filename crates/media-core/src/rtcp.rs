//! RTCP on the wire (RFC 3550 §6, RFC 3611 §4.7): compound packets read and written by hand, as no
//! crate has the VoIP metrics block and writers of others allocate.

/// Bytes that the largest compound packet of ours has.
pub(crate) const LARGEST: usize = 192;

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const DESCRIPTION: u8 = 202;
const BYE: u8 = 203;
const EXTENDED: u8 = 207;
const VOIP_METRICS: u8 = 7;
const CNAME: u8 = 1;

/// Whether a datagram on an RTP port is RTCP (RFC 5761 §4).
pub(crate) const fn is_muxed(datagram: &[u8]) -> bool {
    matches!(datagram, [first, 192..=223, ..] if *first >> 6 == 2)
}

/// What a report says of one source (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) ssrc: u32,
    /// In 256ths, since the report before.
    pub(crate) fraction_lost: u8,
    /// Cumulative; negative where more came than was sent.
    pub(crate) lost: i32,
    pub(crate) highest: u32,
    /// In units of the timestamp.
    pub(crate) jitter: u32,
    /// The middle of the last sender report's NTP timestamp.
    pub(crate) last_report: u32,
    /// Since that report, in 65536ths of a second.
    pub(crate) delay: u32,
}

/// The VoIP metrics of RFC 3611 §4.7, as far as they say something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Voip {
    pub(crate) ssrc: u32,
    /// Loss rate, discard rate, burst density, gap density, in 256ths.
    pub(crate) rates: [u8; 4],
    /// Burst duration, gap duration, round trip, end system delay, in milliseconds.
    pub(crate) times: [u16; 4],
    /// Signal and noise level in dBm0; 127 is unknown.
    pub(crate) levels: [i8; 2],
    /// R factor, 0 to 100; 127 is unknown.
    pub(crate) rating: u8,
    /// MOS-LQ and MOS-CQ times ten; 127 is unknown.
    pub(crate) opinions: [u8; 2],
    /// Jitter buffer: nominal, maximal and absolutely maximal delay in milliseconds.
    pub(crate) buffer: [u16; 3],
}

/// What was read of a compound packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// A sender report: the middle 32 bits of its NTP timestamp.
    Sender { ssrc: u32, middle: u32 },
    /// What the peer says of a source.
    Block(Block),
    /// Its VoIP metrics of a source.
    Voip(Voip),
    /// A source ends.
    Bye(u32),
}

/// Reads a compound packet and gives what it tells; false if it is none (RFC 3550 A.2: version,
/// a report first, padding only in the last, lengths that add up).
pub(crate) fn read(datagram: &[u8], mut told: impl FnMut(Told)) -> bool {
    let is_report = matches!(datagram, [_, SENDER_REPORT | RECEIVER_REPORT, ..]);
    if !is_report || !is_whole(datagram) {
        return false;
    }
    let mut rest = datagram;
    while let Some((header, packet, next)) = split(rest) {
        let count = usize::from(header[0] & 0x1F);
        match header[1] {
            SENDER_REPORT => {
                if let (Some(ssrc), Some(middle)) = (word(packet, 0), word_at(packet, 6)) {
                    told(Told::Sender { ssrc, middle });
                }
                blocks(packet.get(24..).unwrap_or_default(), count, &mut told);
            }
            RECEIVER_REPORT => blocks(packet.get(4..).unwrap_or_default(), count, &mut told),
            BYE => (0..count)
                .filter_map(|source| word(packet, source))
                .for_each(|ssrc| told(Told::Bye(ssrc))),
            EXTENDED => extended(packet.get(4..).unwrap_or_default(), &mut told),
            _ => {}
        }
        rest = next;
    }
    true
}

fn is_whole(datagram: &[u8]) -> bool {
    let mut rest = datagram;
    while !rest.is_empty() {
        let Some((header, _, next)) = split(rest) else {
            return false;
        };
        let padded = header[0] & 0x20 != 0;
        let padding = datagram.last().copied().unwrap_or(0);
        if padded && (!next.is_empty() || padding == 0 || !padding.is_multiple_of(4)) {
            return false;
        }
        rest = next;
    }
    true
}

/// The header, the body and what follows.
fn split(data: &[u8]) -> Option<([u8; 4], &[u8], &[u8])> {
    let (header, rest) = data.split_first_chunk::<4>()?;
    let length = usize::from(u16::from_be_bytes([header[2], header[3]])) * 4;
    if header[0] >> 6 != 2 || length > rest.len() {
        return None;
    }
    let (packet, next) = rest.split_at(length);
    Some((*header, packet, next))
}

fn word(data: &[u8], index: usize) -> Option<u32> {
    word_at(data, index * 4)
}

fn word_at(data: &[u8], at: usize) -> Option<u32> {
    let bytes = data.get(at..)?.first_chunk::<4>()?;
    Some(u32::from_be_bytes(*bytes))
}

fn blocks(data: &[u8], count: usize, told: &mut impl FnMut(Told)) {
    let (all, _) = data.as_chunks::<24>();
    for block in all.iter().take(count) {
        let of = |index| word(block, index).unwrap_or(0);
        told(Told::Block(Block {
            ssrc: of(0),
            fraction_lost: block[4],
            // 24 bits with a sign
            lost: (of(1) << 8).cast_signed() >> 8,
            highest: of(2),
            jitter: of(3),
            last_report: of(4),
            delay: of(5),
        }));
    }
}

/// The report blocks of an extended report.
fn extended(mut data: &[u8], told: &mut impl FnMut(Told)) {
    while let Some((header, rest)) = data.split_first_chunk::<4>() {
        let length = usize::from(u16::from_be_bytes([header[2], header[3]])) * 4;
        let Some(body) = rest.get(..length) else {
            return;
        };
        if let (VOIP_METRICS, Some(body)) = (header[0], body.first_chunk::<32>()) {
            told(Told::Voip(voip(body)));
        }
        data = &rest[length..];
    }
}

fn voip(body: &[u8; 32]) -> Voip {
    let half = |at: usize| u16::from_be_bytes([body[at], body[at + 1]]);
    Voip {
        ssrc: word(body, 0).unwrap_or(0),
        rates: [body[4], body[5], body[6], body[7]],
        times: [half(8), half(10), half(12), half(14)],
        levels: [body[16].cast_signed(), body[17].cast_signed()],
        rating: body[20],
        opinions: [body[22], body[23]],
        buffer: [half(26), half(28), half(30)],
    }
}

/// What a sender says of itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SenderInfo {
    pub(crate) ntp: u64,
    pub(crate) timestamp: u32,
    pub(crate) packets: u32,
    pub(crate) octets: u32,
}

/// A compound packet of ours.
#[derive(Debug)]
pub(crate) struct Compound {
    bytes: [u8; LARGEST],
    length: usize,
    ssrc: u32,
}

impl Compound {
    /// Begins with a sender report, or a receiver report where nothing was sent.
    pub(crate) fn new(ssrc: u32, sender: Option<SenderInfo>, block: Option<Block>) -> Self {
        let mut compound = Self {
            bytes: [0; LARGEST],
            length: 0,
            ssrc,
        };
        let kind = if sender.is_some() {
            SENDER_REPORT
        } else {
            RECEIVER_REPORT
        };
        let at = compound.header(kind, u8::from(block.is_some()));
        compound.put(&ssrc.to_be_bytes());
        if let Some(sender) = sender {
            compound.put(&sender.ntp.to_be_bytes());
            compound.put(&sender.timestamp.to_be_bytes());
            compound.put(&sender.packets.to_be_bytes());
            compound.put(&sender.octets.to_be_bytes());
        }
        if let Some(block) = block {
            compound.put(&block.ssrc.to_be_bytes());
            let lost = block.lost.clamp(-0x80_0000, 0x7F_FFFF).to_be_bytes();
            compound.put(&[block.fraction_lost, lost[1], lost[2], lost[3]]);
            for word in [block.highest, block.jitter, block.last_report, block.delay] {
                compound.put(&word.to_be_bytes());
            }
        }
        compound.close(at);
        compound
    }

    /// Says who we are: a name that lives as long as the session (RFC 7022 §4.2).
    pub(crate) fn named(mut self, name: &[u8; 16]) -> Self {
        let at = self.header(DESCRIPTION, 1);
        let ssrc = self.ssrc;
        self.put(&ssrc.to_be_bytes());
        self.put(&[CNAME, 16]);
        self.put(name);
        // the list of items ends with one to four zeros
        self.put(&[0; 2]);
        self.close(at);
        self
    }

    /// Adds VoIP metrics.
    pub(crate) fn with_voip(mut self, voip: &Voip) -> Self {
        let at = self.header(EXTENDED, 0);
        let ssrc = self.ssrc;
        self.put(&ssrc.to_be_bytes());
        self.put(&[VOIP_METRICS, 0, 0, 8]);
        self.put(&voip.ssrc.to_be_bytes());
        self.put(&voip.rates);
        for time in voip.times {
            self.put(&time.to_be_bytes());
        }
        let [signal, noise] = voip.levels.map(i8::cast_unsigned);
        let [listening, conversation] = voip.opinions;
        const UNKNOWN: u8 = 127;
        // standard concealment, adaptive buffer
        const CONFIGURATION: u8 = 0b1111_0000;
        self.put(&[signal, noise, UNKNOWN, crate::quality::GMIN as u8]);
        self.put(&[voip.rating, UNKNOWN, listening, conversation]);
        self.put(&[CONFIGURATION, 0]);
        for delay in voip.buffer {
            self.put(&delay.to_be_bytes());
        }
        self.close(at);
        self
    }

    /// Says that we end.
    pub(crate) fn goodbye(mut self) -> Self {
        let at = self.header(BYE, 1);
        let ssrc = self.ssrc;
        self.put(&ssrc.to_be_bytes());
        self.close(at);
        self
    }

    /// The packet.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    fn header(&mut self, kind: u8, count: u8) -> usize {
        let at = self.length;
        self.put(&[0x80 | count, kind, 0, 0]);
        at
    }

    fn put(&mut self, bytes: &[u8]) {
        if let Some(room) = self.bytes.get_mut(self.length..self.length + bytes.len()) {
            room.copy_from_slice(bytes);
            self.length += bytes.len();
        }
    }

    /// Writes the length of the packet that begins there.
    fn close(&mut self, at: usize) {
        let words = (self.length - at) / 4 - 1;
        let words = u16::try_from(words).unwrap_or(0).to_be_bytes();
        self.bytes[at + 2..at + 4].copy_from_slice(&words);
    }
}

#[cfg(test)]
mod tests;
