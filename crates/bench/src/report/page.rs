//! The report as blocks, and the blocks as Markdown and as HTML.

use std::fmt::Write as _;

use super::findings::{comparisons, findings};
use super::kinds;
use super::study::Setting;
use super::table::{self, Table};
use super::{Conditions, Header};
use crate::row::Row;
use crate::timing::Timing;

/// One setting with all that is shown of it.
#[derive(Debug)]
pub(crate) struct Section<'a> {
    pub(crate) setting: &'a Setting<'a>,
    pub(crate) rows: Vec<Row>,
    pub(crate) timings: Vec<Timing>,
    pub(crate) plots: Vec<Plot>,
    /// Where questions have kinds.
    pub(crate) by_kind: Option<Plot>,
}

/// A picture that was written as `plots/STEM.svg` and `plots/STEM.png`.
#[derive(Debug)]
pub(crate) struct Plot {
    pub(crate) stem: String,
    /// What it shows, for who cannot see it.
    pub(crate) caption: &'static str,
    pub(crate) svg: String,
}

/// A piece of the report. Texts may hold `code` and **strong** words.
#[derive(Debug)]
pub(crate) enum Block<'a> {
    Heading(u8, String),
    Text(String),
    List(Vec<String>),
    Table(Table),
    Plot(&'a Plot),
}

/// The whole report.
pub(crate) fn blocks<'a>(
    header: &Header,
    sections: &'a [Section],
    notes: &[String],
) -> Vec<Block<'a>> {
    let mut blocks = vec![Block::Heading(1, header.title.clone())];
    blocks.extend([Block::Heading(2, "What was run".to_owned()), Block::List(facts(header))]);
    if let Some(section) = sections.first() {
        blocks.push(Block::Table(table::arms(&section.rows)));
    }
    if !notes.is_empty() {
        blocks.extend([Block::Heading(2, "Notes".to_owned()), Block::List(notes.to_vec())]);
    }
    for section in sections {
        if sections.len() > 1 {
            blocks.push(Block::Heading(1, section.setting.title()));
        }
        blocks.extend(section_blocks(section));
    }
    blocks.extend([Block::Heading(2, "How to read this".to_owned()), Block::List(reading())]);
    blocks
}

fn facts(header: &Header) -> Vec<String> {
    let Header { experiment, model, weights, .. } = header;
    let mut facts = vec![
        format!("experiment: `{experiment}`"),
        format!("model: `{model}`, weights `{weights}`"),
    ];
    for Conditions { dataset, questions, source, prompts, max_new_tokens, stop, seed, swept } in
        &header.conditions
    {
        let swept = if swept.is_empty() { String::new() } else { format!(" ({swept})") };
        facts.extend([
            format!("data{swept}: {dataset}, {questions} questions per prompt, {source}"),
            format!("prompts{swept}: {prompts}"),
            format!("output{swept}: until {stop}, at most {max_new_tokens} tokens; seed {seed}"),
        ]);
    }
    if let Some(device) = &header.device {
        facts.push(format!("device: {device}"));
    }
    facts
}

fn section_blocks<'a>(section: &'a Section) -> Vec<Block<'a>> {
    let heading = |text: &str| Block::Heading(2, text.to_owned());
    let mut blocks =
        vec![heading("What this shows"), Block::List(findings(section.setting, &section.rows))];
    blocks.extend([heading("Alarms"), alarms(&section.rows)]);
    let mut plots = section.plots.iter().map(Block::Plot);
    blocks.extend([heading("Accuracy"), Block::Table(table::accuracy(&section.rows))]);
    blocks.extend(plots.by_ref().take(2));
    if let Some(table) = kinds::table(&kinds::rows(section.setting)) {
        blocks.extend([
            heading("By kind of question, answers paired by number"),
            Block::Table(table),
        ]);
        blocks.extend(section.by_kind.iter().map(Block::Plot));
        let told = kinds::findings(section.setting);
        if !told.is_empty() {
            let words = "SCOPE's strategies against the null baselines that continue the same prefill with the same decode budget:";
            blocks.extend([Block::Text(words.to_owned()), Block::List(told)]);
        }
    }
    if let Some(table) = comparisons(section.setting) {
        blocks.extend([
            heading("SCOPE's strategies at equal budgets, against each other and against the rest"),
            Block::Table(table),
        ]);
    }
    blocks
        .extend([heading("Proof of compression"), Block::Table(table::compression(&section.rows))]);
    blocks.extend(plots);
    blocks.extend([heading("Audit of the answers"), Block::Table(table::audit(&section.rows))]);
    blocks.extend([
        heading("Speed, measured in lockstep lanes"),
        Block::Text(
            "All lanes of a step wait for each other, so a step's time belongs to all arms in it. Arms that would compute the same share a lane until one of them evicts. These figures say what the run cost, not how fast an arm would be alone.".to_owned(),
        ),
        Block::Table(table::speed(&section.timings)),
    ]);
    blocks
}

fn alarms(rows: &[Row]) -> Block<'static> {
    let alarms = rows.iter().filter(|row| !row.alarms.is_empty());
    let alarms: Vec<_> = alarms.map(|row| format!("`{}`: {}", row.arm, row.alarms)).collect();
    if alarms.is_empty() {
        let text = "None: every arm that ought to drop entries did so for every prompt, no two arms wrote the same texts on most prompts, and no prompt is missing.";
        return Block::Text(text.to_owned());
    }
    Block::List(alarms)
}

fn reading() -> Vec<String> {
    let lines = [
        "**Two scorers.** The official score is the published rule: the k-th answer found is compared with the k-th key, so one skipped or unreadable answer spoils all later ones. The aligned score pairs answers and keys by number. Where they disagree, the audit says why.",
        "**Intervals** are 95 % bootstrap intervals over prompts, because the questions of one prompt are not independent. Differences are paired: both arms answered the same prompts. `no significant difference` means that the interval of the difference contains 0, not that the arms are equal; rows with that verdict are not ranked.",
        "**Entries** are per KV head and layer. A budget is what was asked for; kept is what was there. A decode budget comes on top of what prefill left. Binding prompts are those for which anything was dropped.",
        "**Bytes** are those allocated for a lane's cache at its peak after prefill's selection (while the prompt is read, all of it is there), entries that arms share included in each. Full is what every entry of the same sequence would take. A ratio is kept entries over all entries of the same sequence.",
        "**Lanes.** All arms of a prompt are decoded side by side, one token at a time, so that the weights are read once. Texts do not depend on it; times do.",
    ];
    lines.map(str::to_owned).to_vec()
}

/// The report as Markdown, with plots as relative links.
pub(crate) fn markdown(blocks: &[Block]) -> String {
    let parts = blocks.iter().map(|block| match block {
        Block::Heading(level, text) => format!("{} {text}\n", "#".repeat(usize::from(*level))),
        Block::Text(text) => format!("{text}\n"),
        Block::List(items) => {
            items.iter().fold(String::new(), |list, item| list + "- " + item + "\n")
        }
        Block::Table(table) => table.markdown(),
        Block::Plot(plot) => format!("![{}](plots/{}.svg)\n", plot.caption, plot.stem),
    });
    parts.collect::<Vec<_>>().join("\n")
}

const STYLE: &str = "body{font:16px/1.5 sans-serif;max-width:1100px;margin:2em auto;padding:0 1em;color:#222}\
table{border-collapse:collapse;display:block;overflow-x:auto;font-size:14px}\
th,td{border-bottom:1px solid #ddd;padding:.3em .7em;text-align:left;vertical-align:top}\
.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}\
code{background:#f3f3f3;padding:0 .2em}figure{margin:1em 0}svg{max-width:100%;height:auto}";

/// The report as one HTML file that needs nothing else.
pub(crate) fn html(title: &str, blocks: &[Block]) -> String {
    let title = escaped(title);
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\n<title>{title}</title>\n<style>{STYLE}</style>\n"
    );
    page.extend(blocks.iter().map(html_block));
    page + "</html>\n"
}

fn html_block(block: &Block) -> String {
    match block {
        Block::Heading(level, text) => format!("<h{level}>{}</h{level}>\n", inline(text)),
        Block::Text(text) => format!("<p>{}</p>\n", inline(text)),
        Block::List(items) => {
            let item = |list: String, item: &String| list + "<li>" + &inline(item) + "</li>\n";
            items.iter().fold("<ul>\n".to_owned(), item) + "</ul>\n"
        }
        Block::Table(table) => html_table(table),
        Block::Plot(plot) => format!(
            "<figure role=\"img\" aria-label=\"{}\">\n{}\n</figure>\n",
            escaped(plot.caption),
            plot.svg
        ),
    }
}

fn html_table(table: &Table) -> String {
    let line = |cells: &[String], tag: &str| {
        let mut line = String::new();
        for (column, cell) in cells.iter().enumerate() {
            let class = if table.is_number(column) { " class=\"n\"" } else { "" };
            // Writing to a `String` cannot fail.
            let _ = write!(line, "<{tag}{class}>{}</{tag}>", escaped(cell));
        }
        format!("<tr>{line}</tr>\n")
    };
    let rows: String = table.rows.iter().map(|row| line(row, "td")).collect();
    format!("<table>\n{}{rows}</table>\n", line(&table.head, "th"))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// `code` and **strong** words; a mark that is not closed stands open to the end of its text.
fn inline(text: &str) -> String {
    between(&between(&escaped(text), "`", "code"), "**", "strong")
}

fn between(text: &str, mark: &str, tag: &str) -> String {
    let mut out = String::new();
    for (place, part) in text.split(mark).enumerate() {
        // Writing to a `String` cannot fail.
        let _ = if place % 2 == 1 {
            write!(out, "<{tag}>{part}</{tag}>")
        } else {
            write!(out, "{part}")
        };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_renderings_hold_the_same_blocks() {
        let plot = Plot { stem: "accuracy".to_owned(), caption: "A & B", svg: "<svg/>".to_owned() };
        let blocks = [
            Block::Heading(1, "Run".to_owned()),
            Block::List(vec!["**no** `a<b`".to_owned()]),
            Block::Table(Table::new(["arm", "score"], [["a|b".to_owned(), "−1.0".to_owned()]])),
            Block::Plot(&plot),
        ];
        insta::assert_snapshot!(markdown(&blocks), @r"
        # Run

        - **no** `a<b`

        | arm | score |
        | --- | ---: |
        | a\|b | −1.0 |

        ![A & B](plots/accuracy.svg)
        ");
        let page = html("Run", &blocks);
        insta::assert_snapshot!(page.split_once("</style>\n").unwrap().1, @r#"
        <h1>Run</h1>
        <ul>
        <li><strong>no</strong> <code>a&lt;b</code></li>
        </ul>
        <table>
        <tr><th>arm</th><th class="n">score</th></tr>
        <tr><td>a|b</td><td class="n">−1.0</td></tr>
        </table>
        <figure role="img" aria-label="A &amp; B">
        <svg/>
        </figure>
        </html>
        "#);
    }
}
