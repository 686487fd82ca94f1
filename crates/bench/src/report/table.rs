//! Rows as bytes: CSV and JSON for programs, tables for readers.

use anyhow::Result;
use serde::Serialize;

use crate::row::Row;
use crate::timing::Timing;

/// A table that Markdown and HTML can show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) head: Vec<String>,
    pub(crate) rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new<const N: usize>(
        head: [&str; N],
        rows: impl IntoIterator<Item = [String; N]>,
    ) -> Self {
        Self {
            head: head.map(str::to_owned).to_vec(),
            rows: rows.into_iter().map(Vec::from).collect(),
        }
    }

    /// The first column is left-aligned, columns of numbers are right-aligned.
    pub(crate) fn markdown(&self) -> String {
        let line = |cells: &[String]| {
            let cells = cells.iter().map(|cell| cell.replace('|', "\\|").replace('\n', " "));
            format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "))
        };
        let rule =
            (0..self.head.len()).map(|column| if self.is_number(column) { "---:" } else { "---" });
        let rule = format!("| {} |\n", rule.collect::<Vec<_>>().join(" | "));
        let rows: String = self.rows.iter().map(|row| line(row)).collect();
        line(&self.head) + &rule + &rows
    }

    /// Whether all cells of a column begin like a number or say that there is none.
    pub(crate) fn is_number(&self, column: usize) -> bool {
        let number = |cell: &str| {
            cell == NONE
                || cell
                    .trim_start_matches(['+', '−'])
                    .starts_with(|first: char| first.is_ascii_digit())
        };
        self.rows.iter().all(|row| number(&row[column]))
    }
}

/// Shown where nothing was measured or asked for.
const NONE: &str = "–";

/// One CSV line per item under a header that serde writes.
pub(crate) fn csv<T: Serialize>(items: &[T]) -> Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for item in items {
        writer.serialize(item)?;
    }
    Ok(writer.into_inner()?)
}

/// Which method each arm ran.
pub(crate) fn arms(rows: &[Row]) -> Table {
    let line = |row: &Row| {
        let Row { arm, prefill, decode, mode, granularity, .. } = row.clone();
        [arm, prefill, decode, mode, granularity]
    };
    Table::new(["arm", "prefill", "decode", "mode", "granularity"], rows.iter().map(line))
}

/// Scores by both rules, and their differences to the full cache.
pub(crate) fn accuracy(rows: &[Row]) -> Table {
    let line = |row: &Row| {
        [
            row.arm.clone(),
            row.n_prompts.to_string(),
            with_interval(row.official, row.official_ci_low, row.official_ci_high),
            difference(row.official_delta, row.official_delta_ci_low, row.official_delta_ci_high),
            row.official_verdict.clone().unwrap_or_else(none),
            with_interval(row.aligned, row.aligned_ci_low, row.aligned_ci_high),
            difference(row.aligned_delta, row.aligned_delta_ci_low, row.aligned_delta_ci_high),
            row.aligned_verdict.clone().unwrap_or_else(none),
        ]
    };
    let head = [
        "arm",
        "prompts",
        "official, %",
        "to full cache",
        "verdict",
        "aligned, %",
        "to full cache",
        "verdict",
    ];
    Table::new(head, rows.iter().map(line))
}

/// That each arm really compressed: what was asked for, what was kept, and what it saved.
pub(crate) fn compression(rows: &[Row]) -> Table {
    let line = |row: &Row| {
        [
            row.arm.clone(),
            row.budget_prefill.map_or_else(none, |budget| budget.to_string()),
            format!("{:.0} of {:.0}", row.kept_end_prefill_mean, row.prompt_tokens_mean),
            row.budget_decode.map_or_else(none, |budget| budget.to_string()),
            format!("{:.0}", row.kept_end_decode_mean),
            format!("{:.0}", row.kept_mean_decode),
            format!("{} of {}", row.binding_prompts, row.n_prompts),
            row.evictions.to_string(),
            mebibytes(row.kv_bytes_peak_mean),
            mebibytes(row.kv_bytes_full_mean),
            percent(row.compression_ratio_end_prefill),
            percent(row.compression_ratio_end_decode),
            percent(row.compression_ratio_mean),
        ]
    };
    let head = [
        "arm",
        "prefill budget",
        "kept after prefill",
        "decode budget",
        "kept at the end",
        "kept, mean",
        "binding prompts",
        "evictions",
        "peak, MiB",
        "full, MiB",
        "ratio after prefill",
        "ratio at the end",
        "ratio, mean",
    ];
    Table::new(head, rows.iter().map(line))
}

/// What the texts did with their questions, and how they ended.
pub(crate) fn audit(rows: &[Row]) -> Table {
    let line = |row: &Row| {
        let counts = [
            row.answered,
            row.missing,
            row.repeated,
            row.out_of_range,
            row.unreadable,
            row.looping_samples,
        ];
        let [answered, missing, repeated, out_of_range, unreadable, looping] =
            counts.map(|count| count.to_string());
        let [eos, length, looped] =
            [row.stop_eos, row.stop_length, row.stop_loop].map(|count| count.to_string());
        let (arm, questions, tokens) =
            (row.arm.clone(), row.n_questions.to_string(), format!("{:.0}", row.tokens_mean));
        [
            arm,
            questions,
            answered,
            missing,
            unreadable,
            repeated,
            out_of_range,
            looping,
            tokens,
            eos,
            length,
            looped,
        ]
    };
    let head = [
        "arm",
        "questions",
        "answered",
        "missing",
        "unreadable",
        "repeated",
        "out of range",
        "looping texts",
        "tokens, mean",
        "ended itself",
        "hit the limit",
        "stopped in a loop",
    ];
    Table::new(head, rows.iter().map(line))
}

/// Clocks, with the lanes that shared each step.
pub(crate) fn speed(timings: &[Timing]) -> Table {
    let number = |value: Option<f64>| value.map_or_else(none, |value| format!("{value:.1}"));
    let line = |timing: &Timing| {
        let (low, high) = (number(timing.decode_tok_s_min), number(timing.decode_tok_s_max));
        [
            timing.arm.clone(),
            format!("{:.1}", timing.lanes_mean),
            number(timing.ttft_ms_median),
            number(timing.decode_ms_per_token_median),
            number(timing.decode_tok_s_median),
            format!("{low} to {high}"),
            timing.policy_share.map_or_else(none, percent),
        ]
    };
    let head = [
        "arm",
        "lanes, mean",
        "prompt read, ms (shared)",
        "ms per step of all lanes",
        "tokens/s of this lane",
        "slowest to fastest prompt",
        "time in policy",
    ];
    Table::new(head, timings.iter().map(line))
}

fn none() -> String {
    NONE.to_owned()
}

/// `53.3 [45.1, 60.2]`.
pub(crate) fn with_interval(value: f64, low: Option<f64>, high: Option<f64>) -> String {
    match low.zip(high) {
        Some((low, high)) => format!("{value:.1} [{low:.1}, {high:.1}]"),
        None => format!("{value:.1}"),
    }
}

/// `−10.2 [−15.0, −5.1]`.
pub(crate) fn difference(value: Option<f64>, low: Option<f64>, high: Option<f64>) -> String {
    match (value, low.zip(high)) {
        (None, _) => none(),
        (Some(value), None) => signed(value),
        (Some(value), Some((low, high))) => {
            format!("{} [{}, {}]", signed(value), signed(low), signed(high))
        }
    }
}

/// One decimal and a sign, unless it rounds to 0.
fn signed(value: f64) -> String {
    let value = (value * 10.0).round() / 10.0;
    if value == 0.0 { "0.0".to_owned() } else { format!("{value:+.1}").replace('-', "−") }
}

/// A share as `31 %`, with a decimal where that would hide it.
pub(crate) fn percent(share: f64) -> String {
    let share = share * 100.0;
    if share < 9.95 { format!("{share:.1} %") } else { format!("{share:.0} %") }
}

/// Bytes in MiB, three digits or so.
pub(crate) fn mebibytes(bytes: f64) -> String {
    let mebibytes = bytes / f64::from(1 << 20);
    if mebibytes < 9.995 { format!("{mebibytes:.2}") } else { format!("{mebibytes:.1}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::study::settings;
    use crate::report::synthetic;
    use crate::row;

    #[test]
    fn tables_read_well_as_text() {
        let records = synthetic::records();
        let settings = settings(&synthetic::header().arms, &records).unwrap();
        let rows = row::rows("demo", &settings[0]);
        insta::assert_snapshot!(accuracy(&rows).markdown(), @r"
        | arm | prompts | official, % | to full cache | verdict | aligned, % | to full cache | verdict |
        | --- | ---: | ---: | ---: | --- | ---: | ---: | --- |
        | full | 4 | 75.0 [66.7, 83.3] | – | – | 75.0 [66.7, 83.3] | – | – |
        | slide | 4 | 50.0 [50.0, 50.0] | −25.0 [−33.3, −16.7] | too few prompts to say | 50.0 [50.0, 50.0] | −25.0 [−33.3, −16.7] | too few prompts to say |
        | random | 4 | 25.0 [16.7, 33.3] | −50.0 [−66.7, −33.3] | too few prompts to say | 25.0 [16.7, 33.3] | −50.0 [−66.7, −33.3] | too few prompts to say |
        | roomy | 4 | 75.0 [66.7, 83.3] | 0.0 [0.0, 0.0] | too few prompts to say | 75.0 [66.7, 83.3] | 0.0 [0.0, 0.0] | too few prompts to say |
        | twin\|slide | 4 | 50.0 [50.0, 50.0] | −25.0 [−33.3, −16.7] | too few prompts to say | 50.0 [50.0, 50.0] | −25.0 [−33.3, −16.7] | too few prompts to say |
        ");
        insta::assert_snapshot!(compression(&rows).markdown(), @r"
        | arm | prefill budget | kept after prefill | decode budget | kept at the end | kept, mean | binding prompts | evictions | peak, MiB | full, MiB | ratio after prefill | ratio at the end | ratio, mean |
        | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
        | full | – | 100 of 100 | – | 142 | 121 | 0 of 4 | 0 | 0.14 | 0.14 | 100 % | 100 % | 100 % |
        | slide | 64 | 64 of 100 | 16 | 80 | 78 | 4 of 4 | 384 | 0.08 | 0.14 | 64 % | 57 % | 64 % |
        | random | 64 | 64 of 100 | 16 | 80 | 78 | 4 of 4 | 384 | 0.08 | 0.14 | 64 % | 57 % | 64 % |
        | roomy | 4096 | 100 of 100 | 4096 | 142 | 121 | 0 of 4 | 0 | 0.14 | 0.14 | 100 % | 100 % | 100 % |
        | twin\|slide | 64 | 64 of 100 | 16 | 80 | 78 | 4 of 4 | 384 | 0.08 | 0.14 | 64 % | 57 % | 64 % |
        ");
        let speed = speed(&crate::timing::timings(&settings[0])).markdown();
        insta::assert_snapshot!(speed.lines().take(3).collect::<Vec<_>>().join("\n"), @"
        | arm | lanes, mean | prompt read, ms (shared) | ms per step of all lanes | tokens/s of this lane | slowest to fastest prompt | time in policy |
        | --- | ---: | ---: | ---: | ---: | ---: | ---: |
        | full | 5.0 | 51.5 | 9.6 | 103.7 | 100.0 to 107.5 | 2.5 % |
        ");
    }

    #[test]
    fn numbers_are_short_and_signed() {
        assert_eq!(difference(Some(-10.24), Some(-15.0), Some(0.04)), "−10.2 [−15.0, 0.0]");
        assert_eq!(
            [difference(Some(1.0), None, None), difference(None, None, None)],
            ["+1.0", "–"]
        );
        assert_eq!([percent(0.0312), percent(0.31), percent(1.0)], ["3.1 %", "31 %", "100 %"]);
        assert_eq!([mebibytes(524_288.0), mebibytes(2e8)], ["0.50", "190.7"]);
    }
}
