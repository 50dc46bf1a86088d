//! Where the time of a training step went, as a table or as JSON.

use super::output;
use crate::error::Result;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use viewmaker_exec::{Part, Profile};

/// Layers shown one by one.
const LAYERS: usize = 10;

/// Prints `profile`.
pub(super) fn print(profile: &Profile, json: bool) -> Result<()> {
    match json {
        true => output::print_json(&to_json(profile)),
        false => output::print(&to_text(profile)),
    }
}

/// One line of the table.
#[derive(Clone, Debug, Default, PartialEq)]
struct Row {
    name: String,
    forward: Duration,
    backward: Duration,
    total: Duration,
}

/// Operations and everything else, the most expensive first.
fn rows(profile: &Profile) -> Vec<Row> {
    let mut operations: BTreeMap<&str, Row> = BTreeMap::new();
    for layer in &profile.layers {
        let row = operations.entry(layer.operation).or_insert_with(|| Row {
            name: layer.operation.to_string(),
            ..Row::default()
        });
        row.forward += layer.forward;
        row.backward += layer.backward;
        row.total += layer.total();
    }
    let parts = profile.parts.iter().map(|&(part, total)| Row {
        name: part.name().to_string(),
        total,
        ..Row::default()
    });
    let mut rows: Vec<Row> = operations.into_values().chain(parts).collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.total));
    rows
}

/// Milliseconds of one step.
fn per_step(time: Duration, profile: &Profile) -> f64 {
    1e3 * time.as_secs_f64() / profile.steps.max(1) as f64
}

fn share(time: Duration, profile: &Profile) -> f64 {
    time.as_secs_f64() / profile.total.as_secs_f64().max(f64::MIN_POSITIVE)
}

fn explained(profile: &Profile) -> f64 {
    let rest = profile.parts.iter().find(|(part, _)| *part == Part::Rest);
    1.0 - rest.map_or(0.0, |&(_, time)| share(time, profile))
}

fn to_text(profile: &Profile) -> String {
    let cell = |time: Duration| match time.is_zero() {
        true => format!("{:>10}", "-"),
        false => format!("{:>10.2}", per_step(time, profile)),
    };
    let part = |time| output::percent(share(time, profile));
    let line = |name: &str, forward, backward, total| {
        format!(
            "  {name:28}{}{}{}{:>9}",
            cell(forward),
            cell(backward),
            cell(total),
            part(total)
        )
    };
    let mut lines = vec![
        format!(
            "a step takes {:.1} ms (mean of {}), {} of it explained:",
            per_step(profile.total, profile),
            profile.steps,
            output::percent(explained(profile))
        ),
        format!(
            "  {:28}{:>10}{:>10}{:>10}{:>9}",
            "ms per step", "forward", "backward", "total", "share"
        ),
    ];
    let rows = rows(profile);
    lines.extend(
        rows.iter()
            .map(|row| line(&row.name, row.forward, row.backward, row.total)),
    );
    lines.push("the most expensive layers:".to_string());
    for layer in profile.layers.iter().take(LAYERS) {
        let d = layer.output;
        let row = line(&layer.layer, layer.forward, layer.backward, layer.total());
        let what = format!("{} {}×{}×{}×{}", layer.operation, d.n, d.c, d.h, d.w);
        lines.push(format!("{row}  {} {what}", layer.net));
    }
    lines.join("\n")
}

fn to_json(profile: &Profile) -> Value {
    let ms = |time| per_step(time, profile);
    let entry = |row: &Row| {
        json!({
            "name": row.name,
            "forward_ms": ms(row.forward),
            "backward_ms": ms(row.backward),
            "total_ms": ms(row.total),
            "share": share(row.total, profile),
        })
    };
    let layers = profile.layers.iter().map(|layer| {
        let d = layer.output;
        json!({
            "network": layer.net,
            "layer": layer.layer,
            "operation": layer.operation,
            "output": [d.n, d.c, d.h, d.w],
            "forward_ms": ms(layer.forward),
            "backward_ms": ms(layer.backward),
            "total_ms": ms(layer.total()),
            "share": share(layer.total(), profile),
        })
    });
    json!({
        "event": "profile",
        "steps": profile.steps,
        "step_ms": ms(profile.total),
        "explained": explained(profile),
        "rows": rows(profile).iter().map(entry).collect::<Vec<_>>(),
        "layers": layers.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use viewmaker_exec::profile::LayerTime;
    use viewmaker_ops::Dims;

    fn profile() -> Profile {
        let layer = |layer: &str, operation, [forward, backward]: [u64; 2]| LayerTime {
            net: "net".to_string(),
            layer: layer.to_string(),
            operation,
            output: Dims::new(2, 4, 5, 3),
            forward: Duration::from_millis(forward),
            backward: Duration::from_millis(backward),
        };
        Profile {
            steps: 2,
            layers: vec![
                layer("a", "conv2d", [20, 40]),
                layer("b", "relu", [10, 10]),
                layer("c", "conv2d", [6, 10]),
            ],
            parts: vec![
                (Part::Data, Duration::from_millis(100)),
                (Part::Rest, Duration::from_millis(4)),
            ],
            total: Duration::from_millis(200),
        }
    }

    #[test]
    fn groups_layers_by_operation() {
        let value = to_json(&profile());
        let rows = value["rows"].as_array().unwrap();
        let names: Vec<_> = rows.iter().map(|r| r["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["waiting for data", "conv2d", "relu", "unexplained"]);
        assert_eq!(rows[1]["forward_ms"], 13.0);
        assert_eq!(rows[1]["total_ms"], 38.0);
        assert!((rows[1]["share"].as_f64().unwrap() - 0.38).abs() < 1e-12);
        assert_eq!(value["step_ms"], 100.0);
        assert_eq!(value["explained"], 0.98);
        assert_eq!(value["layers"][0]["output"], json!([2, 3, 4, 5]));
    }

    #[test]
    fn the_table_names_layers_with_their_shapes() {
        let text = to_text(&profile());
        assert!(text.starts_with("a step takes 100.0 ms (mean of 2), 98.0 % of it explained:"));
        assert!(text.contains("net conv2d 2×3×4×5"), "{text}");
    }
}
