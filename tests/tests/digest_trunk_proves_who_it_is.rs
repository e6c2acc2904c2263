//! Trunks with digest users: challenged, and held to what they answer.

use std::time::Duration;

use serde_json::json;
use sip_message::Message;
use stories::{
    Call, Challenge, Hash, Lab, Peer, Request, Sound, TRANSFER_HEADER, Transport, eventually,
    offer, text,
};

const AT_ONCE: Duration = Duration::from_millis(200);

const ACCOUNTS: &str = r#"
[[account]]
id = "first"
  [[account.api_key]]
  id = "lab"
  secret_hash = "$argon2id$v=19$m=19456,t=2,p=1$teKf915p5MgOFW1jFPMDBw$DNW5rDjINzpyEzRIDHHvHyYLBmkzelDMl8WhYD7a5cI"
  [[account.trunk]]
  name = "first"
  digest = { username = "ann", password = "of first" }
[[account]]
id = "second"
  [[account.trunk]]
  name = "second"
  digest = { username = "bob", password = "of second", algorithms = ["MD5"] }
"#;
const ANN: (&str, &str) = ("ann", "of first");
const BOB: (&str, &str) = ("bob", "of second");

/// An INVITE that was challenged.
struct Asked {
    peer: Peer,
    sound: Sound,
    invite: Request,
    challenge: Challenge,
}

async fn asked(lab: &Lab, transport: Transport, id: &str, hash: Hash) -> Asked {
    let mut peer = Peer::calling(lab, transport).await;
    let sound = Sound::start();
    let invite = Call::invite(lab, &peer, id, &offer(&sound));
    let challenge = challenged(&mut peer, &invite, hash).await;
    Asked {
        peer,
        sound,
        invite,
        challenge,
    }
}

/// Sends a request; gives its challenge.
async fn challenged(peer: &mut Peer, request: &Request, hash: Hash) -> Challenge {
    let refused = peer.exchange(request, 401).await.message;
    let to = text(&refused, "To");
    peer.send(&request.beside("ACK", &to)).await;
    let challenge = Challenge::of(&refused, hash);
    assert_eq!(challenge.realm, "handback");
    challenge
}

impl Asked {
    /// The request once more, with an answer to the challenge.
    fn answered(&self, who: (&str, &str), count: u32) -> Request {
        let answer = self
            .challenge
            .answer(who, "INVITE", self.invite.uri(), count);
        self.invite.clone().again().with("Authorization", answer)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn right_password_opens_the_door() {
    let lab = Lab::with_accounts(ACCOUNTS, &[]).await;
    for (n, (hash, transport)) in [
        (Hash::Md5, Transport::Udp),
        (Hash::Sha256, Transport::Udp),
        (Hash::Sha256, Transport::Tcp),
    ]
    .into_iter()
    .enumerate()
    {
        let id = format!("right-{n}");
        lab.register(&id, json!({})).await;
        let asked = asked(&lab, transport, &id, hash).await;
        // Nothing unauthenticated reaches the store.
        lab.assert_unclaimed(&id).await;
        let request = asked.answered(ANN, 1);
        let mut call = Call::send(asked.peer, asked.sound, request).await;
        call.hang_up().await;
        lab.until_completed_without_output(&id).await;
    }
    lab.until_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_password_and_unknown_user_are_challenged_again() {
    let lab = Lab::with_accounts(ACCOUNTS, &[]).await;
    lab.register("wrong", json!({})).await;
    for who in [("ann", "of second"), ("nobody", "of first"), ("ann", "")] {
        let mut asked = asked(&lab, Transport::Udp, "wrong", Hash::Sha256).await;
        let request = asked.answered(who, 1);
        let refused = asked.peer.exchange(&request, 401).await.message;
        assert!(!text(&refused, "WWW-Authenticate").contains("stale=true"));
        lab.assert_unclaimed("wrong").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answer_that_was_used_before_is_refused_as_stale() {
    let lab = Lab::with_accounts(ACCOUNTS, &[]).await;
    lab.register("replay", json!({})).await;
    lab.register("replay-2", json!({})).await;
    let asked = asked(&lab, Transport::Udp, "replay", Hash::Sha256).await;
    let request = asked.answered(ANN, 1);
    let again = request
        .clone()
        .as_another_call()
        .with(TRANSFER_HEADER, "replay-2");
    let challenge = asked.challenge.clone();
    let mut call = Call::send(asked.peer, asked.sound, request).await;

    let refused = call.peer.exchange(&again, 401).await.message;
    assert!(text(&refused, "WWW-Authenticate").contains("stale=true"));
    lab.assert_unclaimed("replay-2").await;
    // The next count of the same nonce is no replay.
    let answer = challenge.answer(ANN, "INVITE", again.uri(), 2);
    let next = again.again().with("Authorization", answer);
    call.peer.exchange(&next, 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn repeated_invite_gets_its_refusal_again_instead_of_a_challenge() {
    let lab = Lab::with_accounts(ACCOUNTS, &[]).await;
    let unknown = |_: &Asked, request: Request| request;
    let headerless = |_: &Asked, request: Request| request.without(TRANSFER_HEADER);
    let video = |asked: &Asked, request: Request| {
        let offer = offer(&asked.sound).replace("m=audio", "m=video");
        request.with_body("application/sdp", offer)
    };
    type Spoilt<'a> = &'a dyn Fn(&Asked, Request) -> Request;
    let rows: [(u16, Spoilt<'_>); 3] = [(404, &unknown), (400, &headerless), (488, &video)];
    for (status, spoil) in rows {
        let mut asked = asked(&lab, Transport::Udp, "nobody", Hash::Md5).await;
        let request = spoil(&asked, asked.answered(ANN, 1));
        asked.peer.exchange(&request, status).await;
        let before = asked.peer.repeats();
        asked.peer.send(&request).await;
        eventually("the same answer", async || {
            (asked.peer.repeats() > before).then_some(())
        })
        .await;
        let is_challenge = |message: &Message| message.status() == Some(401);
        asked.peer.assert_none(AT_ONCE, is_challenge).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nonce_that_we_never_issued_is_stale() {
    let lab = Lab::with_accounts(ACCOUNTS, &[]).await;
    lab.register("forged", json!({})).await;
    let mut asked = asked(&lab, Transport::Udp, "forged", Hash::Sha256).await;
    asked.challenge.nonce = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".to_owned();
    let request = asked.answered(ANN, 1);
    asked.peer.exchange(&request, 401).await;
    lab.assert_unclaimed("forged").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_of_one_trunk_open_no_other_accounts_transfer() {
    let lab = Lab::with_accounts(ACCOUNTS, &[]).await;
    lab.register("of-first", json!({})).await;
    let mut asked = asked(&lab, Transport::Udp, "of-first", Hash::Md5).await;
    let request = asked.answered(BOB, 1);
    asked.peer.exchange(&request, 404).await;
    // Nor does the second trunk's algorithm list take a stronger hash.
    lab.assert_unclaimed("of-first").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_is_never_challenged_and_acknowledgement_never_answered() {
    let lab = Lab::with_accounts(ACCOUNTS, &[]).await;
    let mut peer = Peer::calling(&lab, Transport::Udp).await;
    let invite = Call::invite(&lab, &peer, "none", "");
    peer.exchange(
        &invite
            .clone()
            .without("Content-Type")
            .beside("CANCEL", invite.value("To")),
        481,
    )
    .await;
    peer.send(&invite.beside("ACK", invite.value("To"))).await;
    peer.assert_none(Duration::from_millis(200), |_| true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn trunk_that_requires_both_challenges_its_own_addresses_too() {
    let both = ACCOUNTS.replace(
        "name = \"first\"\n",
        "name = \"first\"\n  allow = [\"127.0.0.0/8\"]\n  require = \"all\"\n",
    );
    let lab = Lab::with_accounts(&both, &[]).await;
    lab.register("both", json!({})).await;
    let asked = asked(&lab, Transport::Udp, "both", Hash::Sha256).await;
    let request = asked.answered(ANN, 1);
    let mut call = Call::send(asked.peer, asked.sound, request).await;
    call.hang_up().await;
    lab.until_completed_without_output("both").await;
}
