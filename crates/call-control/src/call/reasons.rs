//! Why a call's requests end its legs (RFC 3326), and the header that names its transfer.

use sip_core::{Ended, Header, ReasonValue, reason_header};

/// The header that ties a SIP call to its transfer.
pub const TRANSFER_HEADER: &str = "X-ASAPP-CallTransferId";

/// Of a BYE that ends a call whose agent is done.
pub(super) fn completed() -> Vec<Header> {
    crossing(&[
        ReasonValue::sip(200, "completed"),
        ReasonValue::q850(16, "Normal call clearing"),
    ])
}

/// Of a BYE after a hand-back that failed with this status.
pub(super) fn return_failed(status: u16) -> Vec<Header> {
    crossing(&[ReasonValue::sip(status, "return failed")])
}

/// Of a BYE or CANCEL without a reason of its own.
pub(super) fn cleared() -> Vec<Header> {
    crossing(&[ReasonValue::q850(16, "Normal call clearing")])
}

/// Of a CANCEL to a target that did not answer in time.
pub(super) fn no_answer() -> Vec<Header> {
    crossing(&[
        ReasonValue::sip(408, "no answer"),
        ReasonValue::q850(19, "No answer from user"),
    ])
}

/// Of a BYE for an answer that cannot be used.
pub(super) fn bad_answer() -> Vec<Header> {
    crossing(&[ReasonValue::sip(488, "Not Acceptable Here")])
}

/// Of a BYE after silence.
pub(super) fn media_timeout() -> Vec<Header> {
    crossing(&[
        ReasonValue::sip(408, "no media"),
        ReasonValue::q850(102, "Recovery on timer expiry"),
    ])
}

/// Of a BYE to one side when the other one's dialog came to an end that nobody asked for.
pub(super) fn leg_lost(why: Ended) -> Vec<Header> {
    let timer = ReasonValue::q850(102, "Recovery on timer expiry");
    match why {
        Ended::Expired => crossing(&[ReasonValue::sip(408, "Session timer expired"), timer]),
        Ended::NoAck => crossing(&[ReasonValue::sip(408, "No ACK"), timer]),
        Ended::Gone(status) => crossing(&[
            ReasonValue::sip(status, "dialog lost"),
            ReasonValue::q850(41, "Temporary failure"),
        ]),
        Ended::HungUp | Ended::Cancelled | Ended::ByeAnswered(_) | Ended::Refused(_) => cleared(),
    }
}

/// Of a BYE to a caller whose process is gone, where nothing better could be done.
pub(super) fn node_lost() -> Vec<Header> {
    crossing(&[
        ReasonValue::sip(500, "node lost"),
        ReasonValue::q850(41, "Temporary failure"),
    ])
}

/// Of a BYE that an operator asked for.
pub(super) fn operator() -> Vec<Header> {
    crossing(&[ReasonValue::q850(31, "ended by operator")])
}

/// The same values on the other leg's BYE.
pub(super) fn crossing(reasons: &[ReasonValue]) -> Vec<Header> {
    reason_header(reasons).into_iter().collect()
}
