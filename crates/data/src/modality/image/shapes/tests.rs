use super::*;

fn picture(shapes: &Shapes, index: usize) -> Vec<f32> {
    let mut out = vec![f32::NAN; shapes.frame.len()];
    shapes.load(index, Draw::FIXED, &mut out).unwrap();
    out
}

const FRAME: Frame = Frame {
    channels: 3,
    height: 32,
    width: 32,
};

#[test]
fn pictures_are_deterministic_and_in_range() {
    let shapes = Shapes::training(FRAME, 40);
    for index in 0..40 {
        let x = picture(&shapes, index);
        assert_eq!(x, picture(&shapes, index));
        assert!(x.iter().all(|v| (0.0..=1.0).contains(v)));
        let (low, high) = x
            .iter()
            .fold((1.0f32, 0.0f32), |(l, h), &v| (l.min(v), h.max(v)));
        assert!(high - low > 0.2, "picture {index} shows nothing");
    }
}

#[test]
fn held_out_pictures_are_different_ones() {
    let (train, test) = (Shapes::training(FRAME, 50), Shapes::held_out(FRAME, 50));
    for index in 0..50 {
        assert_ne!(picture(&train, index), picture(&test, index));
    }
}

#[test]
fn classes_are_balanced() {
    let shapes = Shapes::training(FRAME, 200);
    let mut counts = [0; 10];
    for index in 0..200 {
        counts[shapes.label(index).unwrap() as usize] += 1;
    }
    assert_eq!(counts, [20; 10]);
    let firsts: Vec<_> = (0..20).map(|block| shapes.label(10 * block)).collect();
    assert!(
        firsts.iter().any(|label| *label != firsts[0]),
        "the order repeats"
    );
}

#[test]
fn other_sizes_show_the_same_picture() {
    let grey = Frame {
        channels: 1,
        height: 48,
        width: 20,
    };
    let x = picture(&Shapes::training(grey, 1), 0);
    assert_eq!(x.len(), 48 * 20);
    assert!(x.iter().all(|v| v.is_finite()));
}

/// Nearest neighbours in pixel space must say little about the class, or nothing would be left to
/// learn; they must say a little, or the shapes would not be visible at all.
#[test]
fn pixels_alone_do_not_tell_the_class() {
    let (train, test) = (Shapes::training(FRAME, 2000), Shapes::held_out(FRAME, 200));
    let known: Vec<_> = (0..2000).map(|i| picture(&train, i)).collect();
    let right = (0..200)
        .filter(|&i| {
            let x = picture(&test, i);
            let distance =
                |y: &[f32]| -> f32 { x.iter().zip(y).map(|(a, b)| (a - b).powi(2)).sum() };
            let nearest =
                (0..2000).min_by(|&a, &b| distance(&known[a]).total_cmp(&distance(&known[b])));
            nearest.and_then(|n| train.label(n)) == test.label(i)
        })
        .count();
    assert!((22..80).contains(&right), "{right} of 200");
}
