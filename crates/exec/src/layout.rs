//! NCHW outside, NHWC inside: the conversion at the edge of a network.

use rayon::prelude::*;
use viewmaker_ops::Dims;

/// Writes `nchw` (shape `n × c × h × w`) into `out` as `n × h × w × c`.
///
/// # Panics
/// When a slice does not have `dims.len()` elements.
pub fn to_nhwc(nchw: &[f32], dims: Dims, out: &mut [f32]) {
    transpose(nchw, out, dims, dims.c, dims.area());
}

/// Writes `nhwc` (shape `n × h × w × c`) into `out` as `n × c × h × w`.
///
/// # Panics
/// When a slice does not have `dims.len()` elements.
pub fn to_nchw(nhwc: &[f32], dims: Dims, out: &mut [f32]) {
    transpose(nhwc, out, dims, dims.area(), dims.c);
}

/// Whether both layouts hold the elements in the same order.
pub(crate) fn is_the_same(dims: Dims) -> bool {
    dims.c == 1 || dims.is_vector()
}

/// Transposes the `rows × columns` matrix of every example.
fn transpose(from: &[f32], to: &mut [f32], dims: Dims, rows: usize, columns: usize) {
    assert_eq!(from.len(), dims.len(), "source does not have shape {dims}");
    assert_eq!(to.len(), dims.len(), "target does not have shape {dims}");
    if dims.is_empty() {
        return;
    }
    let examples = from.par_chunks(dims.example());
    let outputs = to.par_chunks_mut(dims.example());
    examples.zip(outputs).for_each(|(x, y)| {
        for (row, values) in x.chunks_exact(columns).enumerate() {
            for (column, &value) in values.iter().enumerate() {
                y[column * rows + row] = value;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back_is_the_identity() {
        let dims = Dims::new(2, 3, 5, 4);
        let nchw: Vec<f32> = (0..dims.len()).map(|i| i as f32).collect();
        let (mut nhwc, mut back) = (vec![0.0; dims.len()], vec![0.0; dims.len()]);
        to_nhwc(&nchw, dims, &mut nhwc);
        to_nchw(&nhwc, dims, &mut back);
        assert_eq!(nchw, back);
        // Example 1, channel 2, row 1, column 3.
        let value = nchw[((4 + 2) * 3 + 1) * 5 + 3];
        assert_eq!(nhwc[((3 + 1) * 5 + 3) * 4 + 2], value);
    }
}
