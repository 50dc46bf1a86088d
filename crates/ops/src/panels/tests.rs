use super::*;
use crate::random::Philox;
use pulp::Arch;

fn random(stream: u32, len: usize) -> Vec<f32> {
    let mut out = vec![0.0; len];
    Philox::new(3, stream, 0).fill_uniform(&mut out);
    out
}

/// Products of up to 31 + 8 numbers in `[0, 1)`: rounding stays below this.
const TOLERANCE: f64 = 1e-4;

fn close(got: f32, want: f64) {
    assert!((f64::from(got) - want).abs() <= TOLERANCE, "{got} {want}");
}

#[test]
fn panels_cover_all_columns() {
    for columns in [1, 16, 17, 32, 48, 49, 129] {
        let cut: Vec<_> = panels(columns).collect();
        assert_eq!(cut.first().unwrap().start, 0);
        assert_eq!(cut.last().unwrap().end, padded(columns));
        assert!(cut.windows(2).all(|w| w[0].end == w[1].start));
        assert!(cut.iter().all(|p| p.len() == WIDTH || p.len() == HALF));
    }
}

#[test]
fn rows_through_panels() {
    for (count, inner, columns) in [(1, 1, 16), (16, 5, 48), (29, 31, 32), (3, 8, 80)] {
        let (from_step, to_step) = (inner + 3, columns + 16);
        let (from, b) = (random(0, count * from_step), random(1, inner * columns));
        let mut packed = vec![0.0; inner * columns];
        for panel in panels(columns) {
            let rows = packed[panel.start * inner..].chunks_mut(panel.len());
            for (k, row) in rows.take(inner).enumerate() {
                row.copy_from_slice(&b[k * columns..][panel.clone()]);
            }
        }
        let mut to = vec![0.5; count * to_step];
        for add in [false, true] {
            Arch::new().dispatch(Rows {
                count,
                inner,
                runs: &[(0, 0)],
                from: &from,
                from_step,
                panels: &packed,
                height: inner,
                columns,
                to: &mut to,
                to_step,
                add,
            });
            let times = if add { 2.0 } else { 1.0 };
            for (i, j) in (0..count).flat_map(|i| (0..columns).map(move |j| (i, j))) {
                let product = |k: usize| f64::from(from[i * from_step + k] * b[k * columns + j]);
                close(
                    to[i * to_step + j],
                    times * (0..inner).map(product).sum::<f64>(),
                );
            }
        }
        assert!(
            to.chunks(to_step)
                .all(|row| row[columns..].iter().all(|&x| x == 0.5))
        );
    }
}

#[test]
fn sums_of_outer_products() {
    for (count, height, columns) in [(1, 1, 16), (7, 16, 48), (31, 29, 32), (12, 3, 80)] {
        let (a_step, b_step, to_step) = (height + 2, columns + 1, columns + 16);
        let (a, b) = (random(0, count * a_step), random(1, count * b_step));
        let mut to = vec![0.5; height * to_step];
        for add in [false, true] {
            Arch::new().dispatch(Outer {
                lines: &[Line { a: 0, b: 0, count }],
                a: &a,
                a_step,
                height,
                b: &b,
                b_step,
                columns,
                to: &mut to,
                to_step,
                add,
            });
            let times = if add { 2.0 } else { 1.0 };
            for (i, j) in (0..height).flat_map(|i| (0..columns).map(move |j| (i, j))) {
                let product = |t: usize| f64::from(a[t * a_step + i] * b[t * b_step + j]);
                close(
                    to[i * to_step + j],
                    times * (0..count).map(product).sum::<f64>(),
                );
            }
        }
        assert!(
            to.chunks(to_step)
                .all(|row| row[columns..].iter().all(|&x| x == 0.5))
        );
    }
}

/// More results, rows and columns than are brought together at a time; no rows at all.
#[test]
fn sums_of_many_outer_products() {
    let sizes = [(0, 3, 16), (0, 100, 96), (5, 200, 48), (300, 101, 304)];
    for (count, height, columns) in sizes {
        let (a_step, b_step) = (height + 3, columns + 256);
        let (a, b) = (random(0, (count + 2) * a_step), random(1, count * b_step));
        // Rows of `a` are taken in the order 2, 3 … and 0, 1 at the end.
        let first = count.saturating_sub(2);
        let line = |a: usize, b: usize, count: usize| Line {
            a: a * a_step,
            b: b * b_step,
            count,
        };
        let lines = [line(2, 0, first), line(0, first, count - first)];
        let mut to = vec![0.5; height * columns];
        for add in [false, true] {
            Arch::new().dispatch(Outer {
                lines: &lines,
                a: &a,
                a_step,
                height,
                b: &b,
                b_step,
                columns,
                to: &mut to,
                to_step: columns,
                add,
            });
            let times = if add { 2.0 } else { 1.0 };
            for (i, j) in (0..height).flat_map(|i| (0..columns).map(move |j| (i, j))) {
                let row = |t: usize| if t < first { t + 2 } else { t - first };
                let product = |t: usize| f64::from(a[row(t) * a_step + i] * b[t * b_step + j]);
                let want = times * (0..count).map(product).sum::<f64>();
                // Rounding of up to 600 numbers in [0, 1).
                assert!((f64::from(to[i * columns + j]) - want).abs() <= 1e-3);
            }
        }
    }
}
