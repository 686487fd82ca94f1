//! Lanes on the host: a row each.

use std::ops::Range;

use super::attention::{CHUNK, Queries, partial, with_scratch};
use super::store::{width, with_heads};
use super::{Attend, Rows, cut};
use crate::Result;
use crate::cache::Entries;
use crate::engine::by_pool;
use crate::kernels::{Host, Isa, exp};
use crate::lane::Lane;

/// Lanes whose queries go over shared entries together: their scores stay in the nearest caches.
const SIDE_BY_SIDE: usize = 16;

/// One row per lane.
pub(crate) struct Lanes<'a>(pub(crate) &'a mut [Lane]);

/// Queries that go over one head's entries, chunk by chunk: those of several lanes where the entries are shared.
struct Group<'a> {
    entries: &'a Entries,
    head: usize,
    /// Its queries among all.
    queries: Range<usize>,
    /// Whether a policy wants to see the weights.
    keeps_weights: bool,
}

/// A lane's part in a group, and so in its results.
#[derive(Debug, Clone, Copy)]
struct Part {
    head: usize,
    /// Whether the entries are the lane's own.
    own: bool,
    chunks: usize,
    /// Where its `(group, 2 + width)` numbers of the first chunk begin, and how far on those of the next do.
    partials: (usize, usize),
    /// The same of its `(group, CHUNK)` weights, if they are kept.
    weights: (usize, usize),
}

/// All that is to be done, and where its results will lie.
#[derive(Default)]
struct Plan<'a> {
    groups: Vec<Group<'a>>,
    queries: Vec<&'a [f32]>,
    seen: Vec<usize>,      // (queries,): entries that each of them sees
    parts: Vec<Vec<Part>>, // (lanes, ..): of each head, in the order in which they are merged
    partials: usize,
    weights: usize,
}

impl Attend for Lanes<'_> {
    fn attend(&mut self, host: &Host, layer: usize, rows: Rows<'_>, out: &mut [f32]) -> Result<()> {
        let (head_dim, query_width) = (rows.head_dim, rows.query_width());
        let mut q = vec![0.0; out.len()];
        let taking = self.0.iter_mut().zip(q.chunks_mut(query_width)).enumerate();
        host.team.try_each(taking, |(row, (lane, q))| {
            rows.scaled_queries(row, q);
            let heads = lane.own(layer).heads();
            lane.push(layer, |slots, store| {
                store.on_host_mut()?.write(slots, |head| rows.entry(row, head, heads));
                Ok(())
            })
        })?;
        let plan = Plan::new(self.0, layer, (&q, query_width, head_dim));
        let (mut partials, mut weights) = (vec![0.0; plan.partials], vec![0.0; plan.weights]);
        let (mut rest, mut rest_of_weights) = (&mut *partials, &mut *weights);
        let tasks = plan
            .groups
            .iter()
            .flat_map(|group| (0..group.chunks()).map(move |chunk| (group, chunk)));
        let tasks = tasks.map(|(group, chunk)| {
            let partials = cut(&mut rest, group.partials(head_dim));
            (group, chunk, partials, cut(&mut rest_of_weights, group.weights()))
        });
        host.team.try_each(tasks, |(group, chunk, partials, weights)| {
            let rows = &plan.queries[group.queries.clone()];
            let queries = Queries { rows, seen: &plan.seen[group.queries.clone()] };
            group.run(host.isa, chunk, queries, partials, weights)
        })?;
        let Plan { parts, .. } = plan;
        let finishing = self.0.iter_mut().zip(&parts).zip(out.chunks_mut(query_width));
        host.team.try_each(finishing, |((lane, parts), out)| {
            let heads = lane.own(layer).heads();
            let result = LaneResult { parts, partials: &partials, weights: &weights, head_dim };
            let totals = result.totals(host.isa, heads, out);
            let own = lane.own(layer).slots();
            lane.evict(layer, || Ok(result.probabilities(&totals, heads, own)))
        })
    }
}

impl<'a> Plan<'a> {
    /// # Shapes
    /// - `q`: `(lanes, query_width)`, scaled
    fn new(
        lanes: &'a [Lane],
        layer: usize,
        (q, query_width, head_dim): (&'a [f32], usize, usize),
    ) -> Self {
        let mut plan = Self { parts: vec![Vec::new(); lanes.len()], ..Self::default() };
        let queries = |lane: usize, head: usize, heads: usize| {
            let group = query_width / heads;
            q[lane * query_width..][head * group..(head + 1) * group].chunks(head_dim)
        };
        for (pool, members) in by_pool(lanes) {
            let Some(entries) = pool.map(|pool| &pool.layers[layer]) else { continue };
            for members in members.chunks(SIDE_BY_SIDE) {
                for head in 0..entries.heads() {
                    let rows =
                        members.iter().flat_map(|&lane| queries(lane, head, entries.heads()));
                    plan.add((entries, head), rows, members, None, head_dim);
                }
            }
        }
        for (lane, it) in lanes.iter().enumerate() {
            let entries = it.own(layer);
            for head in 0..entries.heads() {
                let rows = queries(lane, head, entries.heads());
                plan.add((entries, head), rows, &[lane], Some(it.observes()), head_dim);
            }
        }
        plan
    }

    /// A group, and each of its lanes' part in it. `own` says whether the entries are a lane's own, and if so whether weights are kept.
    fn add(
        &mut self,
        (entries, head): (&'a Entries, usize),
        queries: impl Iterator<Item = &'a [f32]>,
        lanes: &[usize],
        own: Option<bool>,
        head_dim: usize,
    ) {
        let first = self.queries.len();
        self.queries.extend(queries);
        self.seen.resize(self.queries.len(), entries.slots());
        let queries = first..self.queries.len();
        let group = Group { entries, head, queries, keeps_weights: own == Some(true) };
        let (chunks, numbers, weights) =
            (group.chunks(), group.partials(head_dim), group.weights());
        for (place, &lane) in lanes.iter().enumerate() {
            self.parts[lane].push(Part {
                head,
                own: own.is_some(),
                chunks,
                partials: (self.partials + place * numbers / lanes.len(), numbers),
                weights: (self.weights, weights),
            });
        }
        self.partials += chunks * numbers;
        self.weights += chunks * weights;
        self.groups.push(group);
    }
}

impl Group<'_> {
    fn chunks(&self) -> usize {
        self.entries.slots().div_ceil(CHUNK)
    }

    /// Numbers that its queries will have of a chunk.
    fn partials(&self, head_dim: usize) -> usize {
        self.queries.len() * partial(width(head_dim))
    }

    /// Weights of a chunk that are kept.
    fn weights(&self) -> usize {
        if self.keeps_weights { self.queries.len() * CHUNK } else { 0 }
    }

    /// Goes over a chunk.
    ///
    /// # Shapes
    /// - `partials`: `(queries, 2 + width)`, replaced
    /// - `weights`: `(queries, CHUNK)`, or none
    fn run(
        &self,
        isa: Isa,
        chunk: usize,
        queries: Queries<'_>,
        partials: &mut [f32],
        weights: &mut [f32],
    ) -> Result<()> {
        let store = self.entries.store().on_host()?;
        with_scratch(|scratch| {
            with_heads!(store, heads => {
                let head = &heads[self.head];
                head.weigh_chunk(isa, chunk, queries, scratch, partials);
                head.add_values(isa, chunk, queries, scratch, partials);
            });
            weights.copy_from_slice(&scratch.weights[..weights.len()]);
        });
        Ok(())
    }
}

/// What a lane's queries have found, in parts.
struct LaneResult<'a> {
    parts: &'a [Part],
    partials: &'a [f32],
    weights: &'a [f32],
    head_dim: usize,
}

impl LaneResult<'_> {
    /// Merges the parts, and returns each query's largest score and sum of weights.
    ///
    /// # Shapes
    /// - `out`: `(query_heads * head_dim,)`
    fn totals(&self, isa: Isa, heads: usize, out: &mut [f32]) -> Vec<[f32; 2]> {
        let group = out.len() / self.head_dim / heads;
        let mut total = vec![0.0; 1 + width(self.head_dim)];
        let outs = out.chunks_mut(self.head_dim).enumerate();
        let merged = outs.map(|(query, out)| {
            let parts = || {
                let of_part = |part| self.chunks(part, query % group);
                self.of_head(query / group).flat_map(of_part)
            };
            let largest = parts().map(|part| part[0]).fold(f32::MIN, f32::max);
            total.fill(0.0);
            parts().for_each(|part| {
                isa.add_scaled(&mut total, &part[1..], exp(part[0] - largest));
            });
            for (out, value) in out.iter_mut().zip(&total[1..]) {
                *out = value / total[0];
            }
            [largest, total[0]]
        });
        merged.collect()
    }

    /// What each query gave to each of the lane's own entries, `(query_heads, own)`.
    fn probabilities(&self, totals: &[[f32; 2]], heads: usize, own: usize) -> Vec<f32> {
        let group = totals.len() / heads;
        let mut found = vec![0.0; totals.len() * own];
        for (query, ([largest, sum], found)) in totals.iter().zip(found.chunks_mut(own)).enumerate()
        {
            for part in self.of_head(query / group).filter(|part| part.own) {
                let chunks = self.chunks(part, query % group).zip(found.chunks_mut(CHUNK));
                for (chunk, (partial, found)) in chunks.enumerate() {
                    let factor = exp(partial[0] - largest) / sum;
                    let (first, step) = part.weights;
                    let weights = &self.weights[first + chunk * step + query % group * CHUNK..];
                    for (found, weight) in found.iter_mut().zip(weights) {
                        *found = weight * factor;
                    }
                }
            }
        }
        found
    }

    /// What one of the group's queries has found in each chunk of a part, `(2 + width,)` each.
    fn chunks(&self, part: &Part, query: usize) -> impl Iterator<Item = &[f32]> {
        let stride = partial(width(self.head_dim));
        let (first, step) = part.partials;
        let of_chunk =
            move |chunk| &self.partials[first + chunk * step + query * stride..][..stride];
        (0..part.chunks).map(of_chunk)
    }

    fn of_head(&self, head: usize) -> impl Iterator<Item = &Part> {
        self.parts.iter().filter(move |part| part.head == head)
    }
}
