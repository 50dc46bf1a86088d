//! Pictures and their views.

use super::{Canvas, Rgb, quantile, round_down_nicely};

/// One example with its views: pictures of the same shape, C × H × W in `[0, 1]`.
#[derive(Clone, Debug)]
pub struct GridColumn<'a> {
    /// What stands above the column, for example the class.
    pub title: String,
    /// The example itself.
    pub original: &'a [f32],
    /// What the network made its views from, one for each; empty where that is the original.
    pub inputs: Vec<&'a [f32]>,
    /// Its views.
    pub views: Vec<&'a [f32]>,
}

impl<'a> GridColumn<'a> {
    /// What view `index` was made from.
    fn input(&self, index: usize) -> &'a [f32] {
        self.inputs.get(index).copied().unwrap_or(self.original)
    }
}

const GAP: usize = 4;
const TITLE: usize = Canvas::GLYPH + 6;
/// Pictures are enlarged to about this many pixels.
const CELL: usize = 128;
/// Most that a difference is magnified.
const MOST: f32 = 100.0;

/// A column per example; rows: the original, what the network saw instead, the views, and with
/// `changes` the difference of each view from what it was made from, magnified around grey (one
/// channel is shown in grey, three in colour, of others the first).
///
/// Views that leave `[0, 1]` are clipped for showing.
pub fn image_grid(
    columns: &[GridColumn<'_>],
    [channels, height, width]: [usize; 3],
    changes: bool,
) -> Canvas {
    let scale = (CELL / height.max(width).max(1)).max(1);
    let (cell_h, cell_w) = (height * scale, width * scale);
    let most = |count: fn(&GridColumn<'_>) -> usize| columns.iter().map(count).max().unwrap_or(0);
    let (inputs, views) = (most(|c| c.inputs.len()), most(|c| c.views.len()));
    let magnification = magnification(columns);
    let mut labels = vec!["original".to_owned()];
    labels.extend((1..=inputs).map(|input| format!("input {input}")));
    labels.extend((1..=views).map(|view| format!("view {view}")));
    if changes {
        let magnified = format!("change ×{magnification:.0}");
        labels.extend((1..=views).map(|_| magnified.clone()));
    }
    let left = labels
        .iter()
        .map(|label| Canvas::text_width(label, 1))
        .max();
    let left = left.unwrap_or(0) + 3 * GAP;
    let mut canvas = Canvas::new(
        left + columns.len() * (cell_w + GAP) + GAP,
        TITLE + labels.len() * (cell_h + GAP) + GAP,
    );
    for (row, label) in labels.iter().enumerate() {
        let y = TITLE + row * (cell_h + GAP) + cell_h / 2 - Canvas::GLYPH / 2;
        canvas.text((GAP, y), 1, label);
    }
    for (number, column) in columns.iter().enumerate() {
        let x = left + number * (cell_w + GAP);
        let fits = cell_w / Canvas::GLYPH;
        let title: String = column.title.chars().take(fits).collect();
        canvas.text_centred((x + cell_w / 2, 3), 1, &title);
        let place = |row: usize| (x, TITLE + row * (cell_h + GAP));
        let picture = |data: &[f32], at: usize| {
            pixel(channels, height * width, at, |i| {
                data.get(i).copied().unwrap_or(f32::NAN)
            })
        };
        let size = (height, width);
        canvas.map(place(0), size, scale, |r, c| {
            picture(column.original, r * width + c)
        });
        for (row, data) in column.inputs.iter().enumerate() {
            canvas.map(place(1 + row), size, scale, |r, c| {
                picture(data, r * width + c)
            });
        }
        for (index, view) in column.views.iter().enumerate() {
            let row = 1 + inputs + index;
            canvas.map(place(row), size, scale, |r, c| picture(view, r * width + c));
            if changes {
                let input = column.input(index);
                let change = |i: usize| 0.5 + magnification * difference(view, input, i);
                canvas.map(place(row + views), size, scale, |r, c| {
                    pixel(channels, height * width, r * width + c, change)
                });
            }
        }
    }
    canvas
}

fn difference(view: &[f32], original: &[f32], i: usize) -> f32 {
    match (view.get(i), original.get(i)) {
        (Some(view), Some(original)) => view - original,
        _ => f32::NAN,
    }
}

/// The round factor that brings nearly all differences into the range of a picture.
fn magnification(columns: &[GridColumn<'_>]) -> f32 {
    let changes = columns.iter().flat_map(|column| {
        let views = column.views.iter().enumerate();
        views.flat_map(|(index, view)| {
            let pairs = view.iter().zip(column.input(index));
            pairs.map(|(v, x)| (v - x).abs())
        })
    });
    let large = quantile(changes, 0.95);
    round_down_nicely((0.5 / large.max(f32::MIN_POSITIVE)).min(MOST))
}

/// Colour of the pixel `at` of a picture whose value number i is `value(i)`.
pub(super) fn pixel(channels: usize, area: usize, at: usize, value: impl Fn(usize) -> f32) -> Rgb {
    let byte = |channel: usize| match value(channel * area + at) {
        x if x.is_nan() => 128,
        x => (255.0 * x.clamp(0.0, 1.0)).round() as u8,
    };
    match channels {
        3 => [byte(0), byte(1), byte(2)],
        _ => [byte(0); 3],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column<'a>(original: &'a [f32], view: &'a [f32]) -> GridColumn<'a> {
        GridColumn {
            title: "cat".into(),
            original,
            inputs: vec![],
            views: vec![view],
        }
    }

    #[test]
    fn shows_original_view_and_magnified_difference() {
        let original = vec![0.5; 3 * 16];
        let mut view = original.clone();
        view.iter_mut().take(16).for_each(|x| *x += 0.1);
        let canvas = image_grid(&[column(&original, &view)], [3, 4, 4], true);
        let scale = CELL / 4;
        let left = canvas.width() - GAP - GAP - 4 * scale;
        let centre = |row: usize| canvas.get(left + scale, TITLE + row * (4 * scale + GAP) + scale);
        assert_eq!(centre(0), [128, 128, 128]);
        assert_eq!(centre(1), [153, 128, 128]);
        // 0.1 × 5 reaches the end of the scale.
        assert_eq!(centre(2), [255, 128, 128]);
    }

    #[test]
    fn one_channel_is_grey_and_views_are_clipped() {
        let original = vec![0.25; 16];
        let view = vec![7.0; 16];
        let canvas = image_grid(&[column(&original, &view)], [1, 4, 4], true);
        let x = canvas.width() - GAP - GAP - 1;
        assert_eq!(canvas.get(x, TITLE + 1), [64, 64, 64]);
        assert_eq!(canvas.get(x, TITLE + CELL + GAP + 1), [255, 255, 255]);
    }

    #[test]
    fn the_difference_of_nothing_is_grey() {
        let original = vec![0.3; 48];
        let canvas = image_grid(&[column(&original, &original)], [3, 4, 4], true);
        let y = canvas.height() - GAP - GAP - 1;
        assert_eq!(canvas.get(canvas.width() - 2 * GAP - 1, y), [128, 128, 128]);
        image_grid(&[], [3, 4, 4], true);
    }

    #[test]
    fn changes_are_those_of_the_network_alone() {
        let (original, input) = (vec![0.2; 16], vec![0.9; 16]);
        let columns = [GridColumn {
            inputs: vec![&input],
            ..column(&original, &input)
        }];
        let canvas = image_grid(&columns, [1, 4, 4], true);
        let x = canvas.width() - 2 * GAP - 1;
        let row = |row: usize| canvas.get(x, TITLE + row * (CELL + GAP) + 1);
        assert_eq!([row(0), row(1), row(2)], [[51; 3], [230; 3], [230; 3]]);
        assert_eq!(row(3), [128; 3]);
        let without = image_grid(&columns, [1, 4, 4], false);
        assert_eq!(canvas.height() - without.height(), CELL + GAP);
    }
}
