//! Gaussian blur.

/// Convolves every plane of a C × H × W picture with a Gaussian of standard deviation `sigma` > 0
/// pixels, cut off beyond three of them and normalised; the picture is mirrored at its edges.
pub(super) fn gaussian(picture: &mut [f32], [height, width]: [usize; 2], sigma: f32) {
    let kernel = kernel((3.0 * sigma).ceil() as usize, sigma);
    let mut line = Vec::with_capacity(height.max(width));
    for plane in picture.chunks_exact_mut(height * width) {
        for row in plane.chunks_exact_mut(width) {
            line.clear();
            line.extend_from_slice(row);
            convolve(&line, &kernel, row.iter_mut());
        }
        for column in 0..width {
            line.clear();
            line.extend(plane[column..].iter().step_by(width));
            convolve(&line, &kernel, plane[column..].iter_mut().step_by(width));
        }
    }
}

/// The weights at distances `0 ..= radius`; all `2·radius + 1` of them sum to 1.
fn kernel(radius: usize, sigma: f32) -> Vec<f32> {
    let weight = |i: usize| (-0.5 * (i as f64 / f64::from(sigma)).powi(2)).exp();
    let half: Vec<f64> = (0..=radius).map(weight).collect();
    let sum = 2.0 * half.iter().sum::<f64>() - half[0];
    half.into_iter().map(|w| (w / sum) as f32).collect()
}

fn convolve<'a>(line: &[f32], kernel: &[f32], out: impl Iterator<Item = &'a mut f32>) {
    let at = |i: isize| line[mirrored(i, line.len())];
    for (i, x) in out.enumerate() {
        let i = i as isize;
        let sides = kernel.iter().enumerate().skip(1);
        let sides = sides.map(|(d, w)| w * (at(i - d as isize) + at(i + d as isize)));
        // Rounding must not leave [0, 1].
        *x = (kernel[0] * at(i) + sides.sum::<f32>()).clamp(0.0, 1.0);
    }
}

/// The index that `i` is mirrored to in `0..len`, without repeating the edge.
pub(crate) fn mirrored(i: isize, len: usize) -> usize {
    let last = len as isize - 1;
    if last <= 0 {
        return 0;
    }
    let i = i.rem_euclid(2 * last);
    i.min(2 * last - i) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_becomes_the_kernel_and_constants_stay() {
        let mut x = vec![0.0; 9 * 9];
        x[4 * 9 + 4] = 1.0;
        gaussian(&mut x, [9, 9], 0.8);
        let weight = |d: f64| (-0.5 * (d / 0.8).powi(2)).exp();
        // 2.4 pixels, that is three.
        let sum = 1.0 + 2.0 * (weight(1.0) + weight(2.0) + weight(3.0));
        for (i, &got) in x.iter().enumerate() {
            let (dy, dx) = ((i / 9).abs_diff(4), (i % 9).abs_diff(4));
            let want = match dy.max(dx) {
                0..=3 => weight(dy as f64) * weight(dx as f64) / (sum * sum),
                _ => 0.0,
            };
            assert!((f64::from(got) - want).abs() < 1e-6, "{i}: {got}, {want}");
        }
        let mut flat = vec![0.5; 2 * 40 * 3];
        gaussian(&mut flat, [40, 3], 2.0);
        assert!(flat.iter().all(|x| (x - 0.5).abs() < 1e-6));
    }

    #[test]
    fn mirrors_without_repeating_the_edge() {
        let indices: Vec<usize> = (-4..8).map(|i| mirrored(i, 4)).collect();
        assert_eq!(indices, [2, 3, 2, 1, 0, 1, 2, 3, 2, 1, 0, 1]);
        assert_eq!(mirrored(-3, 1), 0);
    }
}
