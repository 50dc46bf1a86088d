//! Curves over one quantity, with the spread of repeated measurements.

use super::ticks::round_values;
use super::{Canvas, Rgb};

/// A measured point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Along the horizontal axis.
    pub x: f64,
    /// Along the vertical axis.
    pub y: f64,
    /// How far a bar reaches up and down from `y`; 0 for none.
    pub spread: f64,
}

/// Points of one kind, joined by lines.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// What the legend says.
    pub name: String,
    /// The points, ascending in x.
    pub points: Vec<Point>,
}

/// Curves in one pair of axes.
#[derive(Clone, Debug, PartialEq)]
pub struct Chart {
    /// What stands above.
    pub title: String,
    /// What the horizontal axis shows, with its unit.
    pub x_label: String,
    /// What the vertical axis shows, with its unit.
    pub y_label: String,
    /// Marks of the horizontal axis, and what they say. Equal ratios are equally far apart when all are
    /// positive.
    pub x_ticks: Vec<(f64, String)>,
    /// The curves; the first eight have colours of their own.
    pub curves: Vec<Curve>,
}

const WIDTH: usize = 560;
const HEIGHT: usize = 320;
const LEFT: usize = 9 * Canvas::GLYPH;
const RIGHT: usize = 24;
const TOP: usize = 5 * Canvas::GLYPH;
const LINE: usize = Canvas::GLYPH + 6;
const MARK: usize = 4;
/// About this many marks on the vertical axis.
const MARKS: usize = 6;

/// Colours that differ in lightness, too; after Okabe & Ito, *Color Universal Design* (2008).
const COLOURS: [Rgb; 8] = [
    [0, 114, 178],
    [213, 94, 0],
    [0, 158, 115],
    [204, 121, 167],
    [86, 180, 233],
    [230, 159, 0],
    [90, 90, 90],
    [150, 120, 40],
];
const AXIS: Rgb = [120, 120, 120];
const GRID: Rgb = [226, 226, 226];

/// Draws the axes, the curves with their spreads, and a legend below.
pub fn chart(chart: &Chart) -> Canvas {
    let legend = chart.curves.len() * LINE;
    let bottom = 4 * Canvas::GLYPH + 20;
    let mut canvas = Canvas::new(
        LEFT + WIDTH + RIGHT,
        TOP + HEIGHT + bottom + legend + Canvas::GLYPH,
    );
    let axes = Axes::of(chart);
    axes.draw(chart, &mut canvas);
    for (number, curve) in chart.curves.iter().enumerate() {
        let colour = COLOURS[number % COLOURS.len()];
        let places: Vec<(usize, usize)> = curve
            .points
            .iter()
            .filter_map(|p| axes.place(p.x, p.y))
            .collect();
        for pair in places.windows(2) {
            canvas.line(pair[0], pair[1], 2, colour);
        }
        for point in &curve.points {
            axes.draw_point(*point, colour, &mut canvas);
        }
        let y = TOP + HEIGHT + bottom + number * LINE;
        canvas.fill(LEFT, y + 2, 2 * Canvas::GLYPH, MARK, colour);
        canvas.text((LEFT + 3 * Canvas::GLYPH, y), 1, &curve.name);
    }
    canvas
}

/// From values to pixels.
struct Axes {
    x: [f64; 2],
    y: [f64; 2],
    logarithmic: bool,
}

impl Axes {
    fn of(chart: &Chart) -> Self {
        let points = || chart.curves.iter().flat_map(|curve| &curve.points);
        let ticks = chart.x_ticks.iter().map(|(x, _)| *x);
        let xs: Vec<f64> = points().map(|point| point.x).chain(ticks).collect();
        let logarithmic = xs.iter().all(|x| *x > 0.0);
        let place = |x: f64| if logarithmic { x.ln() } else { x };
        let y = points().flat_map(|point| [point.y - point.spread, point.y + point.spread]);
        Self {
            x: padded(xs.into_iter().map(place), 0.04),
            y: padded(y, 0.06),
            logarithmic,
        }
    }

    /// The pixel of a point; `None` for what is not finite.
    fn place(&self, x: f64, y: f64) -> Option<(usize, usize)> {
        let x = if self.logarithmic { x.ln() } else { x };
        let part = |value: f64, [low, high]: [f64; 2]| (value - low) / (high - low);
        let (right, up) = (part(x, self.x), part(y, self.y));
        let inside = (0.0..=1.0).contains(&right) && (0.0..=1.0).contains(&up);
        inside.then(|| {
            let right = (right * WIDTH as f64).round() as usize;
            let up = (up * HEIGHT as f64).round() as usize;
            (LEFT + right, TOP + HEIGHT - up)
        })
    }

    fn draw(&self, chart: &Chart, canvas: &mut Canvas) {
        canvas.text_centred((LEFT + WIDTH / 2, Canvas::GLYPH / 2), 1, &chart.title);
        canvas.text((4, TOP - 2 * Canvas::GLYPH), 1, &chart.y_label);
        let [low, high] = self.y;
        for (y, label) in round_values(low as f32, high as f32, MARKS) {
            let height = ((y - low) / (high - low)).clamp(0.0, 1.0) * HEIGHT as f64;
            let at = TOP + HEIGHT - height.round() as usize;
            canvas.fill(LEFT, at, WIDTH, 1, GRID);
            canvas.fill(LEFT - MARK, at, MARK, 1, AXIS);
            canvas.text_right((LEFT - 2 * MARK, at - Canvas::GLYPH / 2), 1, &label);
        }
        for (x, label) in &chart.x_ticks {
            let Some((at, _)) = self.place(*x, low) else {
                continue;
            };
            canvas.fill(at, TOP, 1, HEIGHT, GRID);
            canvas.fill(at, TOP + HEIGHT, 1, MARK, AXIS);
            canvas.text_centred((at, TOP + HEIGHT + 2 * MARK), 1, label);
        }
        canvas.fill(LEFT, TOP, 1, HEIGHT, AXIS);
        canvas.fill(LEFT, TOP + HEIGHT, WIDTH + 1, 1, AXIS);
        let below = TOP + HEIGHT + 2 * Canvas::GLYPH + 2 * MARK;
        canvas.text_centred((LEFT + WIDTH / 2, below), 1, &chart.x_label);
    }

    /// A square, and a bar with ends where there is a spread.
    fn draw_point(&self, point: Point, colour: Rgb, canvas: &mut Canvas) {
        let Some((x, y)) = self.place(point.x, point.y) else {
            return;
        };
        canvas.fill(x - MARK / 2, y - MARK / 2, MARK + 1, MARK + 1, colour);
        let ends = [point.y - point.spread, point.y + point.spread];
        let [Some((_, low)), Some((_, high))] = ends.map(|y| self.place(point.x, y)) else {
            return;
        };
        if low > high {
            canvas.line((x, low), (x, high), 1, colour);
            for end in [low, high] {
                canvas.fill(x - MARK, end, 2 * MARK + 1, 1, colour);
            }
        }
    }
}

/// The range of finite values, a part wider on either side; around a single value, or none, a range
/// that is not empty.
fn padded(values: impl Iterator<Item = f64>, part: f64) -> [f64; 2] {
    let finite = values.filter(|x| x.is_finite());
    let [low, high] = finite.fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], x| {
        [low.min(x), high.max(x)]
    });
    if low > high {
        return [0.0, 1.0];
    }
    let pad = match high - low {
        width if width > 0.0 => part * width,
        _ => 0.5 * high.abs().max(1.0),
    };
    [low - pad, high + pad]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two(points: &[(f64, f64, f64)]) -> Chart {
        let point = |&(x, y, spread): &(f64, f64, f64)| Point { x, y, spread };
        let curve = |name: &str, shift: f64| Curve {
            name: name.to_owned(),
            points: points
                .iter()
                .map(point)
                .map(|p| Point {
                    y: p.y + shift,
                    ..p
                })
                .collect(),
        };
        Chart {
            title: "accuracy".to_owned(),
            x_label: "labels".to_owned(),
            y_label: "%".to_owned(),
            x_ticks: points.iter().map(|p| (p.0, p.0.to_string())).collect(),
            curves: vec![curve("one", 0.0), curve("two", 7.0)],
        }
    }

    fn count(canvas: &Canvas, colour: Rgb) -> usize {
        let pixels = (0..canvas.height()).flat_map(|y| (0..canvas.width()).map(move |x| (x, y)));
        pixels.filter(|&(x, y)| canvas.get(x, y) == colour).count()
    }

    #[test]
    fn equal_ratios_are_equally_far_apart() {
        let axes = Axes::of(&two(&[
            (1.0, 10.0, 1.0),
            (10.0, 20.0, 0.0),
            (100.0, 60.0, 2.0),
        ]));
        let at = |x| axes.place(x, 20.0).unwrap().0 as f64;
        assert!((at(10.0) - at(1.0) - (at(100.0) - at(10.0))).abs() <= 1.0);
        let (_, low) = axes.place(1.0, 10.0).unwrap();
        let (_, high) = axes.place(1.0, 60.0).unwrap();
        assert!(low > high, "larger values are further up");
        assert_eq!(axes.place(1.0, f64::NAN), None);
    }

    #[test]
    fn every_curve_has_its_colour_and_spreads_show() {
        let without = chart(&two(&[(1.0, 10.0, 0.0), (2.0, 40.0, 0.0)]));
        let with = chart(&two(&[(1.0, 10.0, 9.0), (2.0, 40.0, 9.0)]));
        for colour in &COLOURS[..2] {
            assert!(count(&without, *colour) > 400);
        }
        // A bar has ends, which no line has: look left of the first point.
        let ends = |canvas: &Canvas| {
            let x = Axes::of(&two(&[(1.0, 10.0, 9.0), (2.0, 40.0, 9.0)]))
                .place(1.0, 10.0)
                .unwrap()
                .0;
            (0..canvas.height())
                .filter(|&y| COLOURS.contains(&canvas.get(x - MARK, y)))
                .count()
        };
        assert_eq!((ends(&without), ends(&with)), (0, 4));
    }

    #[test]
    fn degenerate_charts_are_drawn() {
        for points in [
            &[][..],
            &[(0.0, 1.0, 0.0)],
            &[(1.0, f64::NAN, 0.0), (2.0, 1.0, 0.0)],
        ] {
            let canvas = chart(&two(points));
            assert!(canvas.width() > WIDTH && canvas.height() > HEIGHT);
        }
    }
}
