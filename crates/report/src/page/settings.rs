//! Everything that is needed to repeat the run.

use super::Context;
use super::html::{details, facts, grouped, section as wrapped};
use crate::escape::escaped;

pub(super) fn section(context: &Context) -> String {
    let material = context.material;
    let mut body = String::new();
    let mut known: Vec<(&str, String)> = Vec::new();
    if let Some(record) = &material.record {
        known.extend([
            ("Version", format!("classify {}", escaped(&record.version))),
            ("Network", escaped(&record.model).into_owned()),
            ("Parameters", grouped(record.parameters as u64)),
            (
                "Machine",
                format!(
                    "{}, {}, {} threads, {}",
                    escaped(&record.device),
                    escaped(&record.processor),
                    record.threads,
                    escaped(&record.system)
                ),
            ),
            ("Started", date(record.started)),
        ]);
        known.extend(record.finished.map(|finished| ("Ended", date(finished))));
        if let Some(weights) = &record.weights {
            known.push(("Weights", format!("<code>{}</code>", escaped(weights))));
        }
        for split in &record.splits {
            let name = match &split.name[..] {
                "train" => "Fingerprint of the training images",
                "val" => "Fingerprint of the validation images",
                _ => "Fingerprint of the test images",
            };
            known.push((
                name,
                format!("<code>{}</code>", escaped(&split.fingerprint)),
            ));
        }
    }
    if let Some((config, _)) = &material.config {
        known.push(("Seed", config.train.seed.to_string()));
    }
    body += &facts(&known);
    if !known.is_empty() && material.record.is_some() {
        body += "<p class=\"note\">A fingerprint is the SHA-256 of the ids and labels of all images, in order.</p>\n";
    }
    if let Some(run) = &material.run {
        let config = std::path::absolute(run)
            .unwrap_or_else(|_| run.clone())
            .join("config.toml");
        body += &format!(
            "<h3>To repeat the run</h3>\n<pre><code>classify train --config {}</code></pre>\n<p class=\"note\">The same version, processor and \
             number of threads give the same bits.</p>\n",
            escaped(&crate::quoted(&config))
        );
    }
    if let Some((_, text)) = &material.config {
        let text = format!("<pre><code>{}</code></pre>\n", escaped(text));
        body += &details("All settings of the run (config.toml)", &text);
    }
    wrapped(
        "settings",
        "Settings",
        "Everything that is needed to repeat the run and to describe it in a paper.",
        &body,
    )
}

/// A time in seconds since 1970 as a date and time in UTC.
pub(crate) fn date(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days as i64);
    format!(
        "{year:04}-{month:02}-{day:02} {:02}:{:02} UTC",
        rest / 3600,
        rest % 3600 / 60
    )
}

/// The date of a number of days since 1970 (Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        // date -u -d @1709210096
        assert_eq!(date(1_709_210_096), "2024-02-29 12:34 UTC");
        assert_eq!(date(0), "1970-01-01 00:00 UTC");
        assert_eq!(date(4_102_444_799), "2099-12-31 23:59 UTC");
    }
}
