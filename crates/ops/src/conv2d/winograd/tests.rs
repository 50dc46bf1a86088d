use super::super::geometry::Padding;
use super::*;
use crate::Dims;
use crate::random::Philox;

/// Output, input gradient and weight gradient.
fn all(winograd: &Winograd) -> [Vec<f32>; 3] {
    let g = winograd.geometry();
    let random = |stream, len| {
        let mut out = vec![0.0; len];
        Philox::new(8, stream, 0).fill_uniform(&mut out);
        out
    };
    let (x, w) = (random(0, g.input.len()), random(1, g.weights()));
    let dy = random(2, g.output.len());
    let mut scratch = vec![f32::NAN; winograd.scratch_len(3)];
    let [mut y, mut dx] = [g.output.len(), g.input.len()].map(|n| vec![f32::NAN; n]);
    let mut dw = vec![0.0; w.len()];
    winograd.forward(&x, &w, None, &mut y, &mut scratch);
    winograd.backward_input(&dy, &w, &mut dx, &mut scratch);
    winograd.backward_weight(&x, &dy, &mut dw, &mut scratch);
    [y, dx, dw]
}

fn same(got: &[Vec<f32>; 3], want: &[Vec<f32>; 3]) {
    for (got, want) in got.iter().zip(want) {
        let largest = want.iter().fold(0.0f32, |m, w| m.max(w.abs()));
        for (g, w) in got.iter().zip(want) {
            assert!((g - w).abs() <= 2e-6 * largest, "{g} {w}");
        }
    }
}

#[test]
fn blocks_and_chunks_do_not_matter() {
    let g = Geometry::new(Dims::new(3, 15, 12, 36), 32, 3, 1, Padding::Reflect(1));
    let whole = Winograd::new(&g).expect("worth it");
    let want = all(&whole);
    for (block, chunk) in [(1, 1), (4, 5), (7, 11)] {
        let cut = Winograd {
            block,
            chunk,
            ..whole
        };
        same(&all(&cut), &want);
    }
}

#[test]
fn wide_and_narrow_agree() {
    for (input, padding) in [
        (Dims::new(3, 9, 6, 96), Padding::Zero(1)),
        (Dims::new(5, 4, 4, 160), Padding::Reflect(1)),
    ] {
        let g = Geometry::new(input, 64, 3, 1, padding);
        let narrow = Winograd::new(&g).expect("worth it");
        assert!(!narrow.wide);
        let wide = Winograd {
            wide: true,
            ..narrow
        };
        same(&all(&wide), &all(&narrow));
        let cut = Winograd { chunk: 4, ..wide };
        same(&all(&cut), &all(&narrow));
    }
}
