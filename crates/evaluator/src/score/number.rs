//! One spelling for every number.

/// The number without commas, superfluous zeros or a double sign; `-0` is `0`. Takes whatever the patterns of
/// `task.toml` let through: minus signs, digits of any script, commas, at most one point.
pub(super) fn canonical(text: &str) -> String {
    let negative = text.matches('-').count() % 2 == 1;
    let digits: String = text.chars().filter(|c| !matches!(c, '-' | ',')).collect();
    let (whole, fraction) = digits.split_once('.').unwrap_or((&digits, ""));
    let fraction = fraction.trim_end_matches('0');
    let whole = match whole.trim_start_matches('0') {
        "" => "0",
        whole => whole,
    };
    let sign = if negative && (whole != "0" || !fraction.is_empty()) { "-" } else { "" };
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{sign}{whole}{point}{fraction}")
}

#[cfg(test)]
mod tests {
    use super::canonical;

    #[test]
    fn spellings_of_one_number_agree() {
        for (given, expected) in [
            ("2,125", "2125"),
            ("018", "18"),
            ("18.00", "18"),
            ("18.50", "18.5"),
            ("-0.0", "0"),
            ("--5", "5"),
            ("-0.50", "-0.5"),
            ("000", "0"),
            ("", "0"),
        ] {
            assert_eq!(canonical(given), expected);
        }
    }
}
