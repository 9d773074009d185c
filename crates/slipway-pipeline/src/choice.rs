//! Choices among many: which deployment a worker takes, which release a rollback means.

use slipway_types::{DeploymentId, ServiceId, TimestampMs};

/// A deployment that waits for a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    pub deployment: DeploymentId,
    pub service: ServiceId,
    pub sequence: u64,
    pub created_at: TimestampMs,
    /// It had a worker before the server restarted: it goes first.
    pub resuming: bool,
}

/// What an idle worker takes: the oldest, resuming ones first. A service has one build at a time, so that two
/// migrations of it never run at once; `building` names the services that have one.
pub fn next_build<'c>(waiting: &'c [Candidate], building: &[ServiceId]) -> Option<&'c Candidate> {
    waiting
        .iter()
        .filter(|candidate| !building.contains(&candidate.service))
        .min_by_key(|candidate| (!candidate.resuming, candidate.created_at, candidate.sequence))
}

/// A release of a service, as a rollback sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PastRelease {
    pub number: u32,
    /// It has served. Only such a one is chosen unless its number is given.
    pub was_live: bool,
}

/// Why there is nothing to roll back to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RollbackRefusal {
    /// No release of that number.
    Unknown { number: u32 },
    /// It is live now.
    AlreadyLive { number: u32 },
    /// No older release was ever live.
    NothingBefore,
}

/// The number of the release that a rollback means: `wanted`, else the newest one below the live one that was live.
///
/// # Errors
/// When there is no such release.
pub fn rollback_target(
    releases: &[PastRelease],
    live: Option<u32>,
    wanted: Option<u32>,
) -> Result<u32, RollbackRefusal> {
    if let Some(number) = wanted {
        return match releases.iter().any(|release| release.number == number) {
            false => Err(RollbackRefusal::Unknown { number }),
            true if live == Some(number) => Err(RollbackRefusal::AlreadyLive { number }),
            true => Ok(number),
        };
    }
    releases
        .iter()
        .filter(|release| release.was_live && live.is_none_or(|live| release.number < live))
        .map(|release| release.number)
        .max()
        .ok_or(RollbackRefusal::NothingBefore)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(name: &str, service: &str, created_at: i64, resuming: bool) -> Candidate {
        Candidate {
            deployment: DeploymentId::parse(name).unwrap(),
            service: ServiceId::parse(service).unwrap(),
            sequence: 1,
            created_at,
            resuming,
        }
    }

    #[test]
    fn the_oldest_goes_first_and_resuming_before_all() {
        let mut waiting = vec![candidate("b", "s1", 20, false), candidate("a", "s2", 10, false)];
        assert_eq!(next_build(&waiting, &[]).unwrap().deployment.as_str(), "a");
        waiting.push(candidate("c", "s3", 30, true));
        assert_eq!(next_build(&waiting, &[]).unwrap().deployment.as_str(), "c");
        assert_eq!(next_build(&[], &[]), None);
    }

    #[test]
    fn a_service_builds_once_at_a_time() {
        let waiting = vec![candidate("a", "s1", 10, false), candidate("b", "s2", 20, false)];
        let s1 = ServiceId::parse("s1").unwrap();
        assert_eq!(next_build(&waiting, &[s1]).unwrap().deployment.as_str(), "b");
    }

    #[test]
    fn a_rollback_goes_to_what_served_before() {
        let releases =
            [(1, true), (2, true), (3, false), (4, true)].map(|(number, was_live)| PastRelease { number, was_live });
        let cases = [
            (Some(4), None, Ok(2)),
            (Some(2), None, Ok(1)),
            (Some(1), None, Err(RollbackRefusal::NothingBefore)),
            (None, None, Ok(4)),
            (Some(4), Some(3), Ok(3)),
            (Some(1), Some(4), Ok(4)),
            (Some(4), Some(4), Err(RollbackRefusal::AlreadyLive { number: 4 })),
            (Some(4), Some(9), Err(RollbackRefusal::Unknown { number: 9 })),
        ];
        for (live, wanted, expected) in cases {
            assert_eq!(rollback_target(&releases, live, wanted), expected, "{live:?} {wanted:?}");
        }
    }
}
