//! Agents that follow their plan, or are told to end a call.

use std::time::Duration;

use call_control::transfer::{Checkpoint, OutputContext, TransferType, Variables};
use call_control::{AgentPhase, AgentRequest, AgentSaid, Input};
use media_core::Side;
use timebase::Now;

use super::{Due, Gateway};
use crate::host::Fact;
use crate::plan::{Again, AgentThen, Connects, Dies};
use crate::race::End;

/// How long news of an agent still comes after its link was told to close.
const LAST_WORDS: Duration = Duration::from_millis(10);
/// How long a connection attempt to a lost agent takes at most.
const RECONNECT: Duration = Duration::from_secs(5);
/// Between two attempts to connect.
const ATTEMPTS: Duration = Duration::from_millis(250);
/// From the last sign of life of an agent that is stuck to its loss, or to the next.
const STUCK: Duration = Duration::from_secs(4);

/// One call's agent.
#[derive(Debug, Default)]
pub(super) struct Agent {
    /// Rises with every link that is opened.
    link: u32,
    /// The link is up.
    connected: bool,
    attached: u32,
    stopped: Option<Now>,
    /// Its link closed by itself, and it was not called back since.
    gone: bool,
    /// The call has a result, and did not come back since.
    done: bool,
    /// It has died as planned.
    died: bool,
}

impl Gateway {
    pub(super) fn agent_request(&mut self, now: Now, seat: usize, request: AgentRequest) {
        match request {
            AgentRequest::Connect { resume, .. } => self.connect_agent(now, seat, resume.as_ref()),
            AgentRequest::Attach => self.attach_agent(now, seat),
            AgentRequest::Completed { error: None, .. } => {
                self.host.tell(Fact::Completion { seat });
                self.seats[seat].agent.done = true;
                self.dies_when(now, seat, Dies::Completing);
            }
            AgentRequest::Completed {
                error: Some(_), id, ..
            } => {
                if id.as_deref() == Some("stammered") {
                    self.says(now + Duration::from_millis(500), seat, completion(true));
                }
            }
            AgentRequest::Phase(AgentPhase::Agent, _) => self.has_the_call_again(now, seat),
            AgentRequest::Phase(AgentPhase::HandingBack, _) => {
                self.seats[seat].agent.done = true;
                self.dies_when(now, seat, Dies::HandingBack);
            }
            AgentRequest::Phase(AgentPhase::Bridged, _) | AgentRequest::Listen => {
                self.seats[seat].agent.done = true;
                self.dies_when(now, seat, Dies::Bridged);
            }
            AgentRequest::TransferResult { .. } | AgentRequest::Phase(AgentPhase::Ended, _) => {}
            AgentRequest::Stop => {
                self.host.tell(Fact::Agent { seat, lost: false });
                self.seats[seat].agent.stopped.get_or_insert(now);
            }
        }
    }

    /// The agent dies if this is when it was to.
    fn dies_when(&mut self, now: Now, seat: usize, when: Dies) {
        let planned = self.plan(seat).agent.dies == Some(when);
        if planned && !std::mem::replace(&mut self.seats[seat].agent.died, true) {
            let at = now + self.dice.millis(0, 1_000);
            self.says(at, seat, closed(false));
        }
    }

    fn has_the_call_again(&mut self, now: Now, seat: usize) {
        self.host.note("agent has the call again");
        self.host.tell(Fact::Agent { seat, lost: false });
        self.seats[seat].agent.done = false;
        let said = match self.plan(seat).agent.again {
            Again::Completes => completion(true),
            Again::Crashes => closed(false),
            Again::Closes => closed(true),
            Again::Stays => return,
        };
        self.says(now + Duration::from_secs(1), seat, said);
    }

    fn connect_agent(&mut self, now: Now, seat: usize, resume: Option<&Checkpoint>) {
        let plan = self.plan(seat).agent;
        let connects = match (resume, plan.back) {
            (None, _) => plan.connects,
            (Some(_), Some(after)) if after < RECONNECT => Connects::After(after),
            (Some(_), Some(_) | None) => Connects::FailsAfter(RECONNECT),
        };
        let connects = self.connects_in_outage(now, connects);
        let agent = &mut self.seats[seat].agent;
        agent.link += 1;
        agent.connected = false;
        agent.gone = false;
        agent.stopped = None;
        // Called back after a hand-back: if it is not reached, the call makes a result of its own.
        let called_back = std::mem::take(&mut agent.done) && resume.is_some();
        if called_back && !matches!(connects, Connects::After(_)) {
            self.host.tell(Fact::Completion { seat });
        }
        match connects {
            Connects::After(after) => self.says(now + after, seat, AgentSaid::Connected),
            Connects::FailsAfter(after) => {
                let said = AgentSaid::NotReached("refused".to_owned());
                self.says(now + after, seat, said);
            }
            Connects::Never => {}
        }
    }

    /// While the agents' process is not there, the attempts go on until it is.
    fn connects_in_outage(&self, now: Now, connects: Connects) -> Connects {
        match (self.agent_outage, connects) {
            (Some((from, long)), Connects::After(after))
                if (from..from + long).contains(&(now.0 + after)) =>
            {
                let back = (from + long).saturating_sub(now.0) + ATTEMPTS;
                if back < RECONNECT {
                    Connects::After(back)
                } else {
                    Connects::FailsAfter(RECONNECT)
                }
            }
            (_, connects) => connects,
        }
    }

    /// The agents' process dies: every link is lost.
    pub(super) fn agents_die(&mut self, now: Now) {
        for seat in 0..self.seats.len() {
            let Agent {
                link, connected, ..
            } = self.seats[seat].agent;
            if connected && !self.seats[seat].lost {
                self.agent_said(now, seat, link, closed(false));
            }
        }
    }

    fn attach_agent(&mut self, now: Now, seat: usize) {
        let plan = self.plan(seat).agent;
        self.host.tell(Fact::Agent { seat, lost: false });
        self.speak(now, seat);
        self.introduces_itself(now, seat);
        let agent = &mut self.seats[seat].agent;
        agent.attached += 1;
        if agent.attached > 1 {
            let at = now + Duration::from_millis(1_500);
            return self.says(at, seat, completion(plan.drain));
        }
        match plan.then {
            AgentThen::Completes(after) => self.says(now + after, seat, completion(plan.drain)),
            AgentThen::CompletesTwice(after, apart) => {
                self.says(now + after, seat, completion(plan.drain));
                self.says(now + after + apart, seat, completion(plan.drain));
            }
            AgentThen::Stammers(after) => self.says(now + after, seat, stammer()),
            AgentThen::Closes(after) => self.says(now + after, seat, closed(true)),
            AgentThen::Crashes(after) => self.says(now + after, seat, closed(false)),
            AgentThen::HangsUp(after) => self.says(now + after, seat, AgentSaid::HungUp),
            AgentThen::Stalls(after, recovers) => {
                self.says(now + after, seat, AgentSaid::Stalled);
                let then = if recovers {
                    completion(plan.drain)
                } else {
                    closed(false)
                };
                self.says(now + after + STUCK, seat, then);
            }
            AgentThen::Stays => {}
        }
    }

    /// An agent that knows the protocol says so, and how far it has got.
    fn introduces_itself(&mut self, now: Now, seat: usize) {
        let plan = self.plan(seat).agent;
        if let Some(tracks) = plan.hello {
            let at = now + Duration::from_millis(20);
            self.says(at, seat, AgentSaid::Hello { tracks });
        }
        if plan.checkpoints {
            let checkpoint = Checkpoint {
                current_task_name: Some("half done".to_owned()),
                ..Checkpoint::default()
            };
            let at = now + Duration::from_millis(400);
            self.says(at, seat, AgentSaid::Update(checkpoint));
        }
    }

    fn says(&mut self, at: Now, seat: usize, said: AgentSaid) {
        let link = self.seats[seat].agent.link;
        self.agenda.add(at, Due::Agent(seat, link, Box::new(said)));
    }

    pub(super) fn agent_said(&mut self, now: Now, seat: usize, link: u32, said: AgentSaid) {
        let agent = &self.seats[seat].agent;
        let silenced = agent.stopped.is_some_and(|at| now > at + LAST_WORDS);
        let attempt = matches!(
            said,
            AgentSaid::Connected | AgentSaid::NotReached(_) | AgentSaid::Refused(_)
        );
        let gone = agent.gone && !attempt;
        if link != agent.link || gone || silenced && !attempt {
            return;
        }
        self.host.note(note_of(&said));
        self.agent_changes(seat, &said);
        self.feed(now, seat, Input::Agent(said));
    }

    fn agent_changes(&mut self, seat: usize, said: &AgentSaid) {
        let agent = &mut self.seats[seat].agent;
        let ends = matches!(said, AgentSaid::Closed { .. } | AgentSaid::HungUp);
        if let AgentSaid::Connected = said {
            agent.connected = true;
        }
        let done = agent.done;
        if ends && !done {
            // The call makes a result of its own.
            self.host.tell(Fact::Completion { seat });
        }
        let lost = matches!(said, AgentSaid::Closed { clean: false, .. });
        agent.done |= ends && !lost;
        if let AgentSaid::Closed { .. } = said {
            agent.connected = false;
            agent.gone = true;
        }
        if lost {
            let lost = agent.stopped.is_none() && !done;
            self.host.tell(Fact::Agent { seat, lost });
        }
    }

    /// The call is to end now, one way or another.
    pub(super) fn ends(&mut self, now: Now, seat: usize, end: End) {
        if self.seats.get(seat).is_none_or(|seat| seat.lost) {
            return;
        }
        let Agent {
            link, connected, ..
        } = self.seats[seat].agent;
        let said = match end {
            End::AgentCompletes => completion(self.dice.chance(50)),
            End::AgentDies => closed(false),
            End::AgentCloses => closed(true),
            End::Silence => return self.silence(now, seat, Side::Caller),
            End::Operator => return self.feed(now, seat, Input::HangUp),
            End::Drain => {
                if !std::mem::replace(&mut self.seats[seat].agent.done, true) {
                    self.host.tell(Fact::Completion { seat });
                }
                return self.feed(now, seat, Input::HandBack("drain"));
            }
            End::CallerHangsUp | End::TargetHangsUp => return,
        };
        if connected {
            self.agent_said(now, seat, link, said);
        }
    }
}

const fn note_of(said: &AgentSaid) -> &'static str {
    match said {
        AgentSaid::Connected => "agent connected",
        AgentSaid::NotReached(_) => "agent not reached",
        AgentSaid::Update(_) => "agent updates",
        AgentSaid::Complete { .. } => "agent completes",
        AgentSaid::Press { .. } => "agent presses keys",
        AgentSaid::Closed { .. } | AgentSaid::HungUp => "agent gone",
        AgentSaid::Refused(_) => "agent refuses",
        AgentSaid::Hello { .. } => "agent says hello",
        AgentSaid::Stalled => "agent stalls",
    }
}

fn output() -> Box<OutputContext> {
    Box::new(OutputContext {
        transfer_type: TransferType::System,
        current_task_name: Some("done".to_owned()),
        reference_variables: Variables::new(),
        transfer_variables: Variables::new(),
    })
}

fn completion(drain: bool) -> AgentSaid {
    AgentSaid::Complete {
        id: None,
        output: Ok(output()),
        drain,
    }
}

fn stammer() -> AgentSaid {
    AgentSaid::Complete {
        id: Some("stammered".to_owned()),
        output: Err("transferType is missing".to_owned()),
        drain: true,
    }
}

fn closed(clean: bool) -> AgentSaid {
    AgentSaid::Closed {
        clean,
        reason: "closed".to_owned(),
    }
}
