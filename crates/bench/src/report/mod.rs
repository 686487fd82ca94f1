//! Records to tables, plots and pages. Everything but [`write()`] is a pure function that returns bytes.

pub(crate) mod alarm;
mod findings;
mod kinds;
mod page;
mod plot;
pub(crate) mod study;
#[cfg(test)]
pub(crate) mod synthetic;
pub(crate) mod table;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use evaluator::Source;
use serde::{Deserialize, Serialize};

use self::kinds::KindRow;
use self::page::{Plot, Section};
use self::plot::{Accuracy, AccuracyBytes, Lines, Picture};
use self::study::Setting;
use crate::journal::Record;
use crate::row::{self, Row};
use crate::summary::Summary;
use crate::timing::{self, Timing};
use crate::whole_file;

/// What a report says about its run beyond the records; part of `manifest.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Header {
    /// Name of the experiment.
    pub(crate) experiment: String,
    /// Heading of the report.
    pub(crate) title: String,
    pub(crate) model: String,
    /// Which weights, as in `f32 safetensors`.
    pub(crate) weights: String,
    /// Labels of all arms, in the order of the rows.
    pub(crate) arms: Vec<String>,
    /// What the arms worked on: one for each choice from lists of the task and of the generation.
    pub(crate) conditions: Vec<Conditions>,
    /// What ran it, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) device: Option<String>,
    /// What a reader must know, one sentence each.
    #[serde(default)]
    pub(crate) notes: Vec<String>,
}

/// One set of prompts, and how texts were generated from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Conditions {
    pub(crate) dataset: String,
    /// Questions in each prompt.
    pub(crate) questions: usize,
    /// Whose questions and worked examples the prompts show.
    pub(crate) source: Source,
    /// How prompts are wrapped: template and system text, in words.
    pub(crate) prompts: String,
    pub(crate) max_new_tokens: usize,
    /// What ends a text before that, in words.
    pub(crate) stop: String,
    pub(crate) seed: u64,
    /// What was picked from lists, as `key=value`; empty without any.
    pub(crate) swept: String,
}

/// Writes `summary.csv`, `summary.json`, `timings.csv`, where questions have kinds `kinds.csv`, `plots/`, `report.md` and `report.html`, each under another
/// name first, so that no reader ever sees half a file. Returns how many arms raise an alarm.
pub(crate) fn write(folder: &Path, header: &Header, records: &[Record]) -> Result<usize> {
    let settings = study::settings(&header.arms, records)?;
    let plots = folder.join("plots");
    fs::create_dir_all(&plots).with_context(|| format!("cannot create `{}`", plots.display()))?;
    let several = settings.len() > 1;
    let sections = settings.iter().map(|setting| section(&plots, header, setting, several));
    let sections: Vec<Section> = sections.collect::<Result<_>>()?;

    let rows: Vec<Row> = sections.iter().flat_map(|section| section.rows.clone()).collect();
    let timings: Vec<Timing> =
        sections.iter().flat_map(|section| section.timings.clone()).collect();
    let mut notes = header.notes.clone();
    notes.extend(findings::notes(&settings, &header.arms));
    let blocks = page::blocks(header, &sections, &notes);
    let files = [
        ("summary.csv", table::csv(&rows)?),
        ("summary.json", Summary::new(header, &settings, &notes).to_json()?),
        ("timings.csv", table::csv(&timings)?),
        ("report.md", page::markdown(&blocks).into_bytes()),
        ("report.html", page::html(&header.title, &blocks).into_bytes()),
    ];
    let kinds: Vec<KindRow> = settings.iter().flat_map(kinds::rows).collect();
    if !kinds.is_empty() {
        whole_file::write(&folder.join("kinds.csv"), &table::csv(&kinds)?)?;
    }
    files.iter().try_for_each(|(name, bytes)| whole_file::write(&folder.join(name), bytes))?;
    Ok(rows.iter().filter(|row| !row.alarms.is_empty()).count())
}

/// One setting's rows and timings, and its plots, which are written at once.
fn section<'a>(
    plots: &Path,
    header: &Header,
    setting: &'a Setting,
    several: bool,
) -> Result<Section<'a>> {
    let rows = row::rows(&header.experiment, setting);
    let Setting { model, weights, dataset, questions, swept, .. } = setting;
    let prefix = if several { slug(setting) } else { String::new() };
    let prompts = match setting.prompts() {
        1 => "1 prompt".to_owned(),
        prompts => format!("{prompts} prompts"),
    };
    let swept = if swept.is_empty() { String::new() } else { format!(", {swept}") };
    let subtitle =
        format!("{model} ({weights}) on {dataset}, {prompts} of {questions} questions{swept}");
    let stem = |name: &str| format!("{prefix}{name}");
    let accuracy = Accuracy::by_rule(&rows, &subtitle);
    let bytes = AccuracyBytes { rows: &rows, subtitle: &subtitle };
    let kinds = Accuracy::by_kind(&rows, &kinds::rows(setting), &subtitle);
    let by_kind = kinds
        .map(|kinds| plot(plots, stem("kinds"), "Accuracy by arm and kind of question", &kinds));
    let by_kind = by_kind.transpose()?;
    let pictures = vec![
        plot(plots, stem("accuracy"), "Accuracy by arm, with 95 % intervals", &accuracy)?,
        plot(
            plots,
            stem("question_groups"),
            "Accuracy by question position, among answers found",
            &Lines::question_groups(setting, &subtitle),
        )?,
        plot(
            plots,
            stem("entries"),
            "Cache entries per KV head over decode steps",
            &Lines::entries(setting, &subtitle),
        )?,
        plot(
            plots,
            stem("accuracy_bytes"),
            "Accuracy against bytes allocated for the cache",
            &bytes,
        )?,
    ];
    Ok(Section { setting, timings: timing::timings(setting), plots: pictures, by_kind, rows })
}

/// What tells one setting's plots from another's in their names.
fn slug(setting: &Setting) -> String {
    let Setting { model, weights, dataset, questions, swept, .. } = setting;
    let name = format!("{}--{weights}-{dataset}-{questions}-{swept}-", model.replace('/', "--"));
    name.replace(|c: char| !c.is_ascii_alphanumeric() && !"._-".contains(c), "-").replace("--", "-")
}

fn plot(
    folder: &Path,
    stem: String,
    caption: &'static str,
    picture: &impl Picture,
) -> Result<Plot> {
    let svg = plot::svg(picture)?;
    whole_file::write(&folder.join(format!("{stem}.svg")), svg.as_bytes())?;
    whole_file::write(&folder.join(format!("{stem}.png")), &plot::png(picture)?)?;
    Ok(Plot { stem, caption, svg })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
        let entries = |folder: &Path| {
            let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
            paths.filter(|path| path.is_file()).collect::<Vec<_>>()
        };
        let paths = entries(folder).into_iter().chain(entries(&folder.join("plots")));
        let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
        let mut files: Vec<_> = paths.map(|path| (name(&path), fs::read(&path).unwrap())).collect();
        files.sort();
        files
    }

    #[test]
    fn files_are_complete_and_do_not_depend_on_the_order_of_the_journal() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut records = synthetic::records();
        assert_eq!(write(one.path(), &synthetic::header(), &records).unwrap(), 3);
        records.reverse();
        records.rotate_left(7);
        // A cell that two shards computed counts once.
        records.push(records[3].clone());
        write(two.path(), &synthetic::header(), &records).unwrap();
        let files = files(one.path());
        let names: Vec<_> = files.iter().map(|(name, _)| name.as_str()).collect();
        insta::assert_snapshot!(names.join(" "), @"accuracy.png accuracy.svg accuracy_bytes.png accuracy_bytes.svg entries.png entries.svg question_groups.png question_groups.svg report.html report.md summary.csv summary.json timings.csv");
        assert!(files.iter().all(|(_, bytes)| !bytes.is_empty()));
        assert!(files == self::files(two.path()), "bytes differ");
    }

    #[test]
    fn clocks_and_lanes_leave_the_summary_alone() {
        let folder = tempfile::tempdir().unwrap();
        let summary = |records: &[Record]| {
            write(folder.path(), &synthetic::header(), records).unwrap();
            fs::read(folder.path().join("summary.csv")).unwrap()
        };
        let mut records = synthetic::records();
        let before = summary(&records);
        for record in &mut records {
            (record.lanes, record.ttft_ms, record.decode_ms, record.policy_ms) =
                (1.0, 2.0, 3.0, 4.0);
        }
        assert_eq!(before, summary(&records));
    }

    #[test]
    fn nothing_finished_yet_is_no_error() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(write(folder.path(), &synthetic::header(), &[]).unwrap(), 0);
        assert!(
            fs::read_to_string(folder.path().join("report.md"))
                .unwrap()
                .starts_with("# A small run")
        );
    }

    #[test]
    fn strangers_and_contradictions_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let refused = |change: fn(&mut Record)| {
            let mut records = synthetic::records();
            change(&mut records[5]);
            write(folder.path(), &synthetic::header(), &records).unwrap_err().to_string()
        };
        insta::assert_snapshot!(refused(|record| record.arm = "new".to_owned()), @"the journal has the arm `new`, which the experiment does not name");
        insta::assert_snapshot!(refused(|record| record.dataset = "trivia".to_owned()), @"unknown data set `trivia`: use `gsm8k`, `mmlu`, `csqa`, `en_sum` or `synthetic`");
        insta::assert_snapshot!(refused(|record| record.sample = 0), @"the arm `full` has two cells of sample 0, `full-0` and `full-1`");
    }
}
