//! Plots of a setting, as SVG and PNG.

mod accuracy;
mod accuracy_bytes;
mod axes;
mod ink;
mod lines;

use std::path::Path;
use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow};
use plotters::prelude::*;
use plotters::style::{FontStyle, register_font};

pub(crate) use accuracy::Accuracy;
pub(crate) use accuracy_bytes::AccuracyBytes;
use ink::Canvas;
pub(crate) use lines::Lines;

/// Something that any back end can draw.
pub(crate) trait Picture {
    /// Width and height in pixels.
    fn size(&self) -> (u32, u32);

    /// Draws on a white canvas of that size.
    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Result<()>
    where
        DB::ErrorType: 'static;
}

/// A picture as SVG text.
pub(crate) fn svg(picture: &impl Picture) -> Result<String> {
    let mut text = String::new();
    render(picture, SVGBackend::with_string(&mut text, picture.size()))?;
    Ok(text)
}

/// Draws a picture into a PNG file; the path must end in `.png`.
pub(crate) fn png(picture: &impl Picture, path: &Path) -> Result<()> {
    let drawn = render(picture, BitMapBackend::new(path, picture.size()));
    drawn.with_context(|| format!("cannot draw `{}`", path.display()))
}

fn render<DB: DrawingBackend>(picture: &impl Picture, backend: DB) -> Result<()>
where
    DB::ErrorType: 'static,
{
    fonts()?;
    let area = backend.into_drawing_area();
    area.fill(&WHITE)?;
    picture.draw(&Canvas(&area))?;
    Ok(area.present()?)
}

/// System fonts are never used: the same bytes come out everywhere.
fn fonts() -> Result<()> {
    static REGISTERED: OnceLock<bool> = OnceLock::new();
    let register = || register_font("sans-serif", FontStyle::Normal, notosans::REGULAR_TTF).is_ok();
    REGISTERED
        .get_or_init(register)
        .then_some(())
        .ok_or_else(|| anyhow!("the built-in font cannot be read"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Record;
    use crate::report::study::settings;
    use crate::report::synthetic;
    use crate::row;

    fn pictures(records: &[Record]) -> [String; 4] {
        let settings = settings(&synthetic::header().arms, records).unwrap();
        let (setting, subtitle) = (&settings[0], "a < b");
        let rows = &*row::rows("demo", setting);
        [
            svg(&Accuracy { rows, subtitle }).unwrap(),
            svg(&AccuracyBytes { rows, subtitle }).unwrap(),
            svg(&Lines::question_groups(setting, subtitle)).unwrap(),
            svg(&Lines::entries(setting, subtitle)).unwrap(),
        ]
    }

    #[test]
    fn every_picture_names_every_arm_and_is_the_same_each_time() {
        let pictures = pictures(&synthetic::records());
        for picture in &pictures {
            assert!(
                synthetic::header().arms.iter().all(|arm| picture.contains(arm.as_str())),
                "{picture}"
            );
            assert!(!picture.contains("NaN") && picture.contains("a &lt; b"));
        }
        assert_eq!(pictures, self::pictures(&synthetic::records()));
    }

    #[test]
    fn empty_texts_leave_readable_axes() {
        let mut records = synthetic::records();
        for record in &mut records {
            (record.text, record.trace, record.kv_bytes_peak) = (String::new(), Vec::new(), 0);
        }
        let [accuracy, bytes, groups, entries] = pictures(&records);
        assert!(accuracy.contains(">\n10\n<") && !bytes.contains("NaN") && !bytes.contains("inf"));
        assert!(
            groups.contains("no answer was found in any text")
                && entries.contains("nothing was recorded")
        );
    }
}
