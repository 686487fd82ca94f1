//! Plots of a setting, as SVG and PNG.

mod accuracy;
mod accuracy_bytes;
mod axes;
mod canvas;
mod ink;
mod legend;
mod lines;

use std::sync::OnceLock;

use anyhow::{Result, anyhow};
use image::codecs::png::PngEncoder;
use image::{ColorType, ImageEncoder};
use plotters::prelude::*;
use plotters::style::{FontStyle, register_font};

pub(crate) use accuracy::Accuracy;
pub(crate) use accuracy_bytes::AccuracyBytes;
use canvas::Canvas;
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
    fonts()?;
    let mut text = String::new();
    let area = SVGBackend::with_string(&mut text, picture.size()).into_drawing_area();
    area.fill(&WHITE)?;
    picture.draw(&Canvas::new(&area, 1))?;
    area.present()?;
    drop(area);
    Ok(text)
}

/// A picture as a PNG file's bytes, two pixels for each that the picture knows of, so that it stays sharp on a dense screen.
pub(crate) fn png(picture: &impl Picture) -> Result<Vec<u8>> {
    let (width, height) = picture.size();
    let mut bytes = Vec::new();
    let encoder = PngEncoder::new(&mut bytes);
    encoder.write_image(&pixels(picture)?, 2 * width, 2 * height, ColorType::Rgb8)?;
    Ok(bytes)
}

/// Draws at four times the size and takes means of two by two, which smooths edges.
fn pixels(picture: &impl Picture) -> Result<Vec<u8>> {
    fonts()?;
    let (width, height) = picture.size();
    let mut fine = vec![u8::MAX; 4 * width as usize * 4 * height as usize * 3];
    let backend = BitMapBackend::with_buffer(&mut fine, (4 * width, 4 * height));
    let area = backend.into_drawing_area();
    picture.draw(&Canvas::new(&area, 4))?;
    area.present()?;
    drop(area);
    let line = 4 * width as usize * 3;
    let mean = |lines: &[u8], at: usize| {
        let sum: u16 =
            [at, at + 3, at + line, at + line + 3].map(|at| u16::from(lines[at])).iter().sum();
        u8::try_from(sum.div_ceil(4)).unwrap_or(u8::MAX)
    };
    let halved = |lines| (0..line / 2).map(move |at| mean(lines, at / 3 * 6 + at % 3));
    Ok(fine.chunks_exact(2 * line).flat_map(halved).collect())
}

/// The name under which the built-in font goes; a viewer of an SVG takes its own.
const FONT: &str = "sans-serif";

/// System fonts are never used: the same bytes come out everywhere.
fn fonts() -> Result<()> {
    static REGISTERED: OnceLock<bool> = OnceLock::new();
    let register = || register_font(FONT, FontStyle::Normal, notosans::REGULAR_TTF).is_ok();
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
            svg(&Accuracy::by_rule(rows, subtitle)).unwrap(),
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
    fn arms_that_coincide_share_one_line_and_one_entry() {
        let shared = "slide = random =";
        let records = synthetic::records();
        let [_, bytes, groups, entries] = pictures(&records);
        // Equal sizes but other scores, so other points and other curves of accuracy.
        assert!(entries.contains(shared) && !groups.contains(shared) && !bytes.contains(shared));
        assert!([bytes, groups].iter().all(|picture| picture.contains("full = roomy")));

        let mut apart = synthetic::records();
        for record in apart.iter_mut().filter(|record| record.arm == "random") {
            record.trace.iter_mut().for_each(|entries| *entries *= 1.01);
        }
        assert!(!pictures(&apart)[3].contains(shared));
        // A text that ends early is equal as far as it goes.
        let mut short = synthetic::records();
        for record in short.iter_mut().filter(|record| record.arm == "random") {
            record.trace.truncate(2);
        }
        assert!(pictures(&short)[3].contains(shared));
    }

    #[test]
    fn pixels_are_the_same_each_time_and_smooth() {
        let records = synthetic::records();
        let settings = settings(&synthetic::header().arms, &records).unwrap();
        let picture = Lines::entries(&settings[0], "");
        let drawn = pixels(&picture).unwrap();
        assert_eq!(drawn.len(), 2000 * 1200 * 3);
        assert!(drawn.contains(&255) && drawn.iter().any(|value| (60..200).contains(value)));
        assert!(drawn == pixels(&picture).unwrap(), "pixels differ");
    }

    #[test]
    fn one_prompt_promises_no_intervals() {
        let mut records = synthetic::records();
        records.retain(|record| record.sample == 0);
        let [accuracy, bytes, ..] = pictures(&records);
        for picture in [&accuracy, &bytes] {
            assert!(picture.contains("too few prompts for intervals"));
            assert!(!picture.contains("with 95 % intervals"));
        }
        assert!(!accuracy.contains("[interval]"));
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
        // Nothing was measured, so nothing is called equal.
        assert!(
            ![groups, entries]
                .iter()
                .any(|picture| picture.contains(" =\n") || picture.contains("full = "))
        );
    }
}
