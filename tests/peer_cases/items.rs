//! What is compared follows from the networks.

use crate::peer::args::Args;
use crate::peer::items::{Item, Pass, Work, items};
use crate::peer::layers::{Layer, layers};
use crate::peer::run;
use std::collections::HashSet;

fn found(name: &str) -> Layer {
    let all = layers().unwrap();
    let layer = all.iter().find(|layer| layer.shape.name() == name);
    layer.unwrap_or_else(|| panic!("no layer {name}")).clone()
}

fn list(arguments: &[&str]) -> Vec<String> {
    let words = ["peer", "--list", "--python", "there-is-no-such-python"];
    let args = <Args as clap::Parser>::parse_from(words.iter().chain(arguments));
    let mut out = Vec::new();
    run(&args, &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn every_item_has_a_name_of_its_own() {
    let items = items().unwrap();
    let names: HashSet<&str> = items.iter().map(|item| item.name.as_str()).collect();
    assert_eq!(names.len(), items.len());
}

#[test]
fn every_layer_is_compared_in_three_passes() {
    let layers = layers().unwrap();
    let items = items().unwrap();
    let passes = |pass: Pass| {
        let of_pass = |item: &&Item| matches!(&item.work, Work::Layer(work) if work.pass == pass);
        items.iter().filter(of_pass).count()
    };
    for pass in Pass::ALL {
        assert_eq!(passes(pass), layers.len());
    }
}

#[test]
fn layers_are_those_of_the_networks() {
    let wide = found("64x32x32-64-k3s1");
    let blocks = [
        "layer1.0.conv1",
        "layer1.0.conv2",
        "layer1.1.conv1",
        "layer1.1.conv2",
    ];
    let places = blocks.map(|block| format!("image/encoder/{block}"));
    assert_eq!(wide.places, places);
    assert!(!wide.shape.reflect && !wide.shape.bias && wide.input_gradient);
    let noisy = found("130x8x8-130-k3s1r");
    assert!(
        noisy
            .places
            .contains(&"sensor/viewmaker/res2.conv1.conv2d".to_string())
    );
    assert!(noisy.shape.bias && noisy.shape.padding == 1);
    assert_eq!(found("52x32x32-64-k7s2").shape.padding, 3);
    assert_eq!(found("1x64x64-64-k7s2").places, ["speech/encoder/conv1"]);
}

#[test]
fn gradients_that_no_step_computes_are_known() {
    // Nothing below the viewmaker's first layer learns; the viewmaker learns through the encoder's.
    assert!(!found("4x32x32-32-k9s1r").input_gradient);
    assert!(found("3x32x32-64-k3s1").input_gradient);
    let unused = "conv/4x32x32-32-k9s1r/input-gradient";
    let item = items().unwrap().into_iter().find(|i| i.name == unused);
    assert!(item.unwrap().note.ends_with("no step computes this pass"));
}

#[test]
fn listing_needs_no_python() {
    let all = list(&[]);
    assert_eq!(all.len(), items().unwrap().len());
    for name in [
        "step-image/simultaneous",
        "step-speech/alternating",
        "conv/64x32x32-64-k3s1/forward",
        "loss/ntxent/16384",
        "spectrogram/flac",
        "loading/cifar10",
    ] {
        assert!(all.iter().any(|listed| listed == name), "{name}");
    }
    let some = list(&["--filter", "ntxent", "--filter", "step-image"]);
    assert_eq!(some.len(), 5);
}
