//! The table of the kills.

use std::ops::AddAssign;

use super::scenario::Scenario;

/// Counts of a scenario.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) kills: usize,
    /// Kills that left an unfinished state.
    pub(super) inside: usize,
    /// Kills between saves, with a complete state on disk.
    pub(super) after: usize,
    /// Kills between saves, without a state on disk.
    pub(super) before: usize,
    /// All kills with a complete state on disk.
    pub(super) with_state: usize,
    /// Kills that left unfinished weights.
    pub(super) weights: usize,
    /// Runs that SIGTERM ended.
    pub(super) gentle: usize,
    /// States whose checksum was computed.
    pub(super) states: usize,
    pub(super) runs: usize,
    /// Runs that ended as the reference did.
    pub(super) equal: usize,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.kills += other.kills;
        self.inside += other.inside;
        self.after += other.after;
        self.before += other.before;
        self.with_state += other.with_state;
        self.weights += other.weights;
        self.gentle += other.gentle;
        self.states += other.states;
        self.runs += other.runs;
        self.equal += other.equal;
    }
}

const HEAD: &str = "\
| scenario | kills | inside a save | after a save | before the first | with a state | inside weights | SIGTERM | states checked | runs equal |
|---|---|---|---|---|---|---|---|---|---|
";

#[derive(Default)]
pub(super) struct Table {
    rows: String,
    sums: Vec<(String, Tally)>,
}

impl Table {
    pub(super) fn add(&mut self, scenario: &Scenario, tally: Tally) {
        let name = scenario.name();
        self.rows += &row(&name, &tally);
        let precision = name.rsplit('-').next().unwrap_or_default();
        for sum in [format!("all {precision}"), "all".to_owned()] {
            match self.sums.iter_mut().find(|(name, _)| *name == sum) {
                Some((_, sums)) => *sums += tally,
                None => self.sums.push((sum, tally)),
            }
        }
    }

    pub(super) fn not_run(&mut self, scenario: &Scenario, reason: &str) {
        self.rows += &format!("| {} | not run: {reason} ||||||||||\n", scenario.name());
    }

    pub(super) fn text(&self) -> String {
        let mut sums: Vec<_> = self.sums.iter().collect();
        sums.sort_by_key(|(name, _)| name == "all");
        let sums = sums.into_iter().map(|(name, tally)| row(name, tally));
        format!("{HEAD}{}{}", self.rows, sums.collect::<String>())
    }
}

fn row(name: &str, tally: &Tally) -> String {
    let Tally {
        kills,
        inside,
        after,
        before,
        with_state,
        weights,
        gentle,
        states,
        runs,
        equal,
    } = tally;
    format!(
        "| {name} | {kills} | {inside} | {after} | {before} | {with_state} | {weights} | {gentle} | {states} | {equal} of {runs} |\n"
    )
}
