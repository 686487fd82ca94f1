//! Lanes on the host: a row each.

use std::ops::Range;
use std::sync::Arc;

use super::attention::{partial, with_scratch};
use super::store::{width, with_heads};
use super::{Attend, Layout, Rows};
use crate::Result;
use crate::cache::Entries;
use crate::engine::by_pool;
use crate::kernels::{Activations, CHUNK, Host, Isa, KEYS, ask_to_write, cut, exp};
use crate::lane::Lane;
use crate::prefill::Pool;

/// Lanes whose queries go over shared entries together: their scores stay in the nearest caches.
const SIDE_BY_SIDE: usize = 16;

/// One row per lane.
#[derive(Debug)]
#[allow(clippy::struct_field_names, reason = "what it is made of")]
pub(crate) struct Lanes<'a> {
    lanes: &'a mut [Lane],
    crews: Vec<Crew>,
    plan: Plan,
    // Buffers, kept from layer to layer.
    partials: Vec<f32>, // (places of the plan, 2 + width)
    weights: Vec<f32>,  // (places of the plan, CHUNK), of those groups that keep them
}

/// Lanes that share entries and go over them together.
#[derive(Debug)]
struct Crew {
    pool: Arc<Pool>,
    lanes: Vec<usize>,
}

/// What is to be done in a layer, and where its results will lie.
#[derive(Debug, Default)]
struct Plan {
    /// Head after head, of each crew and then of each lane.
    groups: Vec<Group>,
    queries: Vec<(usize, usize)>, // (queries,): each one's lane and query head
    seen: Vec<usize>,             // (queries,): entries that each of them sees
    results: Vec<Places>,
    partials: usize,
    weights: usize,
}

/// Queries that go over one head's entries, chunk by chunk: those of several lanes where the entries are shared.
#[derive(Debug, Clone)]
struct Group {
    of: Of,
    head: usize,
    slots: usize,
    /// Its queries among the plan's.
    queries: Range<usize>,
    /// Its first place among the partial results, of which it has one for each chunk and query.
    partials: usize,
    /// The same of its weights, if a policy wants to see them.
    weights: Option<usize>,
}

/// Whose entries.
#[derive(Debug, Clone, Copy)]
enum Of {
    Crew(usize),
    Lane(usize),
}

/// A lane's groups: the first of its crew's, with the lane's place in it, and the first of its own.
#[derive(Debug, Clone, Copy, Default)]
struct Places {
    shared: Option<(usize, usize)>,
    own: usize,
}

impl<'a> Lanes<'a> {
    pub(crate) fn new(lanes: &'a mut [Lane]) -> Self {
        let mut crews = Vec::new();
        for (pool, members) in by_pool(lanes) {
            let Some(pool) = pool else { continue };
            let crew = |lanes: &[usize]| Crew { pool: Arc::clone(pool), lanes: lanes.to_vec() };
            crews.extend(members.chunks(SIDE_BY_SIDE).map(crew));
        }
        let (plan, buffer) = (Plan::default(), Vec::new);
        Self { lanes, crews, plan, partials: buffer(), weights: buffer() }
    }
}

impl Attend for Lanes<'_> {
    fn attend(
        &mut self,
        host: &Host,
        layer: usize,
        mut rows: Rows<'_>,
        out: &mut Activations,
    ) -> Result<()> {
        let Self { lanes, crews, plan, partials, weights } = self;
        let Layout { query_width, head_dim, .. } = rows.layout;
        host.team.try_each(lanes.iter_mut().zip(rows.each()), |(lane, mut row)| {
            row.make_ready();
            let heads = lane.own(layer).heads();
            lane.push(layer, |slots, store| {
                store.on_host_mut()?.write(slots, |head| row.entry(head, heads));
                Ok(())
            })
        })?;

        plan.fill(lanes, crews, layer, query_width / head_dim);
        let stride = partial(width(head_dim));
        partials.resize(partials.len().max(plan.partials * stride), 0.0);
        weights.resize(weights.len().max(plan.weights * CHUNK), 0.0);
        let (mut rest, mut rest_of_weights) = (partials.as_mut_slice(), weights.as_mut_slice());
        let tasks = plan.tasks().map(|(group, chunk)| {
            let count = group.queries.len();
            let kept = if group.weights.is_some() { count * CHUNK } else { 0 };
            (group, chunk, cut(&mut rest, count * stride), cut(&mut rest_of_weights, kept))
        });
        let queries = plan.queries.iter().map(|&(lane, query_head)| rows.query(lane, query_head));
        let queries: Vec<&[f32]> = queries.collect();
        host.team.try_each(tasks, |(group, chunk, partials, weights)| {
            let entries = match group.of {
                Of::Crew(crew) => &crews[crew].pool.layers[layer],
                Of::Lane(lane) => lanes[lane].own(layer),
            };
            let (queries, seen) =
                (&queries[group.queries.clone()], &plan.seen[group.queries.clone()]);
            group.run(host.isa, entries, chunk, (queries, seen), partials, weights)
        })?;

        let finishing = lanes.iter_mut().zip(&plan.results).zip(out.rows_mut());
        host.team.try_each(finishing, |((lane, places), row)| {
            let merge = Merge { plan, places, partials, weights, head_dim };
            let (heads, slots) = (lane.own(layer).heads(), lane.own(layer).slots());
            let totals = with_scratch(|scratch| {
                scratch.out.resize(query_width, 0.0);
                let totals = merge.totals(host.isa, heads, &mut scratch.out);
                row.fill(host.isa, &scratch.out);
                totals
            });
            lane.evict(layer, || Ok(merge.probabilities(&totals, heads, slots)))
        })
    }
}

impl Plan {
    /// Makes it that of a layer, into which each lane has taken an entry.
    fn fill(&mut self, lanes: &[Lane], crews: &[Crew], layer: usize, query_heads: usize) {
        self.groups.clear();
        self.queries.clear();
        self.seen.clear();
        self.results.clear();
        self.results.resize(lanes.len(), Places::default());
        (self.partials, self.weights) = (0, 0);
        for (index, crew) in crews.iter().enumerate() {
            for (place, &lane) in crew.lanes.iter().enumerate() {
                self.results[lane].shared = Some((self.groups.len(), place));
            }
            let entries = &crew.pool.layers[layer];
            let shape = (entries.heads(), query_heads);
            self.add(Of::Crew(index), shape, entries.slots(), &crew.lanes, false);
        }
        for (row, lane) in lanes.iter().enumerate() {
            self.results[row].own = self.groups.len();
            let own = lane.own(layer);
            let shape = (own.heads(), query_heads);
            self.add(Of::Lane(row), shape, own.slots(), &[row], lane.observes(layer));
        }
    }

    /// Groups of the heads of some entries.
    fn add(
        &mut self,
        of: Of,
        (heads, query_heads): (usize, usize),
        slots: usize,
        lanes: &[usize],
        keeps_weights: bool,
    ) {
        let group = query_heads / heads;
        for head in 0..heads {
            let first = self.queries.len();
            for lane in lanes {
                let query_heads = head * group..(head + 1) * group;
                self.queries.extend(query_heads.map(|query_head| (*lane, query_head)));
            }
            self.seen.resize(self.queries.len(), slots);
            let queries = first..self.queries.len();
            let places = slots.div_ceil(CHUNK) * queries.len();
            let weights = keeps_weights.then_some(self.weights);
            let partials = self.partials;
            self.groups.push(Group { of, head, slots, queries, partials, weights });
            self.partials += places;
            self.weights += if keeps_weights { places } else { 0 };
        }
    }

    /// Groups and their chunks, in the order in which results lie.
    fn tasks(&self) -> impl Iterator<Item = (&Group, usize)> {
        self.groups
            .iter()
            .flat_map(|group| (0..group.slots.div_ceil(CHUNK)).map(move |chunk| (group, chunk)))
    }
}

impl Group {
    /// Goes over a chunk.
    ///
    /// # Shapes
    /// - `partials`: `(queries, 2 + width)`, replaced
    /// - `weights`: `(queries, CHUNK)`, or none
    fn run(
        &self,
        isa: Isa,
        entries: &Entries,
        chunk: usize,
        (queries, seen): (&[&[f32]], &[usize]),
        partials: &mut [f32],
        weights: &mut [f32],
    ) -> Result<()> {
        let store = entries.store().on_host()?;
        // Whoever went over another layer's chunk, or merged it, had them last.
        ask_to_write(partials);
        with_scratch(|scratch| {
            with_heads!(store, heads => {
                let head = &heads[self.head];
                head.weigh_chunk(isa, chunk, (queries, seen), scratch, partials);
                head.add_values(isa, chunk, seen, scratch, partials);
            });
            weights.copy_from_slice(&scratch.weights.as_flattened()[..weights.len()]);
        });
        Ok(())
    }

    /// Where among the partial results, or the weights, that begin at `first`, one of the queries' stand, chunk by chunk.
    fn places(&self, first: usize, query: usize) -> impl Iterator<Item = usize> {
        let queries = self.queries.len();
        (0..self.slots.div_ceil(CHUNK)).map(move |chunk| first + chunk * queries + query)
    }
}

/// What a lane's queries have found, in parts.
struct Merge<'a> {
    plan: &'a Plan,
    places: &'a Places,
    partials: &'a [f32],
    weights: &'a [f32],
    head_dim: usize,
}

impl Merge<'_> {
    /// Merges the parts, and returns each query's largest score and sum of weights.
    ///
    /// # Shapes
    /// - `out`: `(query_heads * head_dim,)`
    fn totals(&self, isa: Isa, heads: usize, out: &mut [f32]) -> Vec<[f32; 2]> {
        let group = out.len() / self.head_dim / heads;
        let (mut total, mut factors) = (Vec::new(), Vec::new());
        let outs = out.chunks_mut(self.head_dim).enumerate();
        let merged = outs.map(|(query, out)| {
            let parts = || self.parts(query / group, query % group);
            let mut divide = |values: &[f32], sum: f32| {
                for (out, value) in out.iter_mut().zip(values) {
                    *out = value / sum;
                }
            };
            let mut first = parts();
            if let (Some([largest, sum, values @ ..]), None) = (first.next(), first.next()) {
                // As if merged: it would weigh exactly one.
                divide(values, *sum);
                return [*largest, *sum];
            }
            factors.clear();
            factors.extend(parts().map(|part| part[0]));
            let count = factors.len();
            factors.resize(count.next_multiple_of(KEYS), 0.0);
            let [largest, _] = isa.soften(&mut factors, count);
            total.clear();
            total.resize(1 + width(self.head_dim), 0.0);
            for (part, factor) in parts().zip(&factors) {
                isa.add_scaled(&mut total, &part[1..], *factor);
            }
            divide(&total[1..], total[0]);
            [largest, total[0]]
        });
        merged.collect()
    }

    /// What each query gave to each of the lane's own entries, `(query_heads, own)`.
    fn probabilities(&self, totals: &[[f32; 2]], heads: usize, slots: usize) -> Vec<f32> {
        let group = totals.len() / heads;
        let mut found = vec![0.0; totals.len() * slots];
        for (query, (totals, found)) in totals.iter().zip(found.chunks_mut(slots)).enumerate() {
            let [largest, sum] = totals;
            let it = &self.plan.groups[self.places.own + query / group];
            let Some(weights) = it.weights else { continue };
            let places =
                it.places(it.partials, query % group).zip(it.places(weights, query % group));
            for ((partial, weights), found) in places.zip(found.chunks_mut(CHUNK)) {
                let factor = exp(self.partial(partial)[0] - largest) / sum;
                for (found, weight) in found.iter_mut().zip(&self.weights[weights * CHUNK..]) {
                    *found = weight * factor;
                }
            }
        }
        found
    }

    /// What one of a head's queries has found in each chunk, shared ones first, `(2 + width,)` each.
    fn parts(&self, head: usize, query: usize) -> impl Iterator<Item = &[f32]> {
        let own = &self.plan.groups[self.places.own + head];
        // A lane has as many queries on a shared head as on its own.
        let shared = self.places.shared.map(|(first, place)| {
            (&self.plan.groups[first + head], place * own.queries.len() + query)
        });
        let groups = shared.into_iter().chain([(own, query)]);
        let places = groups.flat_map(|(group, query)| group.places(group.partials, query));
        places.map(|place| self.partial(place))
    }

    fn partial(&self, place: usize) -> &[f32] {
        let stride = partial(width(self.head_dim));
        &self.partials[place * stride..][..stride]
    }
}
