use super::blur::disk;
use super::noise::poisson;
use super::picture::{clouds, line, sample, smooth};
use super::*;

/// A picture of smooth shapes: what natural pictures are like, and noise is not.
fn picture(channels: usize, size: usize) -> Vec<f32> {
    let value = |i: usize| {
        let (c, y, x) = (i / (size * size), i / size % size, i % size);
        let wave = (0.5 * x as f32 + c as f32).sin() * (0.35 * y as f32).cos();
        let edge = if x + y > size { 0.25 } else { -0.15 };
        (0.45 + 0.25 * wave + edge).clamp(0.0, 1.0)
    };
    (0..channels * size * size).map(value).collect()
}

fn corrupted(corruption: &Corruption, severity: usize, seed: u64, index: usize) -> Vec<f32> {
    let mut x = picture(3, 32);
    corruption.apply(&mut x, [3, 32, 32], severity, seed, index);
    x
}

fn find(name: &str) -> &'static Corruption {
    corruptions().iter().find(|c| c.name == name).expect(name)
}

/// Root mean square of the difference.
fn distance(a: &[f32], b: &[f32]) -> f64 {
    let squares = a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2));
    (squares.sum::<f64>() / a.len() as f64).sqrt()
}

#[test]
fn the_list_is_that_of_cifar_10_c() {
    let names: Vec<&str> = corruptions().iter().map(|c| c.name).collect();
    assert_eq!(names.len(), 15);
    let families = ["noise", "blur", "weather", "digital"];
    let count = |family| corruptions().iter().filter(|c| c.family == family).count();
    assert_eq!(families.map(count), [3, 4, 4, 4]);
}

#[test]
fn every_severity_is_worse_than_the_one_before() {
    let clean = picture(3, 32);
    for corruption in corruptions() {
        // Means over a few draws: single ones may be lucky.
        let distances: Vec<f64> = (1..=SEVERITIES)
            .map(|severity| {
                let of = |index| distance(&clean, &corrupted(corruption, severity, 1, index));
                (0..8).map(of).sum::<f64>() / 8.0
            })
            .collect();
        assert!(distances[0] > 0.005, "{corruption:?} {distances:?}");
        let rises = distances.windows(2).all(|pair| pair[1] > 1.02 * pair[0]);
        assert!(rises, "{corruption:?} {distances:?}");
        assert!(distances[4] < 0.6, "{corruption:?} {distances:?}");
    }
}

#[test]
fn the_same_numbers_for_the_same_coordinates() {
    let random = [
        "gaussian_noise",
        "shot_noise",
        "impulse_noise",
        "glass_blur",
        "motion_blur",
        "snow",
        "frost",
        "fog",
        "elastic_transform",
    ];
    for corruption in corruptions() {
        let x = corrupted(corruption, 3, 5, 7);
        assert_eq!(x, corrupted(corruption, 3, 5, 7));
        assert!(x.iter().all(|v| (0.0..=1.0).contains(v)), "{corruption:?}");
        let differs = x != corrupted(corruption, 3, 5, 8) && x != corrupted(corruption, 3, 6, 7);
        assert_eq!(differs, random.contains(&corruption.name), "{corruption:?}");
    }
}

#[test]
fn other_shapes_and_flat_pictures_work() {
    for shape in [[1, 16, 16], [3, 20, 33], [3, 8, 8], [1, 64, 48], [2, 9, 9]] {
        for corruption in corruptions() {
            for value in [0.0, 0.5, 1.0] {
                let mut x = vec![value; shape.iter().product()];
                corruption.apply(&mut x, shape, 5, 0, 0);
                let fine = x.iter().all(|v| (0.0..=1.0).contains(v));
                assert!(fine, "{corruption:?} {shape:?} {value}");
            }
        }
    }
}

#[test]
fn noises_have_the_moments_they_should() {
    let mut x = vec![0.5; 3 * 64 * 64];
    find("gaussian_noise").apply(&mut x, [3, 64, 64], 2, 1, 1);
    let flat = vec![0.5; x.len()];
    assert!((distance(&x, &flat) - 0.06).abs() < 0.002);
    // Photons: variance x / λ.
    let mut x = vec![0.5; 3 * 64 * 64];
    find("shot_noise").apply(&mut x, [3, 64, 64], 3, 1, 1);
    assert!((distance(&x, &flat) - (0.5f64 / 100.0).sqrt()).abs() < 0.002);
    let mut x = vec![0.5; 3 * 64 * 64];
    find("impulse_noise").apply(&mut x, [3, 64, 64], 5, 1, 1);
    let part = |value: f32| x.iter().filter(|v| **v == value).count() as f64 / x.len() as f64;
    assert!((part(0.0) - 0.045).abs() < 0.006 && (part(1.0) - 0.045).abs() < 0.006);
    let mut dice = dice_of(1, 2, 3, 4);
    let small: Vec<f32> = (0..20_000).map(|_| poisson(3.0, &mut dice)).collect();
    let mean = small.iter().sum::<f32>() / small.len() as f32;
    let variance = small.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / small.len() as f32;
    assert!(
        (mean - 3.0).abs() < 0.05 && (variance - 3.0).abs() < 0.15,
        "{mean} {variance}"
    );
    assert_eq!(poisson(0.0, &mut dice), 0.0);
}

#[test]
fn blurs_keep_what_is_flat_and_spread_points() {
    for radius in [0.3, 0.7, 1.3, 2.2, 6.0] {
        let taps = disk(radius);
        let sum: f32 = taps.iter().map(|tap| tap.2).sum();
        assert!((sum - 1.0).abs() < 1e-5);
        // The root mean square distance of a disk from its middle is r / √2.
        let square: f32 = taps.iter().map(|(y, x, w)| w * (y * y + x * x)).sum();
        let expected = 0.5 * radius * radius;
        // Pixels know to about a sixth of their area where in them the disk lies.
        assert!(
            (square - expected).abs() < 0.25,
            "{radius}: {square} {expected}"
        );
    }
    let taps = line(4.0, 0.0);
    assert!(taps.iter().all(|tap| tap.0 == 0.0) && taps[0].1 == -2.0);
    let mut point = vec![0.0; 15 * 15];
    point[7 * 15 + 7] = 1.0;
    smooth(&mut point, [15, 15], 1.0);
    let sum: f32 = point.iter().sum();
    assert!((sum - 1.0).abs() < 1e-4);
    assert!((point[7 * 15 + 7] - 0.159).abs() < 0.002, "1 / (2π σ²)");
}

#[test]
fn pixels_are_interpolated_and_mirrored() {
    let plane = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0];
    let at = |row, column| sample(&plane, [2, 3], row, column);
    assert_eq!((at(0.0, 1.0), at(0.5, 0.5), at(1.0, 2.0)), (1.0, 2.0, 5.0));
    assert_eq!((at(-1.0, 0.0), at(0.0, -1.0)), (3.0, 1.0));
}

#[test]
fn clouds_fill_the_range_and_are_smooth() {
    let map = clouds([32, 48], 2, 0.5, &mut dice_of(1, 2, 3, 4));
    let (low, high) = map
        .iter()
        .fold((1.0f32, 0.0f32), |(l, h), x| (l.min(*x), h.max(*x)));
    assert_eq!((low, high), (0.0, 1.0));
    let steps = map
        .chunks(48)
        .flat_map(|row| row.windows(2).map(|p| (p[1] - p[0]).abs()));
    assert!(steps.fold(0.0, f32::max) < 0.4);
}

#[test]
fn deterministic_corruptions_do_what_they_say() {
    let clean = picture(3, 32);
    // Half the contrast: half the distance from the mean.
    let mean = |x: &[f32]| x.iter().sum::<f32>() / x.len() as f32;
    let x = corrupted(find("contrast"), 2, 0, 0);
    let plane = &clean[..1024];
    for (a, b) in plane.iter().zip(&x) {
        assert!((0.5 * (a - mean(plane)) - (b - mean(plane))).abs() < 1e-5);
    }
    // Half the size: blocks of two by two are their means.
    let x = corrupted(find("pixelate"), 2, 0, 0);
    let block = (clean[0] + clean[1] + clean[32] + clean[33]) / 4.0;
    assert!([0, 1, 32, 33].iter().all(|&i| x[i] == x[0]));
    assert!((x[0] - block).abs() < 0.02, "{} {block}", x[0]);
    // Brighter: the largest channel by 0.15, ratios stay.
    let x = corrupted(find("brightness"), 2, 0, 0);
    let [before, after] = [&clean, &x].map(|x| [x[40], x[1064], x[2088]]);
    let most = |rgb: [f32; 3]| rgb.into_iter().fold(0.0, f32::max);
    assert!((most(after) - (most(before) + 0.15).min(1.0)).abs() < 1e-5);
    assert!((after[0] / after[1] - before[0] / before[1]).abs() < 1e-4);
}
