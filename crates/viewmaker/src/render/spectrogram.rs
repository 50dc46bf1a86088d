//! Spectrograms and their views, with axes and scales.

use super::ticks::{Tick, frequency_ticks, round_values, time_ticks};
use super::{Canvas, Rgb, diverging, quantile, sequential};
use viewmaker_data::SpectrogramAxes;

/// One spectrogram with its views: maps of the same size, row 0 the lowest frequency.
#[derive(Clone, Debug)]
pub struct SheetRow<'a> {
    /// What stands above the row: the class, the channel.
    pub title: String,
    /// The spectrogram itself.
    pub original: &'a [f32],
    /// What the network made its views from, one for each; empty where that is the original.
    pub inputs: Vec<&'a [f32]>,
    /// Its views.
    pub views: Vec<&'a [f32]>,
}

impl<'a> SheetRow<'a> {
    /// What view `index` was made from.
    fn input(&self, index: usize) -> &'a [f32] {
        self.inputs.get(index).copied().unwrap_or(self.original)
    }
}

const GAP: usize = 10;
const HEAD: usize = Canvas::GLYPH + 8;
/// Room for the labels of the frequency axis.
const LEFT: usize = 6 * Canvas::GLYPH + 4;
/// Room for the labels of the time axis.
const BOTTOM: usize = 2 * Canvas::GLYPH + 16;
/// Maps are enlarged to about this many pixels.
const PANEL: usize = 176;
const BAR_WIDTH: usize = 14;
/// Room for a colour bar and its labels.
const BAR: usize = BAR_WIDTH + 6 * Canvas::GLYPH + 2 * GAP;
/// Length of the mark of a tick.
const MARK: usize = 3;
/// From the axis to a label: far enough that a mark is not read as a minus.
const TO_LABEL: usize = 10;
/// Part of the values at either end that may leave the colour scale.
const TAIL: f64 = 0.005;

/// The sizes of a sheet.
struct Layout {
    rows: usize,
    columns: usize,
    scale: usize,
    panels: usize,
}

impl Layout {
    fn panel_height(&self) -> usize {
        self.rows * self.scale
    }

    fn panel_width(&self) -> usize {
        self.columns * self.scale
    }

    fn row_height(&self) -> usize {
        2 * HEAD + self.panel_height() + BOTTOM
    }

    fn panel_left(&self, panel: usize) -> usize {
        LEFT + GAP + panel * (self.panel_width() + GAP)
    }

    fn width(&self) -> usize {
        self.panel_left(self.panels) + 2 * BAR
    }
}

/// A row per spectrogram; panels: the original, what the network saw instead, the views, and with
/// `changes` how each view differs from what it was made from. All changes share a colour scale
/// that is symmetric around 0, everything else another.
///
/// `rows × columns` is the size of a map; `axes.row_hz` has as many entries as there are rows.
pub fn spectrogram_sheet(
    sheet: &[SheetRow<'_>],
    (rows, columns): (usize, usize),
    axes: &SpectrogramAxes,
    changes: bool,
) -> Canvas {
    let most = |count: fn(&SheetRow<'_>) -> usize| sheet.iter().map(count).max().unwrap_or(0);
    let (inputs, views) = (most(|row| row.inputs.len()), most(|row| row.views.len()));
    let layout = Layout {
        rows,
        columns,
        scale: (PANEL / rows.max(columns).max(1)).max(1),
        panels: 1 + inputs + views * if changes { 2 } else { 1 },
    };
    let (low, high) = value_range(sheet);
    let reach = change_range(sheet);
    let mut canvas = Canvas::new(layout.width(), sheet.len() * layout.row_height() + HEAD);
    canvas.text((LEFT + GAP, 4), 1, &format!("colour: {}", axes.value));
    for (number, row) in sheet.iter().enumerate() {
        let top = HEAD + number * layout.row_height();
        canvas.text((LEFT + GAP, top + 4), 1, &row.title);
        let top = top + HEAD;
        let shade = |data: &[f32], at: usize| sequential(part(value(data, at), low, high));
        let mut panel = Panel {
            canvas: &mut canvas,
            layout: &layout,
            axes,
            top,
        };
        panel.draw(0, "original", |at| shade(row.original, at));
        for (index, input) in row.inputs.iter().enumerate() {
            let name = format!("input {}", index + 1);
            panel.draw(1 + index, &name, |at| shade(input, at));
        }
        for (index, view) in row.views.iter().enumerate() {
            let (number, place) = (index + 1, 1 + inputs + index);
            panel.draw(place, &format!("view {number}"), |at| shade(view, at));
            if changes {
                let (input, name) = (row.input(index), format!("change {number}"));
                panel.draw(place + views, &name, |at| {
                    diverging((value(view, at) - value(input, at)) / reach)
                });
            }
        }
        let left = layout.panel_left(layout.panels) + GAP;
        let place = (left, top + HEAD);
        let height = layout.panel_height();
        bar(&mut canvas, place, height, (low, high), "value", sequential);
        if views > 0 && changes {
            let place = (left + BAR, top + HEAD);
            let range = (-reach, reach);
            bar(&mut canvas, place, height, range, "change", |t| {
                diverging(2.0 * t - 1.0)
            });
        }
    }
    canvas
}

fn value(data: &[f32], at: usize) -> f32 {
    data.get(at).copied().unwrap_or(f32::NAN)
}

/// Where `x` lies between `low` and `high`.
fn part(x: f32, low: f32, high: f32) -> f32 {
    (x - low) / (high - low)
}

/// The range of nearly all values; never empty.
fn value_range(sheet: &[SheetRow<'_>]) -> (f32, f32) {
    let values = || {
        sheet.iter().flat_map(|row| {
            let others = row.inputs.iter().chain(&row.views);
            let others = others.flat_map(|data| data.iter());
            row.original.iter().chain(others).copied()
        })
    };
    let (low, high) = (quantile(values(), TAIL), quantile(values(), 1.0 - TAIL));
    match high > low {
        true => (low, high),
        false => (low - 0.5, low + 0.5),
    }
}

/// The largest change but for a few; positive.
fn change_range(sheet: &[SheetRow<'_>]) -> f32 {
    let changes = sheet.iter().flat_map(|row| {
        let views = row.views.iter().enumerate();
        views.flat_map(|(index, view)| {
            let pairs = view.iter().zip(row.input(index));
            pairs.map(|(v, x)| (v - x).abs())
        })
    });
    match quantile(changes, 1.0 - TAIL) {
        reach if reach > 0.0 => reach,
        _ => 1.0,
    }
}

/// Draws the panels of one row of the sheet.
struct Panel<'a> {
    canvas: &'a mut Canvas,
    layout: &'a Layout,
    axes: &'a SpectrogramAxes,
    top: usize,
}

impl Panel<'_> {
    /// Draws panel `number`; `colour` gets an index into the map.
    fn draw(&mut self, number: usize, name: &str, colour: impl Fn(usize) -> Rgb) {
        let layout = self.layout;
        let (left, top) = (layout.panel_left(number), self.top + HEAD);
        self.canvas
            .text_centred((left + layout.panel_width() / 2, self.top + 4), 1, name);
        let (rows, columns) = (layout.rows, layout.columns);
        // Low frequencies belong at the bottom.
        self.canvas
            .map((left, top), (rows, columns), layout.scale, |row, column| {
                colour((rows - 1 - row) * columns + column)
            });
        self.time_axis(left, top + layout.panel_height());
        if number == 0 {
            self.frequency_axis(left, top);
        }
    }

    fn time_axis(&mut self, left: usize, bottom: usize) {
        let count = (self.layout.panel_width() / (6 * Canvas::GLYPH)).max(1);
        let seconds = self.axes.seconds_per_column;
        for Tick { at, label } in time_ticks(self.layout.columns, seconds, count) {
            let x = left + ((at + 0.5) * self.layout.scale as f32) as usize;
            self.canvas.fill(x, bottom, 1, MARK, Canvas::BLACK);
            self.canvas.text_centred((x, bottom + 6), 1, &label);
        }
        let middle = left + self.layout.panel_width() / 2;
        self.canvas
            .text_centred((middle, bottom + 8 + Canvas::GLYPH), 1, "time (s)");
    }

    fn frequency_axis(&mut self, left: usize, top: usize) {
        let height = self.layout.panel_height();
        let count = (height / (3 * Canvas::GLYPH)).max(1);
        for Tick { at, label } in frequency_ticks(&self.axes.row_hz, count) {
            let from_bottom = ((at + 0.5) * self.layout.scale as f32) as usize;
            let y = top + height.saturating_sub(from_bottom);
            self.canvas
                .fill(left.saturating_sub(MARK), y, MARK, 1, Canvas::BLACK);
            let text = (
                left.saturating_sub(TO_LABEL),
                y.saturating_sub(Canvas::GLYPH / 2),
            );
            self.canvas.text_right(text, 1, &label);
        }
        let unit = (left.saturating_sub(TO_LABEL), self.top + 4);
        self.canvas.text_right(unit, 1, "Hz");
    }
}

/// Draws a colour scale; `colour` gets a part of the range in `[0, 1]`.
fn bar(
    canvas: &mut Canvas,
    (left, top): (usize, usize),
    height: usize,
    (low, high): (f32, f32),
    name: &str,
    colour: impl Fn(f32) -> Rgb,
) {
    for y in 0..height {
        let t = 1.0 - (y as f32 + 0.5) / height as f32;
        canvas.fill(left, top + y, BAR_WIDTH, 1, colour(t));
    }
    canvas.text((left, top.saturating_sub(Canvas::GLYPH + 4)), 1, name);
    for (value, label) in round_values(low, high, (height / (3 * Canvas::GLYPH)).max(1)) {
        let t = part(value as f32, low, high);
        let y = top + ((1.0 - t) * height as f32) as usize;
        canvas.fill(left + BAR_WIDTH, y, MARK, 1, Canvas::BLACK);
        let text = (
            left + BAR_WIDTH + TO_LABEL,
            y.saturating_sub(Canvas::GLYPH / 2),
        );
        canvas.text(text, 1, &label);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axes(rows: usize) -> SpectrogramAxes {
        SpectrogramAxes {
            seconds_per_column: 0.1,
            row_hz: (0..rows).map(|i| 100.0 * i as f32).collect(),
            value: "log power",
            channel_names: Vec::new(),
        }
    }

    #[test]
    fn low_frequencies_are_at_the_bottom_and_changes_have_a_sign() {
        let (rows, columns) = (8, 4);
        let original: Vec<f32> = (0..rows * columns).map(|i| (i / columns) as f32).collect();
        let mut view = original.clone();
        view[..columns].iter_mut().for_each(|x| *x += 1.0);
        view[columns * (rows - 1)..]
            .iter_mut()
            .for_each(|x| *x -= 1.0);
        let row = SheetRow {
            title: "x".into(),
            original: &original,
            inputs: vec![],
            views: vec![&view],
        };
        let canvas = spectrogram_sheet(&[row], (rows, columns), &axes(rows), true);
        let scale = PANEL / rows;
        let x = |panel: usize| LEFT + GAP + panel * (columns * scale + GAP) + 1;
        let top = 3 * HEAD;
        let bottom = top + rows * scale - 1;
        assert_eq!(canvas.get(x(0), top), sequential(1.0));
        assert_eq!(canvas.get(x(0), bottom), sequential(0.0));
        assert_eq!(canvas.get(x(2), top), diverging(-1.0));
        assert_eq!(canvas.get(x(2), bottom), diverging(1.0));
        assert_eq!(canvas.get(x(2), top + rows * scale / 2), diverging(0.0));
    }

    #[test]
    fn constant_and_empty_sheets_are_drawn() {
        let flat = vec![2.0; 16];
        let row = SheetRow {
            title: String::new(),
            original: &flat,
            inputs: vec![],
            views: vec![],
        };
        let canvas = spectrogram_sheet(&[row], (4, 4), &axes(4), true);
        assert!(canvas.width() > 0);
        spectrogram_sheet(&[], (4, 4), &axes(4), false);
    }
}
