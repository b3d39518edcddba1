//! Draws what a series has printed: bytes of a waiting tasklet against how many there are, and against the calls below which it waits.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::Result;
use crate::series::Measured;
use crate::subject::KINDS;

/// Pixels of the drawing.
const SIZE: (u32, u32) = (1100, 480);

/// Pixels above its two halves.
const TOP: u32 = 40;

/// Pixels of the first one's width.
const LEFT: u32 = 590;

/// A colour of each kind, told apart also by those who see few.
const COLOURS: [RGBColor; 3] = [RGBColor(0x33, 0x66, 0xaa), RGBColor(0xdd, 0x66, 0x11), RGBColor(0x11, 0x88, 0x44)];

const INK: RGBColor = RGBColor(0x22, 0x22, 0x22);
const GREY: RGBColor = RGBColor(0x77, 0x77, 0x77);
const PALE: RGBColor = RGBColor(0xe4, 0xe4, 0xe4);

/// Bytes of a waiting task in other runtimes, of a million: resident bytes without page tables, measured on another machine of the class
/// of `BENCHMARKS.md`'s.
const OTHERS: [(&str, f64); 3] = [("Go 1.27", 2736.0), ("Java 25", 903.0), ("tokio 1.54", 456.0)];

/// When they were.
const OTHERS_DATE: &str = "2026-11-23";

/// The figures of `depth`, and what they are of.
const DEPTHS: [(&str, &str); 4] =
    [("1", "1 call"), ("5", "5 calls"), ("20", "20 calls"), ("buffer", "1 call, with 4 KiB in it")];

/// Pixels between the middles of two lines of text, at least.
const LINE: i32 = 16;

/// The drawing of what a series has printed, as SVG.
///
/// # Errors
///
/// A figure is missing.
pub(crate) fn plot(measured: &[Measured]) -> Result<String> {
    draw(&Figures::find(measured)?)
}

/// What is drawn, for each kind.
#[derive(Debug, PartialEq)]
struct Figures {
    /// How many there are, and the bytes of each; fewest first.
    idle: [Vec<(f64, f64)>; 3],
    /// Bytes, in the order of [`DEPTHS`].
    depth: [[f64; 4]; 3],
}

impl Figures {
    fn find(measured: &[Measured]) -> Result<Figures> {
        let mut figures = Figures { idle: [const { Vec::new() }; 3], depth: [[0.0; 4]; 3] };
        for (at, kind) in KINDS.iter().enumerate() {
            let prefix = format!("idle_mem.bytes --kind {} --n ", kind.name());
            for Measured { name, value, .. } in measured {
                if let Some(n) = name.strip_prefix(&prefix) {
                    figures.idle[at].push((n.parse()?, *value));
                }
            }
            figures.idle[at].sort_by(|left, right| left.0.total_cmp(&right.0));
            if figures.idle[at].len() < 2 {
                return Err(format!("fewer than two lines begin with `{prefix}`; `--series kinds` prints them").into());
            }
            for (depth, (suffix, _)) in DEPTHS.iter().enumerate() {
                let wanted = format!("depth.{suffix} --kind {}", kind.name());
                let found = measured.iter().find(|figure| figure.name == wanted);
                figures.depth[at][depth] =
                    found.ok_or_else(|| format!("no line of `{wanted}`; `--series kinds` prints it"))?.value;
            }
        }
        Ok(figures)
    }
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

fn draw(figures: &Figures) -> Result<String> {
    let mut svg = String::new();
    let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    legend(&root)?;
    let (_, panels) = root.split_vertically(TOP);
    let (left, right) = panels.split_horizontally(LEFT);
    against_number(&left, &figures.idle)?;
    against_depth(&right, &figures.depth)?;
    root.present()?;
    drop((left, right, panels, root));
    Ok(svg)
}

fn style(size: i32, colour: RGBColor, at: HPos) -> TextStyle<'static> {
    TextStyle {
        font: ("sans-serif", size).into_font(),
        color: colour.to_backend_color(),
        pos: Pos::new(at, VPos::Center),
    }
}

fn legend(root: &Area<'_>) -> Result<()> {
    let mut x = 70;
    for (kind, colour) in KINDS.iter().zip(COLOURS) {
        root.draw(&Circle::new((x, 22), 5, colour.filled()))?;
        root.draw(&Text::new(kind.name(), (x + 12, 22), style(15, INK, HPos::Left)))?;
        x += 105;
    }
    root.draw(&TriangleMarker::new((x, 23), 6, GREY.filled()))?;
    let others = format!(
        "other runtimes: a million tasks, without page tables, on another machine of this class, {OTHERS_DATE}"
    );
    root.draw(&Text::new(others, (x + 12, 22), style(15, INK, HPos::Left)))?;
    Ok(())
}

/// Powers of ten around the values.
fn decades(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (least, most) = values.fold((f64::MAX, f64::MIN), |(least, most), value| (least.min(value), most.max(value)));
    (10_f64.powf(least.log10().floor()), 10_f64.powf(most.log10().ceil()))
}

fn against_number(area: &Area<'_>, idle: &[Vec<(f64, f64)>; 3]) -> Result<()> {
    let bytes = idle.iter().flatten().map(|point| point.1).chain(OTHERS.map(|other| other.1));
    let (bottom, top) = decades(bytes);
    let numbers = || idle.iter().flatten().map(|point| point.0);
    let (fewest, most) = (numbers().fold(f64::MAX, f64::min), numbers().fold(f64::MIN, f64::max));
    let mut chart = ChartBuilder::on(area)
        .caption("Bytes of a waiting tasklet, by their number", style(17, INK, HPos::Left))
        .margin(10)
        .margin_right(125)
        .x_label_area_size(48)
        .y_label_area_size(62)
        .build_cartesian_2d((fewest / 1.3..most * 1.3).log_scale(), (bottom..top).log_scale())?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(PALE)
        .axis_style(GREY)
        .x_desc("tasklets that wait at the same time")
        .y_desc("bytes each")
        .axis_desc_style(style(14, INK, HPos::Center))
        .label_style(style(13, INK, HPos::Center))
        .x_label_formatter(&thousands)
        .y_label_formatter(&thousands)
        .draw()?;
    let mut labels = Vec::new();
    for ((points, kind), colour) in idle.iter().zip(&KINDS).zip(COLOURS) {
        chart.draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)))?;
        chart.draw_series(points.iter().map(|point| Circle::new(*point, 4, colour.filled())))?;
        if let Some(last) = points.last() {
            labels.push((chart.backend_coord(last).1, format!("{}: {:.0}", kind.name(), last.1), colour));
        }
    }
    for (name, bytes) in OTHERS {
        chart.draw_series([TriangleMarker::new((1e6, bytes), 6, GREY.filled())])?;
        labels.push((chart.backend_coord(&(1e6, bytes)).1, format!("{name}: {bytes}"), GREY));
    }
    // The areas have pixels of their own; a chart's are those of the whole drawing.
    let (x, _) = chart.backend_coord(&(most * 1.3, top));
    let (dx, dy) = area.get_base_pixel();
    for (y, text, colour) in spread(labels) {
        area.draw(&Text::new(text, (x + 8 - dx, y - dy), style(14, colour, HPos::Left)))?;
    }
    Ok(())
}

/// A whole number, in groups of three digits.
fn thousands(number: &f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at != 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Moves texts down as far as it takes to have none on another.
fn spread(mut labels: Vec<(i32, String, RGBColor)>) -> Vec<(i32, String, RGBColor)> {
    labels.sort_by_key(|label| label.0);
    for at in 1..labels.len() {
        labels[at].0 = labels[at].0.max(labels[at - 1].0 + LINE);
    }
    labels
}

fn against_depth(area: &Area<'_>, depth: &[[f64; 4]; 3]) -> Result<()> {
    let most = depth.iter().flatten().copied().fold(0.0, f64::max);
    let mut chart = ChartBuilder::on(area)
        .caption("Bytes of a waiting tasklet, by the calls above its wait", style(17, INK, HPos::Left))
        .margin(10)
        .x_label_area_size(48)
        .y_label_area_size(52)
        .build_cartesian_2d(0.0..DEPTHS.len() as f64, 0.0..most * 1.1)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .disable_x_axis()
        .light_line_style(TRANSPARENT)
        .bold_line_style(PALE)
        .axis_style(GREY)
        .y_label_style(style(13, INK, HPos::Right))
        .y_label_formatter(&thousands)
        .draw()?;
    let (dx, dy) = area.get_base_pixel();
    let pixel = |(x, y): (i32, i32)| (x - dx, y - dy);
    for (group, (_, words)) in DEPTHS.iter().enumerate() {
        for (at, (bytes, colour)) in depth.iter().map(|bytes| bytes[group]).zip(COLOURS).enumerate() {
            let from = group as f64 + 0.1 + 0.27 * at as f64;
            chart.draw_series([Rectangle::new([(from, 0.0), (from + 0.24, bytes)], colour.filled())])?;
            let (x, y) = pixel(chart.backend_coord(&(from + 0.12, bytes)));
            area.draw(&Text::new(format!("{bytes:.0}"), (x, y - 9), style(12, colour, HPos::Center)))?;
        }
        let (x, y) = pixel(chart.backend_coord(&(group as f64 + 0.5, 0.0)));
        for (line, words) in words.split(", ").enumerate() {
            let y = y + 14 + LINE * line as i32;
            area.draw(&Text::new(words, (x, y), style(13, INK, HPos::Center)))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::series::parse;

    fn lines() -> String {
        let mut text = String::from("yield --kind soft\t9.5\tns\n");
        for (at, kind) in KINDS.iter().enumerate() {
            for n in [1_000_000, 1000] {
                text += &format!("idle_mem.bytes --kind {} --n {n}\t{}\tbytes\n", kind.name(), n / (at + 1));
            }
            for (depth, (suffix, _)) in DEPTHS.iter().enumerate() {
                text += &format!("depth.{suffix} --kind {}\t{}\tbytes\n", kind.name(), 100 * at + depth + 1);
            }
        }
        text
    }

    #[test]
    fn figures_are_found_by_what_they_are_of() {
        let figures = Figures::find(&parse(&lines()).unwrap()).unwrap();
        assert_eq!(figures.idle[1], [(1000.0, 500.0), (1e6, 500_000.0)]);
        assert_eq!(figures.depth, [[1.0, 2.0, 3.0, 4.0], [101.0, 102.0, 103.0, 104.0], [201.0, 202.0, 203.0, 204.0]]);
    }

    #[test]
    fn what_is_missing_is_named() {
        for (from, to, says) in [
            ("depth.20 --kind swapped\t", "depth.21 --kind swapped\t", "no line of `depth.20 --kind swapped`"),
            ("idle_mem.bytes --kind soft --n 1000\t", "idle\t", "`idle_mem.bytes --kind soft --n `"),
        ] {
            let error = plot(&parse(&lines().replace(from, to)).unwrap()).unwrap_err().0;
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn a_drawing_has_every_figure() {
        let svg = plot(&parse(&lines()).unwrap()).unwrap();
        for text in ["stackful: 1000000", "soft: 333333", "Go 1.27: 2736", "204", "calls", "1,000"] {
            assert!(svg.contains(&format!("{text}\n")), "{text} in {svg}");
        }
    }

    #[test]
    fn no_text_lies_on_another() {
        let label = |y| (y, String::new(), GREY);
        let ys: Vec<_> =
            spread(vec![label(30), label(10), label(12), label(100)]).iter().map(|label| label.0).collect();
        assert_eq!(ys, [10, 26, 42, 100]);
    }

    #[test]
    fn decades_and_digits() {
        assert_eq!(decades([180.0, 4700.0].into_iter()), (100.0, 10_000.0));
        assert_eq!([7.0, 1000.0, 1e6].map(|number| thousands(&number)), ["7", "1,000", "1,000,000"]);
    }
}
