use std::fmt::Write;

use anyhow::Result;
use evaluator::{Dataset, FileScore, Task, generations};

use super::{print, print_json};
use crate::cli::{Format, ScoreArgs};

/// `bench score`
pub(crate) fn score(args: &ScoreArgs) -> Result<()> {
    let dataset: Dataset = args.dataset.parse()?;
    let score = FileScore::new(Task::of(dataset)?, &generations::read(&args.generations)?);
    let rows = [("official", &score.official), ("aligned", &score.aligned)];
    match args.format {
        Format::Json => print_json(&serde_json::to_value(&score)?),
        Format::Csv => {
            let mut text =
                "dataset,samples,questions,scorer,score,score_ci_low,score_ci_high\n".to_owned();
            for (scorer, rule) in rows {
                let bound =
                    |bound: Option<f64>| bound.map_or_else(String::new, |bound| bound.to_string());
                let (low, high) =
                    (bound(rule.ci.map(|[low, _]| low)), bound(rule.ci.map(|[_, high]| high)));
                let _ = writeln!(
                    text,
                    "{dataset},{},{},{scorer},{},{low},{high}",
                    score.samples, score.questions, rule.score
                );
            }
            print(&text)
        }
        Format::Table => {
            let mut text =
                format!("{dataset}: {} samples, {} questions\n", score.samples, score.questions);
            for (scorer, rule) in rows {
                let ci = rule
                    .ci
                    .map_or_else(String::new, |[low, high]| format!("  [{low:.2}, {high:.2}]"));
                let _ = writeln!(text, "{scorer:<9} {:>8.4}{ci}", rule.score);
            }
            let _ = writeln!(text, "audit     {}", serde_json::to_value(score.audit)?);
            print(&text)
        }
    }
}
