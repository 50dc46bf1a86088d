//! The losses by their names, and what makes no loss.

use super::positives::{Classes, Positives};
use super::{Contrast, ContrastError, Excluded, Group};
use std::ops::Range;

impl Contrast {
    /// The general form with one positive each: query i is row i, its positive is row `positives[i]`,
    /// `keys` are rows.
    ///
    /// # Errors
    /// When there are no queries, a row is out of range, a positive is not a key, a query is left without
    /// any key, or the temperature is not between 1e-4 and 1e4.
    pub fn new(
        (rows, dim): (usize, usize),
        positives: Vec<usize>,
        keys: Range<usize>,
        excluded: Excluded,
        temperature: f32,
    ) -> Result<Self, ContrastError> {
        let groups = vec![Group {
            queries: 0..positives.len(),
            keys,
        }];
        Self {
            excluded,
            ..Self::of((rows, dim), groups, Positives::Keys(positives), temperature)
        }
        .checked()
    }

    /// All rows trained, nothing excluded.
    const fn of(
        (rows, dim): (usize, usize),
        groups: Vec<Group>,
        positives: Positives,
        temperature: f32,
    ) -> Self {
        Self {
            rows,
            dim,
            trained: rows,
            groups,
            positives,
            excluded: Excluded::Nothing,
            temperature,
            offset: 0.0,
        }
    }

    /// The viewmaker's SimCLR on `z = [z1; z2]` of 2·`pairs` rows: queries are the rows of the first
    /// view, keys all rows, nothing is excluded, the offset is −log 2N.
    pub fn viewmaker_simclr(
        pairs: usize,
        dim: usize,
        temperature: f32,
    ) -> Result<Self, ContrastError> {
        let rows = 2 * pairs;
        let positives = (pairs..rows).collect();
        let all = Self::new(
            (rows, dim),
            positives,
            0..rows,
            Excluded::Nothing,
            temperature,
        )?;
        Ok(Self {
            offset: -(rows as f64).ln(),
            ..all
        })
    }

    /// NT-Xent on `z = [z1; z2]`: every row asks for its partner among all others.
    pub fn ntxent(pairs: usize, dim: usize, temperature: f32) -> Result<Self, ContrastError> {
        Self::both_ways(pairs, dim, Excluded::Itself, temperature)
    }

    /// Decoupled contrastive learning on `z = [z1; z2]`, at least two pairs.
    pub fn dcl(pairs: usize, dim: usize, temperature: f32) -> Result<Self, ContrastError> {
        Self::both_ways(pairs, dim, Excluded::ItselfAndPositive, temperature)
    }

    /// InfoNCE on `z = [z1; z2]`: rows of the first view look for theirs in the second.
    pub fn infonce(pairs: usize, dim: usize, temperature: f32) -> Result<Self, ContrastError> {
        let rows = 2 * pairs;
        let positives = (pairs..rows).collect();
        Self::new(
            (rows, dim),
            positives,
            pairs..rows,
            Excluded::Nothing,
            temperature,
        )
    }

    /// [`Self::infonce`] where the second view is a constant, as the keys of a momentum encoder are.
    pub fn infonce_of_constants(
        pairs: usize,
        dim: usize,
        temperature: f32,
    ) -> Result<Self, ContrastError> {
        Ok(Self {
            trained: pairs,
            ..Self::infonce(pairs, dim, temperature)?
        })
    }

    /// Momentum contrast on `z = [queries; their keys; queue]`, of `queries`, as many, and `queue` rows:
    /// a query looks for its own key among that and the queue. Keys and queue are constants.
    ///
    /// # Errors
    /// When there are no queries, columns or rows of the queue, or for a temperature as in
    /// [`Self::new`].
    pub fn moco(
        queries: usize,
        queue: usize,
        dim: usize,
        temperature: f32,
    ) -> Result<Self, ContrastError> {
        let rows = 2 * queries + queue;
        let groups = vec![Group {
            queries: 0..queries,
            keys: 2 * queries..rows,
        }];
        let positives = Positives::Beside((queries..2 * queries).collect());
        Self {
            trained: queries,
            ..Self::of((rows, dim), groups, positives, temperature)
        }
        .checked()
    }

    /// CLIP's symmetric loss on `z = [z1; z2]`: the mean of [`Self::infonce`] in both directions. Its
    /// scale is the temperature's reciprocal; see [`Self::backward_with_scale`].
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn clip(pairs: usize, dim: usize, temperature: f32) -> Result<Self, ContrastError> {
        let (first, second) = (0..pairs, pairs..2 * pairs);
        let group = |queries: &Range<usize>, keys: &Range<usize>| Group {
            queries: queries.clone(),
            keys: keys.clone(),
        };
        let groups = vec![group(&first, &second), group(&second, &first)];
        let positives = Positives::Keys(second.chain(first).collect());
        Self::of((2 * pairs, dim), groups, positives, temperature).checked()
    }

    /// Supervised contrastive learning with a class for every row: the positives of a row are all other
    /// rows of its class, and it looks at all rows but itself. Rows that are alone in their class do not
    /// count in the mean; without any that count the loss is 0.
    ///
    /// # Errors
    /// When there are fewer than two rows, no columns, or for a temperature as in [`Self::new`].
    pub fn supcon(classes: &[usize], dim: usize, temperature: f32) -> Result<Self, ContrastError> {
        let rows = classes.len();
        let groups = vec![Group {
            queries: 0..rows,
            keys: 0..rows,
        }];
        let classes = Classes::new(classes);
        // Single positives keep their accuracy when they are far ahead.
        let positives = match classes.partners() {
            Some(rows) => Positives::Keys(rows),
            None => Positives::Classes(classes),
        };
        Self {
            excluded: Excluded::Itself,
            ..Self::of((rows, dim), groups, positives, temperature)
        }
        .checked()
    }

    fn both_ways(
        pairs: usize,
        dim: usize,
        excluded: Excluded,
        temperature: f32,
    ) -> Result<Self, ContrastError> {
        let rows = 2 * pairs;
        let positives = (pairs..rows).chain(0..pairs).collect();
        Self::new((rows, dim), positives, 0..rows, excluded, temperature)
    }

    fn checked(self) -> Result<Self, ContrastError> {
        let fail = |why: String| Err(ContrastError(why));
        let (rows, queries) = (self.rows, self.queries());
        if queries == 0 || queries > rows || self.dim == 0 {
            let dim = self.dim;
            return fail(format!("{queries} queries in a matrix of {rows} × {dim}"));
        }
        if !(1e-4..=1e4).contains(&self.temperature) {
            let found = self.temperature;
            return fail(format!(
                "expected a temperature from 1e-4 to 1e4, found {found}"
            ));
        }
        for group in &self.groups {
            self.check_group(group)?;
        }
        Ok(self)
    }

    fn check_group(&self, Group { queries, keys }: &Group) -> Result<(), ContrastError> {
        let fail = |why: String| Err(ContrastError(why));
        if keys.is_empty() || keys.end > self.rows {
            return fail(format!("keys {keys:?} of {} rows", self.rows));
        }
        for query in queries.clone() {
            if let Some(positive) = self.positives.key(query)
                && !keys.contains(&positive)
            {
                return fail(format!("positive {positive} of query {query} is not a key"));
            }
            let first = keys.clone().take(3);
            if first.clone().all(|k| self.excludes(query, k)) {
                return fail(format!("no key is left for query {query}"));
            }
        }
        Ok(())
    }
}
