//! Which segment of a log goes when there is no more room.
//!
//! A log may have chapters, such as the phases of a deployment: a flood in one of them takes no line of another one that is smaller. The
//! number of a segment has its chapter in the upper half and its place there in the lower one.

const PLACE_BITS: u32 = 32;

fn chapter(segment: u64) -> u64 {
    segment >> PLACE_BITS
}

fn place(segment: u64) -> u64 {
    segment & ((1 << PLACE_BITS) - 1)
}

/// The first segment of the next chapter.
pub(super) fn next_chapter(segment: u64) -> u64 {
    (chapter(segment) + 1) << PLACE_BITS
}

/// Whether nothing was between two segments that are there. The last one of a chapter goes after all others of it.
pub(super) fn follows(former: u64, segment: u64) -> bool {
    segment == former + 1 || segment == next_chapter(former)
}

/// The name of a segment: `7`, or with chapters `2-7`.
pub(super) fn name(segment: u64) -> String {
    match (chapter(segment), place(segment)) {
        (0, place) => place.to_string(),
        (chapter, place) => format!("{chapter}-{place}"),
    }
}

pub(super) fn parse(name: &str) -> Option<u64> {
    let (chapter, place) = name.split_once('-').unwrap_or(("0", name));
    let (chapter, place): (u32, u32) = (chapter.parse().ok()?, place.parse().ok()?);
    Some(u64::from(chapter) << PLACE_BITS | u64::from(place))
}

/// The index of the segment that goes next, before `coming` is begun. Segments are numbers and bytes, oldest first. With `keep_heads`
/// what begins and what ends a chapter stays, and the largest chapter gives; without it the oldest goes.
pub(super) fn next_to_go(segments: &[(u64, u64)], coming: u64, keep_heads: bool) -> Option<usize> {
    if !keep_heads {
        return (!segments.is_empty()).then_some(0);
    }
    let bytes_of = |of: u64| segments.iter().filter(|(n, _)| chapter(*n) == of).map(|(_, bytes)| bytes).sum::<u64>();
    let ends_chapter = |index: usize| {
        let next = segments.get(index + 1).map_or(coming, |(next, _)| *next);
        chapter(next) != chapter(segments[index].0)
    };
    let middle = (0..segments.len()).filter(|index| place(segments[*index].0) > 0 && !ends_chapter(*index));
    // The first of equals is wanted, which is the oldest.
    let largest = middle.rev().max_by_key(|index| bytes_of(chapter(segments[*index].0)));
    // So many chapters that their beginnings and ends are too much: whatever is oldest, but the beginning of all.
    largest.or_else(|| segments.iter().position(|(segment, _)| *segment != 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Segments of one byte each, as `(chapter, place)`.
    fn going(segments: &[(u64, u64)], coming: (u64, u64)) -> Option<(u64, u64)> {
        let number = |(chapter, place): (u64, u64)| chapter << PLACE_BITS | place;
        let all: Vec<_> = segments.iter().map(|segment| (number(*segment), 1)).collect();
        next_to_go(&all, number(coming), true).map(|index| segments[index])
    }

    #[test]
    fn the_largest_chapter_gives_of_its_middle_and_then_the_oldest() {
        let flood: Vec<_> = (0..6).map(|place| (1, place)).collect();
        let small = [(0, 0), (0, 1), (0, 2)];
        let both = [&small[..], &flood].concat();
        assert_eq!(going(&both, (1, 6)), Some((1, 1)));
        assert_eq!(going(&[&both[..], &[(2, 0)]].concat(), (2, 1)), Some((1, 1)));
        // Equals: the older one.
        assert_eq!(going(&[&small[..], &flood[..3]].concat(), (2, 0)), Some((0, 1)));
        // Only beginnings and ends are left.
        let ends = [(0, 0), (0, 9), (1, 0), (1, 4)];
        assert_eq!(going(&ends, (2, 0)), Some((0, 9)));
        assert_eq!(going(&[(0, 0)], (0, 1)), None);
        assert_eq!(next_to_go(&[(3, 1), (4, 1)], 5, false), Some(0));
    }

    #[test]
    fn a_name_is_read_back_and_the_next_chapter_follows() {
        for segment in [0, 7, 1 << PLACE_BITS, (3 << PLACE_BITS) + 12] {
            assert_eq!(parse(&name(segment)), Some(segment));
        }
        assert_eq!(name((3 << PLACE_BITS) + 12), "3-12");
        assert_eq!([parse("x"), parse("-1"), parse("1-"), parse("1-2-3")], [None; 4]);
        assert!(follows(4, 5) && follows(4, 1 << PLACE_BITS));
        assert!(!follows(4, 6) && !follows(4, (1 << PLACE_BITS) + 1) && !follows(4, 2 << PLACE_BITS));
    }
}
