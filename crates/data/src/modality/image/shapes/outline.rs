//! The ten outlines as signed distances.

/// A point or vector; x to the right, y downwards.
pub(super) type Point = [f32; 2];

/// A class of shapes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outline {
    Disc,
    Ring,
    Square,
    Triangle,
    Cross,
    Star,
    Crescent,
    Heart,
    Arrow,
    Bars,
}

impl Outline {
    /// Every outline, in the order of the labels.
    pub(super) const ALL: [Self; 10] = [
        Self::Disc,
        Self::Ring,
        Self::Square,
        Self::Triangle,
        Self::Cross,
        Self::Star,
        Self::Crescent,
        Self::Heart,
        Self::Arrow,
        Self::Bars,
    ];

    /// Their names.
    pub(super) const NAMES: [&str; 10] = [
        "disc", "ring", "square", "triangle", "cross", "star", "crescent", "heart", "arrow", "bars",
    ];

    /// Distance from `p` to the outline: negative inside, positive outside, exact near the edge.
    /// All shapes lie in the circle of radius 1 around the origin and fill similar areas.
    pub(super) fn distance(self, p: Point) -> f32 {
        let mirrored = [p[0].abs(), p[1]];
        match self {
            Self::Disc => disc(p, [0.0, 0.0], 0.8),
            Self::Ring => (disc(p, [0.0, 0.0], 0.68)).abs() - 0.2,
            Self::Square => rectangle(p, [0.0, 0.0], [0.68, 0.68]),
            Self::Triangle => polygon(p, &[[0.0, -0.98], [0.85, 0.52], [-0.85, 0.52]]),
            Self::Cross => {
                let bar = |half| rectangle(p, [0.0, 0.0], half);
                bar([0.25, 0.9]).min(bar([0.9, 0.25]))
            }
            Self::Star => polygon(p, &star()),
            Self::Crescent => disc(p, [0.0, 0.0], 0.9).max(-disc(p, [0.45, 0.0], 0.72)),
            Self::Heart => {
                let lobe = disc(mirrored, [0.4, -0.3], 0.48);
                lobe.min(polygon(
                    p,
                    &[[0.0, -0.3], [0.77, -0.02], [0.0, 0.92], [-0.77, -0.02]],
                ))
            }
            Self::Arrow => polygon(
                p,
                &[
                    [0.0, -0.95],
                    [0.8, -0.05],
                    [0.28, -0.05],
                    [0.28, 0.9],
                    [-0.28, 0.9],
                    [-0.28, -0.05],
                    [-0.8, -0.05],
                ],
            ),
            Self::Bars => rectangle(mirrored, [0.42, 0.0], [0.21, 0.76]),
        }
    }
}

fn disc(p: Point, centre: Point, radius: f32) -> f32 {
    (p[0] - centre[0]).hypot(p[1] - centre[1]) - radius
}

fn rectangle(p: Point, centre: Point, half: Point) -> f32 {
    let [x, y] = [0, 1].map(|i| (p[i] - centre[i]).abs() - half[i]);
    x.max(0.0).hypot(y.max(0.0)) + x.max(y).min(0.0)
}

/// Five points at radius 1, the notches between them at 0.45.
fn star() -> [Point; 10] {
    std::array::from_fn(|corner| {
        let radius = if corner % 2 == 0 { 1.0 } else { 0.45 };
        let (sin, cos) = (corner as f32 * std::f32::consts::PI / 5.0).sin_cos();
        [radius * sin, -radius * cos]
    })
}

/// Distance to a simple polygon: that to the nearest edge, negative if a ray to the right crosses
/// an odd number of edges.
fn polygon(p: Point, corners: &[Point]) -> f32 {
    let mut nearest = f32::INFINITY; // squared
    let mut inside = false;
    for (i, &a) in corners.iter().enumerate() {
        let b = corners[(i + 1) % corners.len()];
        let edge = [b[0] - a[0], b[1] - a[1]];
        let to = [p[0] - a[0], p[1] - a[1]];
        let along = (to[0] * edge[0] + to[1] * edge[1]) / (edge[0] * edge[0] + edge[1] * edge[1]);
        let along = along.clamp(0.0, 1.0);
        let (x, y) = (to[0] - along * edge[0], to[1] - along * edge[1]);
        nearest = nearest.min(x * x + y * y);
        if (a[1] > p[1]) != (b[1] > p[1]) && to[0] < to[1] * edge[0] / edge[1] {
            inside = !inside;
        }
    }
    if inside {
        -nearest.sqrt()
    } else {
        nearest.sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn area(outline: Outline) -> f32 {
        const STEPS: i32 = 200;
        let at = |i: i32| (i as f32 + 0.5) / STEPS as f32 * 2.4 - 1.2;
        let points = (0..STEPS).flat_map(|y| (0..STEPS).map(move |x| [at(x), at(y)]));
        let inside = points.filter(|&p| outline.distance(p) < 0.0);
        let mut count = 0;
        for p in inside {
            assert!(p[0].hypot(p[1]) < 1.03, "{outline:?} reaches {p:?}");
            count += 1;
        }
        count as f32 * (2.4 / STEPS as f32).powi(2)
    }

    #[test]
    fn shapes_stay_in_the_circle_and_fill_similar_areas() {
        for outline in Outline::ALL {
            let area = area(outline);
            assert!((1.0..2.1).contains(&area), "{outline:?}: {area}");
        }
    }

    #[test]
    fn distances_are_exact_for_known_points() {
        assert_eq!(
            polygon(
                [0.0, 0.0],
                &[[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]]
            ),
            -1.0
        );
        assert_eq!(
            polygon(
                [3.0, 0.0],
                &[[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]]
            ),
            2.0
        );
        assert_eq!(rectangle([4.0, 5.0], [0.0, 0.0], [1.0, 1.0]), 5.0);
        assert!(Outline::Ring.distance([0.0, 0.0]) > 0.0);
        assert!(Outline::Bars.distance([0.0, 0.0]) > 0.0);
        assert!(Outline::Crescent.distance([0.4, 0.0]) > 0.0);
    }
}
