//! A choice among many: which release a rollback means.

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
