//! Weights that are given by a rule instead of a file.

const WEYL: u64 = 0x9e37_79b9_7f4a_7c15;
const SALT: u64 = 0xd1b5_4a32_d192_ed03;

/// The values of the tensor called `name` (a state_dict name) of this shape under the fill rule.
///
/// A splitmix64 sequence seeded with the FNV-1a hash of the name and `salt` gives `r` in
/// `[-1, 1)`; the element is `r·√(3/fan_in)` for two and more dimensions, `1 + 0.2r` for a
/// one-dimensional `weight`, `0.1r` for other one-dimensional tensors and `running_mean`,
/// `1 + 0.5r` for `running_var` and 0 for `num_batches_tracked`; rounded once to `f32`.
pub fn fill(name: &str, shape: &[usize], salt: u64) -> Vec<f32> {
    let base = fnv1a(name.as_bytes()).wrapping_add(salt.wrapping_mul(SALT));
    let count = shape.iter().product::<usize>() as u64;
    (0..count)
        .map(|i| scale(name, shape, symmetric(base, i)) as f32)
        .collect()
}

fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |h, b| {
        (h ^ u64::from(*b)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The `i`-th number of the sequence at `base`, in `[-1, 1)`.
fn symmetric(base: u64, i: u64) -> f64 {
    let mut z = base.wrapping_add((i + 1).wrapping_mul(WEYL));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^= z >> 31;
    (z >> 40) as f64 / 8_388_608.0 - 1.0
}

fn scale(name: &str, shape: &[usize], r: f64) -> f64 {
    let last = name.rsplit('.').next().unwrap_or(name);
    match last {
        "running_mean" => 0.1 * r,
        "running_var" => 1.0 + 0.5 * r,
        "num_batches_tracked" => 0.0,
        _ if shape.len() >= 2 => {
            let fan_in = shape[1..].iter().product::<usize>();
            r * (3.0 / fan_in as f64).sqrt()
        }
        "weight" => 1.0 + 0.2 * r,
        _ => 0.1 * r,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values printed by the generator of the references.
    #[test]
    fn first_values_are_those_of_the_generator() {
        let first = |name, shape: &[usize]| fill(name, shape, 31)[..4].to_vec();
        assert_eq!(
            first("conv1.weight", &[64, 3, 3, 3]),
            [-0.232_734_52, -0.282_429_67, 0.033_368_748, -0.166_504_14]
        );
        assert_eq!(
            first("bn1.weight", &[64]),
            [0.804_365, 1.036_596_2, 0.982_409_7, 0.864_683]
        );
        assert_eq!(
            first("fc.bias", &[128]),
            [-0.064_353_69, 0.084_584_34, 0.027_834_903, 0.031_522_31]
        );
    }

    #[test]
    fn batch_norm_state_has_its_own_rules() {
        let r = fill("bn1.running_mean", &[8], 31);
        let variance = fill("bn1.running_var", &[8], 31);
        assert!(r.iter().all(|x| x.abs() <= 0.1));
        assert!(variance.iter().all(|x| (0.5..1.5).contains(x)));
        assert_eq!(fill("bn1.num_batches_tracked", &[], 31), [0.0]);
    }
}
