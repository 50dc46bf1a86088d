//! Running statistics that passes must not move.

use viewmaker_exec::Tower;

/// Holds the running statistics that networks have now; dropping it puts them back.
#[derive(Debug)]
pub(crate) struct KeptStatistics {
    kept: Vec<(Tower, Vec<f32>)>,
}

impl KeptStatistics {
    /// Those of `towers`; networks without any are left alone.
    pub(crate) fn of<'a>(towers: impl IntoIterator<Item = &'a Tower>) -> Self {
        let statistics = |tower: &Tower| (tower.clone(), tower.weights().state.clone());
        let kept = towers.into_iter().map(statistics);
        Self {
            kept: kept.filter(|(_, state)| !state.is_empty()).collect(),
        }
    }
}

impl Drop for KeptStatistics {
    fn drop(&mut self) {
        for (tower, state) in self.kept.drain(..) {
            tower.weights_mut().state = state;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use viewmaker_exec::Weights;
    use viewmaker_net::NetBuilder;
    use viewmaker_ops::batch_norm::BatchNorm;
    use viewmaker_ops::pool::GlobalAvgPool;

    /// A network with or without batch norm.
    fn tower(normalises: bool) -> Tower {
        let mut builder = NetBuilder::new("statistics");
        let mut x = builder.input("x", [2, 4, 4]).unwrap();
        if normalises {
            x = builder.apply("norm", BatchNorm::default(), &[x]).unwrap();
        }
        builder.apply("pool", GlobalAvgPool, &[x]).unwrap();
        Tower::new(Weights::init(builder.finish().into(), 1, 1))
    }

    #[test]
    fn statistics_come_back_and_networks_without_any_are_left_alone() {
        let (with, without) = (tower(true), tower(false));
        let before = with.weights().state.clone();
        let guard = KeptStatistics::of([&without, &with]);
        assert_eq!(guard.kept.len(), 1);
        with.weights_mut().state.fill(7.0);
        drop(guard);
        assert_eq!(with.weights().state, before);
        assert!(without.weights().state.is_empty());
    }
}
