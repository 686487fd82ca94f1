//! Laws that hold for every text and every list of scores.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use evaluator::rows::{Choices, CsqaRow, Gsm8kRow, MmluRow};
use evaluator::score::{Aligned, Official, RougeL};
use evaluator::statistics::{SEED, bootstrap_mean, by_position, mean, paired};
use evaluator::{
    Audit, Dataset, PublishedTemplate, Quirks, Rows, Set, SystemText, Task, Worked, generations,
    prompt,
};
use proptest::collection::vec;
use proptest::prelude::*;

/// Anything at all, and texts made of the pieces that the patterns look for.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("Answer_9:".to_owned()),
        Just("Answer_".to_owned()),
        Just("The answer is ".to_owned()),
        Just("(A)".to_owned()),
        Just("####".to_owned()),
        Just("$-1,0.50".to_owned()),
        Just("\n".to_owned()),
        Just("٤\u{85}é.".to_owned()),
        "[0-9]{1,30}",
        ".{0,8}",
    ];
    prop_oneof![any::<String>(), vec(piece, 0..40).prop_map(|pieces| pieces.concat())]
}

/// So many cases, and no file of past failures beside the sources.
fn cases(count: u32) -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(count) }
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn scorers_and_audit_take_any_text(text in text(), answers in vec(text(), 0..6)) {
        for dataset in Dataset::QUESTIONS {
            let task = Task::of(dataset).unwrap();
            let official = Official::score(task, &text, &answers);
            prop_assert!(official.hits <= official.questions().min(official.extracted.len()));
            let marks = official.marks();
            prop_assert_eq!(marks.iter().filter(|&&mark| mark == Some(true)).count(), official.hits);
            let aligned = Aligned::score(task, &text, &answers);
            prop_assert!(aligned.hits <= aligned.answered() && aligned.answered() <= aligned.present());
            let audit = Audit::new(&text, &aligned);
            prop_assert_eq!(audit.answered + audit.missing + audit.unreadable, answers.len());
            let pooled = by_position(&[marks, aligned.marks()], 5);
            prop_assert_eq!(pooled.iter().map(|group| group.asked).sum::<usize>(), 2 * answers.len());
        }
    }

    #[test]
    fn rouge_l_lies_between_0_and_1(left in text(), right in text()) {
        prop_assert!((0.0..=1.0).contains(&RougeL::score(&left, &right).f));
        let itself = RougeL::score(&left, &left).f;
        prop_assert_eq!(itself > 0.99, left.chars().any(|c| c != '.'));
    }

    #[test]
    fn the_right_answers_score_full_marks_in_any_order(
        numbers in vec(0_u32..100_000, 1..20),
        shift in 0_usize..20,
    ) {
        let task = Task::of(Dataset::Gsm8k).unwrap();
        let answers: Vec<_> = numbers.iter().map(|number| format!("work\n#### {number}")).collect();
        let mut blocks: Vec<_> = (task.first_question..)
            .zip(&numbers)
            .map(|(place, number)| format!("Answer_{place}:\nWork.\nThe answer is {number}.\n\n"))
            .collect();
        prop_assert_eq!(Official::score(task, &blocks.concat(), &answers).hits, numbers.len());
        let middle = shift % blocks.len();
        blocks.rotate_left(middle);
        prop_assert_eq!(Aligned::score(task, &blocks.concat(), &answers).hits, numbers.len());
    }
}

proptest! {
    #![proptest_config(cases(32))]

    #[test]
    fn an_interval_contains_its_mean(values in vec(0.0_f64..1.0, 2..60), seed: u64) {
        let interval = bootstrap_mean(&values, seed).unwrap();
        prop_assert!(interval.low <= interval.high);
        let centre = mean(&values).unwrap();
        prop_assert!(interval.low <= centre + 1e-9 && centre <= interval.high + 1e-9);
    }

    #[test]
    fn comparing_the_other_way_round_changes_the_sign(
        pairs in vec((0.0_f64..1.0, 0.0_f64..1.0), 1..30),
    ) {
        let (left, right): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
        let there = paired(&left, &right, SEED).unwrap();
        let back = paired(&right, &left, SEED).unwrap();
        prop_assert!((there.difference + back.difference).abs() < 1e-12);
        prop_assert_eq!(there.significant(), back.significant());
    }

    #[test]
    fn questions_come_back_out_of_their_prompt(questions in vec("[a-z $.?]{1,40}", 1..8)) {
        let task = Task::of(Dataset::Gsm8k).unwrap();
        let row = |question: &String| Gsm8kRow { question: question.clone(), answer: "#### 1".into() };
        let rows = Rows::Gsm8k(questions.iter().map(row).collect());
        let set = Set::from_rows(task, questions.len(), &rows, &Worked::own(task), Quirks::Published).unwrap();
        let sample = &set.samples[0];
        let (_, mut body) = sample.prompt.split_once("\n\nFollowing Question: \n").unwrap();
        for (number, question) in (task.first_question..).zip(&questions) {
            body = body.strip_prefix(&format!("Question_{number}:\n{question}\n")).unwrap();
        }
        prop_assert_eq!(body, "\n");
        let input = prompt::model_input(task, PublishedTemplate::Plain, SystemText::Published, sample);
        prop_assert!(input.ends_with(&sample.prompt));
    }

    #[test]
    fn a_written_set_reads_back_equal(cell in ".{1,20}", key in 0_usize..4) {
        let folder = tempfile::tempdir().unwrap();
        let letter = ["A", "B", "C", "D"][key].to_owned();
        let label = ["A", "B", "C", "D"].map(str::to_owned);
        let choices = Choices { label: label.to_vec(), text: vec![cell.clone(); 4] };
        let csqa = CsqaRow { question: cell.clone(), choices, answer_key: letter.clone() };
        let mmlu = MmluRow { subject: "law".into(), question: cell.clone(), choices: label, answer: letter };
        for rows in [Rows::Csqa(vec![csqa; 4]), Rows::Mmlu(vec![mmlu; 4])] {
            let task = Task::of(rows.dataset()).unwrap();
            let set = Set::from_rows(task, 2, &rows, &Worked::own(task), Quirks::Corrected).unwrap();
            let path = folder.path().join("set.jsonl");
            std::fs::write(&path, set.to_json_lines().unwrap()).unwrap();
            prop_assert_eq!(Set::read(task, 2, &path).unwrap().samples, set.samples);
        }
    }

    #[test]
    fn readers_refuse_any_bytes_without_panicking(mut bytes in vec(any::<u8>(), 0..200), gzip: bool) {
        if gzip {
            bytes.splice(0..0, [0x1f, 0x8b, 8]);
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, &bytes).unwrap();
        prop_assert!(generations::read(&path).is_err());
        for dataset in Dataset::QUESTIONS {
            let task = Task::of(dataset).unwrap();
            prop_assert!(Set::read(task, 1, &path).is_err());
            std::fs::write(folder.path().join(&task.files.raw), &bytes).unwrap();
            std::fs::write(folder.path().join(&task.files.demonstrations), &bytes).unwrap();
            prop_assert!(Rows::read(task, folder.path()).is_err());
            let _ = Worked::read(task, folder.path());
        }
    }
}
