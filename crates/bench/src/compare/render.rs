//! A comparison for readers and for CI.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::judge::{Check, Comparison, LEVEL, Measure, Outcome};
use crate::report::table::Table;

impl Comparison {
    /// A heading, one sentence with the outcome, and a table of whatever changed.
    pub(crate) fn markdown(&self, baseline: &Path, candidate: &Path) -> String {
        let count = |outcome| self.checks.iter().filter(|it| it.outcome == outcome).count();
        let [same, within, better, regressed] =
            [Outcome::Same, Outcome::Within, Outcome::Better, Outcome::Regressed].map(count);
        let verdict = match (regressed, within + better) {
            (0, 0) => "No difference.".to_owned(),
            (0, _) => "No regression.".to_owned(),
            (1, _) => "**1 regression.**".to_owned(),
            (n, _) => format!("**{n} regressions.**"),
        };
        let (baseline, candidate) = (baseline.display(), candidate.display());
        let mut text = format!(
            "# `{candidate}` against `{baseline}`\n\n{verdict} Of {} checks {same} are the same, {within} differ by no more than is let pass, {better} are better, {regressed} are worse.\n",
            self.checks.len()
        );
        let mut changed: Vec<&Check> =
            self.checks.iter().filter(|check| check.outcome != Outcome::Same).collect();
        changed.sort_by_key(|check| match check.outcome {
            Outcome::Regressed => 0,
            Outcome::Better => 1,
            Outcome::Within | Outcome::Same => 2,
        });
        if !changed.is_empty() {
            text += "\n";
            text += &Table::new(
                ["arm", "measure", "baseline", "candidate", "p", "outcome"],
                changed.into_iter().map(line),
            )
            .markdown();
        }
        for note in &self.notes {
            text.extend(["\n", note, "\n"]);
        }
        text + &format!(
            "\nA score is worse if it fell by more than {} points and a sign-flip test over prompts, corrected for the number of tests, has p < {LEVEL}. Entries may change, and bytes grow, by {} %.\n",
            self.tolerance.score,
            100.0 * self.tolerance.size
        )
    }

    /// `JUnit`: a suite per arm, a case per measure.
    ///
    /// # Errors
    /// If it cannot be written as XML.
    pub(crate) fn junit(&self) -> Result<String> {
        let mut suites: BTreeMap<&str, TestSuite> = BTreeMap::new();
        for check in &self.checks {
            let suite =
                suites.entry(&check.arm).or_insert_with(|| TestSuite::new(check.arm.as_str()));
            let mut status = TestCaseStatus::success();
            if check.outcome == Outcome::Regressed {
                status = TestCaseStatus::non_success(NonSuccessKind::Failure);
                status.set_message(check.describe());
            }
            suite.add_test_case(TestCase::new(check.measure.name(), status));
        }
        let mut report = Report::new("bench compare");
        report.add_test_suites(suites.into_values());
        report.to_string().context("the comparison cannot be written as JUnit")
    }
}

fn line(check: &Check) -> [String; 6] {
    let number = |value: f64| match check.measure {
        Measure::Score(_) => format!("{value:.2}"),
        _ => format!("{value:.1}"),
    };
    let outcome = match check.outcome {
        Outcome::Same => "same",
        Outcome::Within => "let pass",
        Outcome::Better => "better",
        Outcome::Regressed => "**worse**",
    };
    [
        check.arm.clone(),
        check.measure.name().to_owned(),
        number(check.baseline),
        number(check.candidate),
        check.p.map_or_else(|| "–".to_owned(), |p| format!("{p:.3}")),
        outcome.to_owned(),
    ]
}
