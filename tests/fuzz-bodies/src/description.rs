//! Session descriptions.

use sdp::{Codec, Description, Direction, Local, accept, answer, offer};

/// Reads a description, answers it as an offer, and takes it as an answer to an offer of ours.
pub fn description(data: &[u8]) {
    let Ok(theirs) = Description::parse(data) else {
        return;
    };
    let ours = local();
    if let Ok((reply, agreed)) = answer(&theirs, &ours) {
        let read = Description::parse(&reply).expect("an answer of ours is a description");
        assert_eq!(
            read.streams().len(),
            theirs.streams().len(),
            "one answer for each stream"
        );
        assert!((10..=60).contains(&agreed.ptime_ms));
        assert!(agreed.remote.port() != 0);
    }
    let offered = Description::parse(&offer(&ours, Direction::SendRecv));
    assert_eq!(
        offered
            .expect("an offer of ours is a description")
            .streams()
            .len(),
        1
    );
    if let Ok(agreed) = accept(&ours, Direction::SendRecv, &theirs) {
        assert!(agreed.remote.port() != 0);
    }
}

fn local() -> Local {
    Local {
        address: [192, 0, 2, 1].into(),
        port: 30_000,
        codecs: vec![Codec::Pcmu, Codec::Pcma],
        session_id: 5,
        version: 9,
        ptime_ms: 20,
        keys: None,
    }
}
