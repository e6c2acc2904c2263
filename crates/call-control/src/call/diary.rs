//! What is kept of a call for its record: moments, results, causes. It decides nothing.

use std::time::Duration;

use sip_core::ReasonValue;
use timebase::Now;

use crate::io::Record;
use crate::outcome::{Cause, Ender, Moment, Outcome, Step};
use crate::transfer::OutputContext;

#[derive(Debug)]
pub(super) struct Diary {
    pub(super) arrived: Now,
    pub(super) answered: Option<Now>,
    pub(super) reconnects: u32,
    agent_lost: bool,
    sought: Option<Now>,
    agent_connect: Option<Duration>,
    ended_by: Option<(Ender, Vec<Cause>)>,
    results: Vec<OutputContext>,
    timeline: Vec<Moment>,
    /// The steps of chains that ended with the agent.
    earlier: Vec<Step>,
}

impl Diary {
    pub(super) const fn new(arrived: Now) -> Self {
        Self {
            arrived,
            answered: None,
            reconnects: 0,
            agent_lost: false,
            sought: None,
            agent_connect: None,
            ended_by: None,
            results: Vec::new(),
            timeline: Vec::new(),
            earlier: Vec::new(),
        }
    }

    pub(super) fn note(&mut self, now: Now, what: impl Into<String>) {
        if self.timeline.len() < Record::MOST_MOMENTS {
            let since = now - self.arrived;
            let at_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
            let what = what.into();
            self.timeline.push(Moment { at_ms, what });
        }
    }

    pub(super) fn answered(&mut self, now: Now) {
        self.answered = Some(now);
        self.note(now, "answered");
    }

    pub(super) fn agent_sought(&mut self, now: Now) {
        self.sought.get_or_insert(now);
    }

    pub(super) fn agent_connected(&mut self, now: Now) {
        if let (None, Some(sought)) = (self.agent_connect, self.sought) {
            self.agent_connect = Some(now - sought);
        }
        self.note(now, "agent connected");
    }

    pub(super) fn agent_lost(&mut self, now: Now) {
        self.agent_lost = true;
        self.note(now, "agent not regained");
    }

    pub(super) fn result(&mut self, now: Now, output: &OutputContext) {
        self.note(now, "agent completed");
        self.results.push(output.clone());
    }

    /// The result in force.
    pub(super) fn latest_result(&self) -> Option<&OutputContext> {
        self.results.last()
    }

    /// The first to end the call is the one that did.
    pub(super) fn ended_by(&mut self, ender: Ender, reasons: &[ReasonValue]) {
        self.ended_by
            .get_or_insert_with(|| (ender, Cause::all(reasons)));
    }

    pub(super) fn chain_failed(&mut self, steps: Vec<Step>) {
        self.earlier.extend(steps);
    }

    /// The steps of chains that ended with the agent.
    pub(super) const fn earlier_steps(&mut self) -> &mut Vec<Step> {
        &mut self.earlier
    }

    /// The record; a call that nobody else ended was ended by us.
    pub(super) fn record(&mut self, now: Now, outcome: Outcome) -> Record {
        self.note(now, "ended");
        let (ended_by, causes) = self.ended_by.take().unwrap_or((Ender::Gateway, Vec::new()));
        Record {
            outcome,
            arrived: self.arrived,
            answered: self.answered,
            ended: now,
            ended_by,
            causes,
            reconnects: self.reconnects,
            agent_lost: self.agent_lost,
            agent_connect: self.agent_connect,
            results: std::mem::take(&mut self.results),
            earlier_steps: std::mem::take(&mut self.earlier),
            timeline: std::mem::take(&mut self.timeline),
        }
    }
}
