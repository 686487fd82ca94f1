//! A results folder: what lies in it, and whether it belongs to the experiment at hand.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use evaluator::{SystemText, Task};
use runner::read_text_up_to;

use crate::experiment::{ModelChoice, StopRule, Workload};
use crate::fault::Fault;
use crate::journal::{self, Record};
use crate::plan::Plan;
use crate::report::{self, Conditions, Header};
use crate::run::Shard;
use crate::whole_file;

/// More than the settings of the largest experiment take.
const SETTINGS_BYTES: u64 = 16 << 20;

/// `DIR/<experiment>/`.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// Opens or creates the folder of a plan; refuses one that holds results of other settings.
    pub(crate) fn open(results: &Path, plan: &Plan, force: bool) -> Result<Self> {
        let path = results.join(&plan.experiment.name);
        create(&path)?;
        let _alone = lock(&path)?;
        let config = toml::to_string(&plan.experiment)
            .context("the experiment cannot be written as TOML")?;
        let stored = match read_text_up_to(&path.join("config.toml"), SETTINGS_BYTES) {
            Ok(stored) => Some(stored),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            // What cannot be read is nobody's to overwrite, unless it is to be set aside.
            Err(_) if force => Some(String::new()),
            Err(error) => {
                let message =
                    format!("cannot read `{}`: {error}", path.join("config.toml").display());
                return Err(Fault::usage(message)
                    .hint("give another `--results` folder, or `--force` to set this one aside")
                    .into());
            }
        };
        match stored {
            Some(_) if force => {
                set_aside(&path)?;
                create(&path)?;
            }
            Some(stored) if stored != config => {
                let message = format!(
                    "`{}` holds results of other settings: {}",
                    path.display(),
                    difference(&stored, &config)
                );
                return Err(Fault::usage(message)
                    .hint("give another `--results` folder, or `--force` to set these aside")
                    .into());
            }
            _ => {}
        }
        whole_file::write(&path.join("config.toml"), config.as_bytes())?;
        let manifest = serde_json::to_vec_pretty(&header(plan))?;
        whole_file::write(&path.join("manifest.json"), &manifest)?;
        Ok(Self(path))
    }

    /// The journal of a whole run, or of one shard of it.
    pub(crate) fn journal(&self, shard: Option<Shard>) -> PathBuf {
        self.0.join(match shard {
            None => "samples.jsonl".to_owned(),
            Some(Shard { part, of }) => format!("samples.{part}-of-{of}.jsonl"),
        })
    }

    /// All records of all journals.
    pub(crate) fn records(&self) -> Result<Vec<Record>> {
        let mut paths: Vec<PathBuf> = std::fs::read_dir(&self.0)
            .with_context(|| format!("cannot read `{}`", self.0.display()))?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| {
                let named = path
                    .file_name()
                    .is_some_and(|name| name.to_string_lossy().starts_with("samples."));
                named && path.extension().is_some_and(|extension| extension == "jsonl")
            })
            .collect();
        paths.sort();
        let mut records = Vec::new();
        for path in paths {
            records.extend(journal::read(&path)?);
        }
        let mut seen = BTreeSet::new();
        if let Some(twice) = records.iter().find(|record| !seen.insert(record.name())) {
            let Record { arm, sample, .. } = twice;
            let folder = self.0.display();
            let message =
                format!("the journals in `{folder}` hold arm `{arm}`, sample {sample}, twice");
            return Err(Fault::data(message).hint("remove one of the lines").into());
        }
        Ok(records)
    }

    /// The report's text.
    pub(crate) fn summary(&self) -> Result<String> {
        let path = self.0.join("report.md");
        std::fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))
    }
}

fn create(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).with_context(|| format!("cannot create `{}`", path.display()))
}

/// Keeps other processes, such as other shards, from writing tables to a folder until the value is dropped, where the file system
/// can do that.
fn lock(path: &Path) -> Result<File> {
    let folder = File::open(path).with_context(|| format!("cannot open `{}`", path.display()))?;
    let _ = folder.lock();
    Ok(folder)
}

/// Renames a folder of earlier results to the first free `<name>.old-N`.
fn set_aside(path: &Path) -> Result<()> {
    let aside = (1..10_000)
        .map(|n| PathBuf::from(format!("{}.old-{n}", path.display())))
        .find(|aside| !aside.exists());
    let aside = aside.context("no free name to set the results aside")?;
    std::fs::rename(path, &aside).with_context(|| format!("cannot rename `{}`", path.display()))
}

/// The first line in which two configurations differ.
fn difference(stored: &str, wanted: &str) -> String {
    let mut lines = stored.lines().zip(wanted.lines());
    match lines.find(|(stored, wanted)| stored != wanted) {
        Some((stored, wanted)) => format!("`{stored}` there, `{wanted}` here"),
        None => "one has more arms than the other".to_owned(),
    }
}

/// Writes tables, plots and pages from the journal; returns how many alarms they raise.
pub(crate) fn write(folder: &Folder, plan: &Plan) -> Result<usize> {
    let _alone = lock(&folder.0)?;
    tables(folder, &header(plan))
}

/// Everything that follows from the journal; with frames, the summary as Parquet too. Returns the number of rows with an alarm.
fn tables(folder: &Folder, header: &Header) -> Result<usize> {
    let records = folder.records()?;
    if let Some(record) = records.iter().find(|record| !header.arms.contains(&record.arm)) {
        let (folder, arm) = (folder.0.display(), &record.arm);
        let message = format!(
            "the journals in `{folder}` hold arm `{arm}`, which its manifest does not name"
        );
        return Err(Fault::data(message).hint("remove its lines").into());
    }
    let alarms = report::write(&folder.0, header, &records)?;
    #[cfg(feature = "frames")]
    evaluator::frames::rows_to_parquet(
        &folder.0.join("summary.csv"),
        &folder.0.join("summary.parquet"),
    )?;
    Ok(alarms)
}

/// Writes them again for a folder, without plan or model.
pub(crate) fn report(folder: &Path) -> Result<()> {
    let folder = Folder(folder.to_owned());
    let path = folder.0.join("manifest.json");
    let text = read_text_up_to(&path, SETTINGS_BYTES).map_err(|error| {
        Fault::data(format!("cannot read `{}`: {error}", path.display()))
            .hint("give the folder of one experiment's results")
    })?;
    let header: Header = serde_json::from_str(&text)
        .map_err(|error| Fault::data(format!("`{}`: {error}", path.display())))?;
    let _alone = lock(&folder.0)?;
    tables(&folder, &header)?;
    Ok(())
}

fn header(plan: &Plan) -> Header {
    let experiment = &plan.experiment;
    let joined = |of: fn(&ModelChoice) -> String| {
        experiment.models.iter().map(of).collect::<Vec<_>>().join(", ")
    };
    Header {
        experiment: experiment.name.clone(),
        title: experiment.title.clone(),
        model: joined(|model| model.name.clone()),
        weights: joined(|model| model.weights.to_string()),
        arms: experiment.arms.iter().map(|arm| arm.label.clone()).collect(),
        conditions: conditions(plan),
        device: Some(plan.device.clone()),
        notes: plan.notes(),
    }
}

/// One for each workload; models that read the same prompts in different forms are told together.
fn conditions(plan: &Plan) -> Vec<Conditions> {
    let parts = || plan.models.iter().flat_map(|model| &model.parts);
    let workloads = plan.models[0].parts.iter().map(|part| (&part.workload, part.source));
    let all = workloads.map(|(workload, source)| {
        let Workload { swept, task, generation } = workload;
        let same = parts().filter(|part| part.workload == *workload);
        let forms: BTreeSet<&str> = same.map(|part| part.form.as_str()).collect();
        let mut prompts = Vec::from_iter(forms).join(" or ");
        if let Ok(known) = Task::of(task.dataset) {
            if task.system == SystemText::Published && known.system_subject.is_some() {
                prompts += ", published system text";
            }
            if let Some(most) = task.most_prompt_tokens(known) {
                prompts = format!("{prompts}, cut in the middle above {most} tokens");
            }
        }
        let stop = match generation.stop {
            StopRule::Published => "the tokenizer's own end token, which is not the first token",
            StopRule::Model => "any end token of the model",
        };
        Conditions {
            dataset: task.dataset.to_string(),
            questions: task.questions,
            source,
            prompts,
            max_new_tokens: generation.max_new_tokens,
            stop: stop.to_owned(),
            seed: generation.seed,
            swept: swept.clone(),
        }
    });
    all.collect()
}
