use super::*;
use crate::Dims;
use crate::conv2d::direct;
use crate::conv2d::geometry::Padding;
use crate::random::Philox;

/// Input, weights and output gradient.
fn inputs(g: &Geometry) -> [Vec<f32>; 3] {
    let lens = [g.input.len(), g.weights(), g.output.len()];
    std::array::from_fn(|stream| {
        let mut out = vec![0.0; lens[stream]];
        Philox::new(8, stream as u32, 0).fill_uniform(&mut out);
        out.iter().map(|x| 2.0 * x - 1.0).collect()
    })
}

/// Output, input gradient and weight gradient.
fn all(strided: &Strided) -> [Vec<f32>; 3] {
    let g = strided.geometry();
    let [x, w, dy] = inputs(g);
    let mut scratch = vec![f32::NAN; strided.products_scratch(3).max(strided.sums_scratch())];
    let [mut y, mut dx] = [g.output.len(), g.input.len()].map(|n| vec![f32::NAN; n]);
    let mut dw = vec![0.0; w.len()];
    strided.forward(&x, &w, None, &mut y, &mut scratch);
    strided.backward_input(&dy, &w, &mut dx, &mut scratch);
    strided.backward_weight(&x, &dy, &mut dw, &mut scratch);
    [y, dx, dw]
}

#[test]
fn chunks_do_not_matter() {
    let g = Geometry::new(Dims::new(5, 15, 12, 32), 48, 3, 2, Padding::Reflect(1));
    let whole = Strided {
        examples: 5,
        ..Strided::always(&g)
    };
    let want = all(&whole);
    for examples in [1, 2, 3] {
        same(&all(&Strided { examples, ..whole }), &want);
    }
}

#[test]
fn computes_what_the_direct_algorithm_computes() {
    use Padding::{Reflect, Zero};
    for (input, outputs, padding) in [
        (Dims::new(3, 16, 15, 32), 48, Zero(1)),
        (Dims::new(5, 8, 7, 64), 32, Reflect(1)),
        (Dims::new(2, 17, 18, 32), 16, Zero(0)),
        (Dims::new(3, 5, 3, 96), 80, Zero(2)),
        (Dims::new(2, 9, 23, 32), 64, Reflect(2)),
    ] {
        let g = Geometry::new(input, outputs, 3, 2, padding);
        same(&all(&Strided::always(&g)), &direct(&g));
    }
}

fn direct(g: &Geometry) -> [Vec<f32>; 3] {
    let mut scratch = vec![f32::NAN; direct::scratch_len(g, 1)];
    let [x, w, dy] = inputs(g);
    let [mut y, mut dx] = [g.output.len(), g.input.len()].map(|n| vec![f32::NAN; n]);
    let mut dw = vec![0.0; w.len()];
    direct::forward(g, &x, &w, None, &mut y, &mut scratch);
    direct::backward_input(g, &dy, &w, &mut dx, &mut scratch);
    direct::backward_weight(g, &x, &dy, &mut dw, &mut scratch);
    [y, dx, dw]
}

fn same(got: &[Vec<f32>; 3], want: &[Vec<f32>; 3]) {
    for (got, want) in got.iter().zip(want) {
        let largest = want.iter().fold(0.0f32, |m, w| m.max(w.abs()));
        for (g, w) in got.iter().zip(want) {
            assert!((g - w).abs() <= 3e-6 * largest, "{g} {w}");
        }
    }
}

#[test]
fn values_fill_their_slabs() {
    let counts: Vec<usize> = (0..SLABS).map(|slab| slabs::values(slab).count()).collect();
    assert_eq!(counts.iter().sum::<usize>(), INPUTS * INPUTS);
    for (slab, count) in counts.into_iter().enumerate() {
        assert_eq!(count, slabs::blocks(slab));
        for (block, (y, x)) in slabs::values(slab).enumerate() {
            assert_eq!(slabs::place(y, x), (slab, block));
        }
    }
}
