//! Which replicas of a live deployment run: a restart replaces them one by one, a new one ready before an old one goes.
//!
//! A replica has a number, which is never given twice, so that a new one is never mistaken for one that is still on its way out.
//! Every change is a step to another roster, stored before anyone acts on it: a server that comes back goes on from there.

use serde::{Deserialize, Serialize};

/// The replicas of one deployment, by number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Roster {
    /// How many are wanted.
    count: u32,
    /// Those that run, in order; one more than wanted while one is being replaced, none when stopped.
    running: Vec<u32>,
    /// Those of them that a restart still replaces.
    replacing: Vec<u32>,
    /// The first number that was never given.
    next: u32,
}

impl Roster {
    /// As a deployment begins.
    pub fn new(count: u32) -> Self {
        Self { count, running: (1..=count).collect(), replacing: Vec::new(), next: count.saturating_add(1) }
    }

    pub fn count(&self) -> u32 {
        self.count
    }

    pub fn running(&self) -> &[u32] {
        &self.running
    }

    pub fn is_stopped(&self) -> bool {
        self.running.is_empty()
    }

    /// How many a restart still has to replace.
    pub fn left_to_replace(&self) -> u32 {
        u32::try_from(self.replacing.len()).unwrap_or(u32::MAX)
    }

    /// Of a restart that is under way: it has not come to its second replica yet.
    pub fn has_replaced_none(&self) -> bool {
        self.left_to_replace() >= self.count
    }

    /// The newest, while it is there beside the one that it replaces.
    pub fn replacement(&self) -> Option<u32> {
        let surplus = !self.replacing.is_empty() && self.running.len() > self.count as usize;
        surplus.then(|| self.running.last().copied()).flatten()
    }

    /// Every replica that runs now is to be replaced. One that was being started for an earlier restart may have begun with what
    /// counted then: it goes, and another one takes its place.
    #[must_use]
    pub fn restarted(&self) -> Self {
        let roster = self.without_replacement();
        Self { replacing: roster.running.clone(), ..roster }
    }

    /// So many from now on. What is too much goes, what is to be replaced anyway first; what is missing starts. When it is stopped,
    /// only the number is noted.
    #[must_use]
    pub fn scaled(&self, count: u32) -> Self {
        let mut scaled = Self { count, ..self.without_replacement() };
        if self.is_stopped() {
            return scaled;
        }
        while scaled.running.len() > count as usize {
            let last = scaled.replacing.pop().or(scaled.running.last().copied());
            scaled.running.retain(|number| Some(*number) != last);
        }
        while scaled.running.len() < count as usize {
            scaled.add();
        }
        scaled
    }

    #[must_use]
    pub fn stopped(&self) -> Self {
        Self { running: Vec::new(), replacing: Vec::new(), ..self.clone() }
    }

    /// As many as are wanted, all of them new; unchanged when it is not stopped.
    #[must_use]
    pub fn started(&self) -> Self {
        let mut started = self.clone();
        while self.is_stopped() && started.running.len() < self.count as usize {
            started.add();
        }
        started
    }

    /// The next step of a restart. None: there is nothing to do (yet).
    #[must_use]
    pub fn step(&self, is_ready: impl Fn(u32) -> bool) -> Option<Self> {
        let old = *self.replacing.first()?;
        let mut next = self.clone();
        match self.replacement() {
            None => next.add(),
            Some(new) if is_ready(new) => {
                next.running.retain(|number| *number != old);
                next.replacing.remove(0);
            }
            Some(_) => return None,
        }
        Some(next)
    }

    /// A replacement does not become ready: what is left of the old ones stays.
    #[must_use]
    pub fn given_up(&self) -> Self {
        Self { replacing: Vec::new(), ..self.without_replacement() }
    }

    fn without_replacement(&self) -> Self {
        let newest = self.replacement();
        let running = self.running.iter().copied().filter(|number| Some(*number) != newest).collect();
        Self { running, ..self.clone() }
    }

    fn add(&mut self) {
        self.running.push(self.next);
        self.next = self.next.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run_to_the_end(mut roster: Roster) -> Vec<Vec<u32>> {
        let mut seen = vec![roster.running.clone()];
        while let Some(next) = roster.step(|_| true) {
            roster = next;
            seen.push(roster.running.clone());
        }
        seen
    }

    #[test]
    fn a_restart_replaces_one_by_one_and_never_runs_fewer() {
        let restarted = Roster::new(3).restarted();
        assert_eq!(restarted.step(|_| false).unwrap().step(|_| false), None, "the first new one is waited for");
        let seen = run_to_the_end(restarted);
        let expected: [&[u32]; 7] =
            [&[1, 2, 3], &[1, 2, 3, 4], &[2, 3, 4], &[2, 3, 4, 5], &[3, 4, 5], &[3, 4, 5, 6], &[4, 5, 6]];
        assert_eq!(seen, expected);
        // Once more, in the middle of it: what is new already is replaced too, and what was being started.
        let middle = Roster::new(2).restarted().step(|_| true).unwrap().restarted();
        assert_eq!((middle.running(), middle.left_to_replace()), (&[1, 2][..], 2));
        assert_eq!(run_to_the_end(middle), [&[1, 2][..], &[1, 2, 4], &[2, 4], &[2, 4, 5], &[4, 5]]);
    }

    #[test]
    fn a_replacement_that_does_not_come_up_leaves_the_old_ones() {
        let begun = Roster::new(2).restarted().step(|_| true).unwrap();
        assert_eq!(begun.replacement(), Some(3));
        let given_up = begun.given_up();
        assert_eq!((given_up.running(), given_up.left_to_replace()), (&[1, 2][..], 0));
        assert!(begun.has_replaced_none() && !begun.step(|_| true).unwrap().has_replaced_none());
        assert_eq!(given_up.restarted().step(|_| true).unwrap().running(), [1, 2, 4], "no number is given twice");
    }

    #[test]
    fn scaling_keeps_what_runs() {
        let two = Roster::new(2);
        assert_eq!(two.scaled(4).running(), [1, 2, 3, 4]);
        assert_eq!(two.scaled(4).scaled(1).running(), [1]);
        assert_eq!(two.scaled(4).scaled(1).scaled(2).running(), [1, 5]);
        let restarting = two.restarted().step(|_| true).unwrap().step(|_| true).unwrap();
        assert_eq!((restarting.running(), restarting.left_to_replace()), (&[2, 3][..], 1));
        assert_eq!(restarting.scaled(1).running(), [3], "the old one goes first");
        assert_eq!(run_to_the_end(restarting.scaled(3)).last().unwrap(), &[3, 4, 5]);
    }

    #[test]
    fn what_is_stopped_stays_so_until_it_is_started() {
        let stopped = Roster::new(2).restarted().stopped();
        assert!(stopped.is_stopped() && stopped.step(|_| true).is_none());
        assert!(stopped.scaled(3).is_stopped() && stopped.restarted().is_stopped());
        assert_eq!(stopped.started().running(), [3, 4]);
        assert_eq!(stopped.scaled(3).started().running(), [3, 4, 5]);
        assert_eq!(Roster::new(2).started(), Roster::new(2));
    }
}
