//! A world: the server, its host and edge, the people, and what befalls them. In each step the executor does all that it has to
//! do, and then one thing happens that the seed chooses.

use super::Planted;
use super::edge::{Edge, Request};
use super::host::{Doing, Host};
use super::nature::{Clock, Disk, Fails};
use super::past;
use super::people::{People, Settings};
use super::random::Random;
use super::server::{Pace, Server};
use super::trace::{Keep, Trace};
use super::witness::Witness;
use crate::executor::Command;
use slipway_store::Store;
use slipway_types::host::HostReport;
use std::sync::Arc;

/// With people and faults.
const STEPS: usize = 60;
/// To come to rest once both have ended.
const REST_STEPS_MAX: usize = 3000;
const REST_MS_MAX: i64 = 24 * 3600 * 1000;
/// An executor without any deadline looks up again after this.
const NO_DEADLINE_MS: i64 = 3_600_000;

#[derive(Debug)]
pub(super) struct World {
    pub(super) trace: Trace,
    random: Random,
    pub(super) clock: Clock,
    pub(super) disk: Arc<Disk>,
    dir: tempfile::TempDir,
    /// Without trouble, for those who look.
    pub(super) store: Store,
    pub(super) server: Option<Server>,
    pub(super) host: Host,
    edge: Edge,
    people: People,
    witness: Witness,
    /// Those that befall this world: few at a time find more than all at once.
    faults: Vec<Fault>,
    /// What goes down with the server that is about to be killed.
    pub(super) scope: Scope,
    /// The executor was robbed of its host or edge, and may end.
    may_end: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// At once, or at one of the next transactions.
    Kill(Scope),
    HostEnds,
    EdgeEnds,
    Disk,
    Late,
    ClockIsSet,
    Apps,
}

/// What ends with the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// Host and edge as well; the sandboxes live on.
    Process,
    Machine,
    /// Host and edge live on, and the links to them are made again.
    Control,
}

const FAULTS: [Fault; 9] = [
    Fault::Kill(Scope::Process),
    Fault::Kill(Scope::Machine),
    Fault::Kill(Scope::Control),
    Fault::HostEnds,
    Fault::EdgeEnds,
    Fault::Disk,
    Fault::Late,
    Fault::ClockIsSet,
    Fault::Apps,
];

#[derive(Debug, Clone, Copy)]
enum Move {
    HostTakes,
    HostReports,
    Host,
    EdgeTakes,
    EdgeReports,
    Edge,
    Late,
    Person,
    NewService,
    Time,
    Deadline,
    Starts,
    Strikes(Fault),
}

impl World {
    pub(super) async fn new(seed: u64, planted: Option<Planted>, keep: Keep) -> Self {
        let mut random = Random::new(seed);
        let dir = tempfile::tempdir_in(past::memory()).unwrap();
        let history = random.below(Settings::ALL.len());
        let store = past::copy(dir.path(), history).await;
        let mut faults: Vec<_> = FAULTS.into_iter().filter(|_| random.percent(40)).collect();
        // Both in one world may leave two starts without an order, as `Executor::begin_run` says.
        if faults.contains(&Fault::Disk) {
            faults.retain(|fault| *fault != Fault::ClockIsSet);
        }
        let host = Host::new(planted, faults.contains(&Fault::Apps));
        let people = People::new(&mut random, &store).await;
        Self {
            trace: Trace::new(keep),
            people,
            host,
            edge: Edge::new(planted),
            faults,
            ..Self::bare(seed, random, dir, store)
        }
    }

    /// Nothing befalls it, and nobody is there.
    pub(super) fn bare(seed: u64, random: Random, dir: tempfile::TempDir, store: Store) -> Self {
        Self {
            trace: Trace::default(),
            clock: Clock::new(seed),
            disk: Arc::default(),
            dir,
            store,
            server: None,
            host: Host::default(),
            edge: Edge::default(),
            people: People::default(),
            witness: Witness::default(),
            faults: Vec::new(),
            scope: Scope::Process,
            may_end: false,
            random,
        }
    }

    /// What is left of it.
    pub(super) async fn close(self) -> tempfile::TempDir {
        drop(self.server);
        self.store.close().await;
        self.dir
    }

    /// Err: what must not be, is.
    pub(super) async fn live(&mut self) -> Result<(), String> {
        self.start();
        for _ in 0..STEPS {
            self.settle().await?;
            let moves = self.moves(true);
            if let Some(next) = self.random.weighted(&moves) {
                self.go(next, true).await?;
            }
            let ms = if self.random.percent(5) { 10_000 } else { 200 };
            let ms = i64::try_from(self.random.below(ms)).unwrap();
            self.pass(ms);
        }
        self.rest().await
    }

    /// Nothing befalls anybody any more: all that was begun must end.
    pub(super) async fn rest(&mut self) -> Result<(), String> {
        self.say("the faults have ended");
        self.disk.fail(Fails::Never, 0);
        self.disk.kill_in(None);
        self.come_to_rest().await
    }

    pub(super) async fn come_to_rest(&mut self) -> Result<(), String> {
        let until = self.clock.passed_ms() + REST_MS_MAX;
        for _ in 0..REST_STEPS_MAX {
            self.settle().await?;
            let moves = self.moves(false);
            if let Some(next) = self.random.weighted(&moves) {
                self.go(next, false).await?;
                continue;
            }
            let Some(server) = &self.server else { continue };
            // One that is further away than the executor ever waits is none the less one.
            if self.wait_ms() >= NO_DEADLINE_MS && server.executor.active.is_empty() {
                return self.witness.check_rest(server, &self.host, &self.edge, &self.store).await;
            }
            self.pass(self.wait_ms());
            if self.clock.passed_ms() > until {
                break;
            }
        }
        let active = self.server.as_ref().map(|server| format!("{:?}", server.executor.active));
        Err(format!("it does not come to rest: {active:?}"))
    }

    /// No further than to the moment at which a worker speaks.
    fn pass(&mut self, ms: i64) {
        let now_ms = self.clock.passed_ms();
        let until_beat_ms = self.host.until_beat_ms(now_ms);
        self.clock.pass(until_beat_ms.map_or(ms, |beat| beat.min(ms)));
        self.host.beat(self.clock.passed_ms());
    }

    /// Until the executor looks up by itself.
    fn wait_ms(&self) -> i64 {
        (self.clock.waits_until_ms().unwrap_or(0) - self.clock.passed_ms()).max(0)
    }

    fn say(&mut self, line: &str) {
        self.trace.say(self.clock.passed_ms(), line);
    }

    /// The executor does what it has to do, and is looked at.
    pub(super) async fn settle(&mut self) -> Result<(), String> {
        let Some(server) = &mut self.server else { return Ok(()) };
        match server.run(&self.clock, &self.disk).await {
            Pace::Waits => {
                let (commits, store) = (self.disk.commits(), &self.store);
                let checked = self.witness.check(server, store, commits).await;
                for answer in self.people.answers() {
                    self.say(&answer);
                }
                checked
            }
            Pace::Killed => {
                self.say("the server was killed in a transaction");
                self.down();
                Ok(())
            }
            Pace::Ended(outcome) => {
                self.say(&format!("the executor has ended: {outcome:?}"));
                if !self.may_end && !self.disk.take_failed() {
                    return Err(format!("the executor ended for no reason: {outcome:?}"));
                }
                self.scope = Scope::Process;
                self.down();
                Ok(())
            }
        }
    }

    /// Somebody wants this, whatever else there is.
    pub(super) fn want(&mut self, command: Command) {
        self.server.as_ref().unwrap().commands.try_send(command).unwrap();
    }

    pub(super) fn start(&mut self) {
        self.say("the server starts");
        self.disk.take_failed();
        let store = self.store.clone().with_trouble(self.disk.clone());
        let (server, host, edge) = Server::new(self.dir.path(), store, &self.clock);
        self.server = Some(server);
        self.host.connect(host);
        self.edge.connect(edge);
        self.witness.server_is_new();
    }

    /// What the scope says is gone.
    pub(super) fn down(&mut self) {
        self.server = None;
        self.may_end = false;
        self.disk.kill_in(None);
        for answer in self.people.answers() {
            self.say(&answer);
        }
        match self.scope {
            Scope::Control => {
                self.host.disconnect();
                self.edge.disconnect();
            }
            Scope::Process | Scope::Machine => {
                self.host.end(self.scope == Scope::Process);
                self.edge.end();
            }
        }
    }

    fn moves(&self, faults: bool) -> Vec<(usize, Move)> {
        let mut moves = Vec::new();
        let mut may = |weight: usize, is: bool, next: Move| {
            if is {
                moves.push((weight, next));
            }
        };
        let is_up = self.server.is_some();
        may(30, !is_up, Move::Starts);
        may(60, self.host.has_commands(), Move::HostTakes);
        may(60, self.host.has_reports(), Move::HostReports);
        may(40, !self.host.doings(false).is_empty(), Move::Host);
        may(60, self.edge.has_table(), Move::EdgeTakes);
        may(60, self.edge.has_reports(), Move::EdgeReports);
        may(8, !self.edge.doings(faults).is_empty(), Move::Edge);
        may(2, self.faults.contains(&Fault::Late) && (self.host.has_late() || self.edge.has_late()), Move::Late);
        if faults {
            may(5, is_up, Move::Person);
            may(1, is_up && self.people.services() < 2, Move::NewService);
            may(10, true, Move::Time);
            may(1, is_up && self.wait_ms() < NO_DEADLINE_MS, Move::Deadline);
            for fault in &self.faults {
                may(if *fault == Fault::Disk { 3 } else { 1 }, is_up, Move::Strikes(*fault));
            }
        }
        moves
    }

    async fn go(&mut self, next: Move, faults: bool) -> Result<(), String> {
        let said = match next {
            Move::HostTakes => self.host.take().transpose()?,
            Move::HostReports => {
                let sent = self.host.report();
                if let Some((HostReport::Replica { replica, state }, _)) = &sent {
                    self.witness.told(replica, state);
                }
                if let Some((_, Some(deployment))) = &sent {
                    self.witness.hears_late(deployment, &self.store).await;
                }
                sent.map(|(report, _)| said(&report))
            }
            Move::Host => {
                let doing: Option<Doing> = pick(&mut self.random, self.host.doings(faults));
                doing.map(|doing| self.host.go_on(&doing))
            }
            Move::EdgeTakes => self.edge.take(),
            Move::EdgeReports => self.edge.report().map(|report| format!("edge says {report:?}")),
            Move::Edge => {
                let request: Option<Request> = pick(&mut self.random, self.edge.doings(faults));
                request.map(|request| self.edge.go_on(&request))
            }
            Move::Late => self.host.take_late().or_else(|| self.edge.take_late()),
            Move::Person if self.random.percent(15) => self.change_variables().await,
            Move::Person => self.person(),
            Move::NewService => {
                self.people.make_service(&self.store, &mut self.random).await;
                Some("someone makes a service".to_owned())
            }
            Move::Time => None,
            Move::Deadline => {
                self.pass(self.wait_ms());
                Some("time passes".to_owned())
            }
            Move::Starts => {
                self.start();
                None
            }
            Move::Strikes(fault) => self.strike(fault),
        };
        if let Some(said) = said {
            self.say(&said);
        }
        Ok(())
    }

    fn person(&mut self) -> Option<String> {
        let server = self.server.as_ref()?;
        let permit = server.commands.try_reserve().ok()?;
        let (said, command) = self.people.wish(&mut self.random, &self.witness.unsettled)?;
        permit.send(command);
        Some(format!("someone {said}"))
    }

    async fn change_variables(&mut self) -> Option<String> {
        let server = self.server.as_ref()?;
        let permit = server.commands.try_reserve().ok()?;
        let key = &server.executor.shared.key;
        let (said, command) = self.people.change_variables(&mut self.random, &self.store, key).await?;
        if let Some(command) = command {
            permit.send(command);
        }
        Some(format!("someone {said}"))
    }

    fn strike(&mut self, fault: Fault) -> Option<String> {
        match fault {
            Fault::Kill(scope) => {
                self.scope = scope;
                if self.random.percent(30) {
                    self.say(&format!("the server is killed ({scope:?})"));
                    self.down();
                    return None;
                }
                let moments = u32::try_from(self.random.below(30)).unwrap();
                self.disk.kill_in(Some(moments));
                Some(format!("the server will be killed in {moments} moments of its database ({scope:?})"))
            }
            Fault::HostEnds => {
                self.may_end = true;
                self.host.end(true);
                Some("the host has ended".to_owned())
            }
            Fault::EdgeEnds => {
                self.may_end = true;
                self.edge.end();
                Some("the edge has ended".to_owned())
            }
            Fault::Disk => {
                let choices =
                    [Fails::Never, Fails::Writes, Fails::All, Fails::OneWrite, Fails::OneWrite, Fails::OneRead];
                let fails = self.random.pick(&choices)?;
                let moments = u32::try_from(self.random.below(20)).unwrap();
                self.disk.fail(fails, moments);
                Some(format!("the database fails in {moments} moments: {fails:?}"))
            }
            Fault::ClockIsSet => {
                let ms = i64::try_from(self.random.below(7_200_000)).unwrap() - 3_600_000;
                self.clock.set_wrong_by(ms);
                Some(format!("the clock is wrong by {ms} ms"))
            }
            // These are in what the doubles do.
            Fault::Late | Fault::Apps => None,
        }
    }
}

fn pick<T: Clone>(random: &mut Random, from: Vec<(usize, T)>) -> Option<T> {
    let places: Vec<(usize, usize)> = from.iter().enumerate().map(|(place, (weight, _))| (*weight, place)).collect();
    random.weighted(&places).map(|place| from[place].1.clone())
}

fn said(report: &HostReport) -> String {
    match report {
        HostReport::Claim { worker } => format!("host says worker {worker} claims"),
        HostReport::Heartbeat { worker, .. } => format!("host says worker {worker} lives"),
        HostReport::PhaseFinished { deployment, attempt, phase, outcome } => {
            format!("host says {phase} of {deployment} is {} (attempt {attempt})", outcome.as_str())
        }
        HostReport::Replica { replica, state } => format!("host says {replica} is {}", state.as_str()),
        other => format!("host says {other:?}"),
    }
}
