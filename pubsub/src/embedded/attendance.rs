//! Who is in one room, from reports that lapse.

use crate::{Attendance, GROUPS_MAX, Group, Millis};

/// How often a mere change of numbers is published, in milliseconds: a busy room must not ring at every arrival.
const COALESCE_MS: Millis = 1_000;

/// Reports of all nodes about one room. Acts only when somebody reports: no timers.
#[derive(Debug, Default)]
pub struct Board {
    reports: Vec<Report>,
    // How many groups anybody ever reported.
    groups: usize,
    absent_since: [Option<Millis>; GROUPS_MAX],
    told: [u64; GROUPS_MAX],
    told_at: Millis,
}

#[derive(Debug)]
struct Report {
    node: String,
    counts: [u32; GROUPS_MAX],
    until: Millis,
}

/// Answer to a report.
#[derive(Debug, PartialEq)]
pub struct Reported {
    pub attendance: Attendance,
    /// Whether listeners should hear of it.
    pub tell: bool,
}

impl Board {
    /// Takes a report; more than [`GROUPS_MAX`] counts are cut off.
    pub fn report(&mut self, now: Millis, node: &str, counts: &[u32], ttl: Millis) -> Reported {
        let mut padded = [0; GROUPS_MAX];
        padded
            .iter_mut()
            .zip(counts)
            .for_each(|(to, from)| *to = *from);
        self.groups = self.groups.max(counts.len().min(GROUPS_MAX));

        // Nobody's lease held until now: nobody could have seen anyone come or go.
        let gap = self.is_idle(now);
        let ended = self.take_ended(now, node);
        if padded != [0; GROUPS_MAX] {
            self.reports.push(Report {
                node: node.into(),
                counts: padded,
                until: now.saturating_add(ttl),
            });
        }
        let sums = self.sums();
        for group in 0..GROUPS_MAX {
            let before = self.absent_since[group].filter(|_| !gap);
            let since = before.or(ended[group].filter(|_| !gap)).unwrap_or(now);
            self.absent_since[group] = (sums[group] == 0).then_some(since);
        }
        if gap {
            self.told = [0; GROUPS_MAX];
        }
        let tell = self.should_tell(now, &sums);
        if tell {
            self.told = sums;
            self.told_at = now;
        }
        let group = |index: usize| Group {
            count: sums[index],
            absent_since: self.absent_since[index],
        };
        let groups = (0..self.groups).map(group).collect();
        Reported {
            attendance: Attendance { groups },
            tell,
        }
    }

    /// Whether no lease holds: then the board may be forgotten.
    pub fn is_idle(&self, now: Millis) -> bool {
        self.reports.iter().all(|report| report.until <= now)
    }

    /// Takes away what lapsed and what `node` said before; answers when each group's presence in those ended.
    fn take_ended(&mut self, now: Millis, node: &str) -> [Option<Millis>; GROUPS_MAX] {
        let mut ended = [None; GROUPS_MAX];
        self.reports.retain(|report| {
            let end = report.until.min(now);
            if end == now && report.node != node && report.until > now {
                return true;
            }
            for (ended, count) in ended.iter_mut().zip(report.counts) {
                if count > 0 {
                    *ended = (*ended).max(Some(end));
                }
            }
            false
        });
        ended
    }

    fn sums(&self) -> [u64; GROUPS_MAX] {
        let mut sums = [0; GROUPS_MAX];
        for report in &self.reports {
            sums.iter_mut()
                .zip(report.counts)
                .for_each(|(sum, count)| *sum += u64::from(count));
        }
        sums
    }

    fn should_tell(&self, now: Millis, sums: &[u64; GROUPS_MAX]) -> bool {
        let came_or_left = sums
            .iter()
            .zip(&self.told)
            .any(|(sum, told)| (*sum == 0) != (*told == 0));
        came_or_left || (*sums != self.told && now - self.told_at >= COALESCE_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(count: u64, absent_since: Option<Millis>) -> Group {
        Group {
            count,
            absent_since,
        }
    }

    #[test]
    fn a_lapsed_lease_counts_from_when_it_lapsed() {
        let mut board = Board::default();
        board.report(1_000, "a", &[1, 0], 10_000);
        board.report(1_000, "b", &[0, 1], 3_000);
        let after = board.report(9_000, "a", &[1, 0], 10_000);
        assert_eq!(
            after.attendance.groups,
            [group(1, None), group(0, Some(4_000))]
        );
        assert!(after.tell, "a group came to 0");
        let again = board.report(12_000, "a", &[1, 0], 10_000);
        assert_eq!(again.attendance.groups[1], group(0, Some(4_000)));
        assert!(!again.tell);
    }

    #[test]
    fn after_a_gap_absence_starts_anew_and_all_are_told() {
        let mut board = Board::default();
        board.report(0, "a", &[1, 0], 1_000);
        let after = board.report(5_000, "a", &[1, 0], 1_000);
        assert_eq!(
            after.attendance.groups,
            [group(1, None), group(0, Some(5_000))]
        );
        assert!(after.tell);
    }

    #[test]
    fn leaving_counts_from_the_report() {
        let mut board = Board::default();
        board.report(0, "a", &[1, 1], 10_000);
        let after = board.report(2_000, "a", &[1, 0], 10_000);
        assert_eq!(
            after.attendance.groups,
            [group(1, None), group(0, Some(2_000))]
        );
    }

    #[test]
    fn mere_numbers_are_told_once_a_second() {
        let mut board = Board::default();
        assert!(board.report(5_000, "a", &[1], 10_000).tell);
        assert!(!board.report(5_100, "a", &[2], 10_000).tell);
        assert!(!board.report(5_900, "a", &[3], 10_000).tell);
        assert!(board.report(6_000, "a", &[3], 10_000).tell);
        assert!(
            !board.report(7_000, "a", &[3], 10_000).tell,
            "nothing changed"
        );
        assert!(
            board.report(7_100, "a", &[0], 10_000).tell,
            "came to 0: at once"
        );
        assert!(board.is_idle(7_100));
    }
}
