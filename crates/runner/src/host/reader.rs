//! A prompt on the host: blocks of rows under a mask.

use zoo::Observation;

use super::attention::{Scratch, with_scratch};
use super::store::{Head, Numbers, Store, with_heads};
use super::{Attend, Rows};
use crate::Result;
use crate::cache::{self, Entries, Room};
use crate::kernels::{Activations, CHUNK, Host, Isa, Number, exp};
use crate::observe::Recorder;
use crate::prefill::{BLOCK, CacheShape, Read};

/// Rows that a thread takes at a time.
const TILE: usize = 16;

/// Reads tokens in blocks with causal attention, filling a cache.
#[derive(Debug)]
pub(crate) struct Reader {
    shape: CacheShape,
    layers: Vec<Entries>,
    recorders: Vec<Recorder>,
    /// Queries that wait for keys that come after them, `(layers, tokens * query_width)`; no layers if none do.
    waiting: Vec<Vec<f32>>,
    start: usize,
}

/// Rows of a prompt, the first of which stands at `first`.
#[derive(Clone, Copy)]
struct Block<'a> {
    first: usize,
    cells: &'a [f32], // (rows, width): scaled queries, before whatever else there is of a row
    width: usize,
    seen: &'a [usize], // (rows,): entries that each of them sees
}

/// A recorder that wants columns, and the row of the prompt from which on it counts.
#[derive(Clone, Copy)]
struct Vote {
    recorder: usize,
    from: usize,
}

impl Reader {
    /// A reader for a cache of this shape, whoever provides the queries, keys and values.
    pub(crate) fn new(
        shape: CacheShape,
        numbers: Numbers,
        tokens: usize,
        observations: &[Observation],
    ) -> Result<Self> {
        let layer = |_| {
            let store = Store::new((shape.kv_heads, shape.head_dim), numbers);
            Entries::new(cache::Store::Host(store), shape.kv_heads)
        };
        let recorders = Recorder::all(observations, &shape, tokens);
        let wait = recorders.iter().any(Recorder::waits);
        let mut layers: Vec<Entries> = (0..shape.layers).map(layer).collect();
        let room = Room { slots: vec![tokens; shape.layers], filled: true };
        Entries::make_room(&mut layers, &room)?;
        Ok(Self {
            layers,
            waiting: vec![Vec::new(); if wait { shape.layers } else { 0 }],
            recorders,
            shape,
            start: 0,
        })
    }

    /// Goes on to the next block.
    pub(crate) fn advance(&mut self, rows: usize) {
        self.start += rows;
    }

    /// What was read and seen, once all of the prompt has been read.
    pub(crate) fn finish(mut self, host: &Host) -> Result<Read> {
        for layer in 0..self.waiting.len() {
            let q = std::mem::take(&mut self.waiting[layer]);
            for recorder in 0..self.recorders.len() {
                if self.recorders[recorder].waits() {
                    self.serve(host, layer, recorder, &q)?;
                }
            }
        }
        Ok(Read { layers: self.layers, recorders: self.recorders })
    }

    /// Serves a layer's queries that had to wait, block by block.
    fn serve(&mut self, host: &Host, layer: usize, recorder: usize, q: &[f32]) -> Result<()> {
        let query_width = self.shape.query_heads * self.shape.head_dim;
        for (block, cells) in q.chunks(BLOCK * query_width).enumerate() {
            let rows = block * BLOCK..block * BLOCK + cells.len() / query_width;
            let seen: Vec<usize> =
                rows.clone().map(|row| self.recorders[recorder].seen(row)).collect();
            let block = Block { first: rows.start, cells, width: query_width, seen: &seen };
            self.read(host, layer, block, None, &[Vote { recorder, from: 0 }])?;
        }
        Ok(())
    }

    /// Bytes that what is recorded takes.
    #[cfg(test)]
    pub(crate) fn recorded_bytes(&self) -> usize {
        let waiting: usize = self.waiting.iter().map(|q| size_of_val(&**q)).sum();
        self.recorders.iter().map(Recorder::bytes).sum::<usize>() + waiting
    }

    /// Attention of a block's rows, whose values go to `out` if anybody asks for them.
    fn read(
        &mut self,
        host: &Host,
        layer: usize,
        block: Block<'_>,
        out: Option<&mut Activations>,
        votes: &[Vote],
    ) -> Result<()> {
        let store = self.layers[layer].store().on_host()?;
        let (shape, values) = (&self.shape, out.is_some());
        let query_width = shape.query_heads * shape.head_dim;
        let tiles = block.seen.chunks(TILE).zip(block.cells.chunks(TILE * block.width)).enumerate();
        let mut columns = vec![vec![Vec::new(); votes.len()]; tiles.len()];
        let mut outs = out.into_iter().flat_map(Activations::rows_mut);
        let tasks = tiles.zip(&mut columns).map(|((tile, (seen, cells)), columns)| {
            let block = Block { first: block.first + tile * TILE, cells, seen, ..block };
            (block, outs.by_ref().take(TILE).collect::<Vec<_>>(), columns)
        });
        host.team.each(tasks, |(block, outs, columns)| {
            let votes = || votes.iter().map(|vote| vote.from.saturating_sub(block.first));
            with_scratch(|scratch| with_heads!(store, heads => {
                let mut found = std::mem::take(&mut scratch.out);
                found.resize(outs.len() * query_width, 0.0);
                for (head, it) in heads.iter().enumerate() {
                    let mut tile = Tile::new(shape, head, block);
                    tile.attend(host.isa, it, values, votes().any(|first| first < block.seen.len()), scratch);
                    tile.write(&mut found);
                    for (first, columns) in votes().zip(columns.iter_mut()) {
                        tile.add_columns(host.isa, first, columns);
                    }
                }
                for (out, found) in outs.into_iter().zip(found.chunks(query_width)) {
                    out.fill(host.isa, found);
                }
                scratch.out = found;
            }));
        });
        for columns in &columns {
            for (vote, columns) in votes.iter().zip(columns) {
                self.recorders[vote.recorder].add(layer, columns);
            }
        }
        Ok(())
    }
}

impl Attend for Reader {
    fn attend(
        &mut self,
        host: &Host,
        layer: usize,
        mut rows: Rows<'_>,
        out: &mut Activations,
    ) -> Result<()> {
        let (count, layout) = (rows.len(), rows.layout);
        host.team.each(rows.each(), |mut row| row.make_ready());
        let positions = self.start as u32..(self.start + count) as u32;
        let (slot, store) = self.layers[layer].extend(positions)?;
        with_heads!(store.on_host_mut()?, heads => {
            let all = heads.len();
            host.team.each(heads.iter_mut().enumerate(), |(head, it)| {
                it.write(slot, (0..count).map(|row| layout.entry(rows.row(row), head, all)));
            });
        });
        let seen: Vec<usize> = (self.start + 1..=self.start + count).collect();
        let votes: Vec<Vote> = (0..self.recorders.len())
            .filter(|&recorder| !self.recorders[recorder].waits())
            .map(|recorder| Vote { recorder, from: self.recorders[recorder].first_vote() })
            .collect();
        let block =
            Block { first: self.start, cells: rows.cells, width: layout.width(), seen: &seen };
        self.read(host, layer, block, Some(out), &votes)?;
        if let Some(waiting) = self.waiting.get_mut(layer) {
            for row in 0..count {
                waiting.extend_from_slice(&rows.row(row)[..layout.query_width]);
            }
        }
        Ok(())
    }
}

/// One head's queries of a few rows, and what they have found: row after row, and in each the queries of the group.
struct Tile<'a> {
    head: usize,
    group: usize,
    head_dim: usize,
    query_heads: usize,
    rows: Vec<&'a [f32]>,
    seen: Vec<usize>,
    totals: Vec<f32>,  // (queries, 2 + width)
    weights: Vec<f32>, // (chunks, queries, CHUNK), relative to `largest`; none if nobody asks for columns
    largest: Vec<f32>, // (chunks, queries)
}

impl<'a> Tile<'a> {
    fn new(shape: &CacheShape, head: usize, block: Block<'a>) -> Self {
        let CacheShape { query_heads, kv_heads, head_dim, .. } = *shape;
        let group = query_heads / kv_heads;
        let of_head = |row: &'a [f32]| row[head * group * head_dim..].chunks(head_dim).take(group);
        Self {
            head,
            group,
            head_dim,
            query_heads,
            rows: block.cells.chunks(block.width).flat_map(of_head).collect(),
            seen: block.seen.iter().flat_map(|&seen| std::iter::repeat_n(seen, group)).collect(),
            totals: Vec::new(),
            weights: Vec::new(),
            largest: Vec::new(),
        }
    }

    fn entries(&self) -> usize {
        self.seen.iter().copied().max().unwrap_or(0)
    }

    /// Goes over the head's entries, chunk by chunk.
    fn attend<T: Number>(
        &mut self,
        isa: Isa,
        entries: &Head<T>,
        values: bool,
        keep_weights: bool,
        scratch: &mut Scratch,
    ) {
        let stride = entries.partial();
        let mut found = vec![0.0; self.rows.len() * stride];
        for chunk in 0..self.entries().div_ceil(CHUNK) {
            entries.weigh_chunk(isa, chunk, (&self.rows, &self.seen), scratch, &mut found);
            if values {
                entries.add_values(isa, chunk, &self.seen, scratch, &mut found);
            }
            if keep_weights {
                self.weights.extend_from_slice(scratch.weights[..self.rows.len()].as_flattened());
                self.largest.extend(found.iter().step_by(stride));
            }
            if chunk == 0 {
                self.totals.clone_from(&found);
            } else {
                let totals = self.totals.chunks_mut(stride).zip(found.chunks(stride));
                totals.for_each(|(total, found)| isa.merge(total, found));
            }
        }
    }

    fn stride(&self) -> usize {
        self.totals.len() / self.rows.len()
    }

    /// # Shapes
    /// - `out`: `(rows, query_heads * head_dim)`, of which this head's are replaced
    fn write(&self, out: &mut [f32]) {
        let rows = out.chunks_mut(self.query_heads * self.head_dim);
        for (row, totals) in rows.zip(self.totals.chunks(self.group * self.stride())) {
            let outs = row[self.head * self.group * self.head_dim..].chunks_mut(self.head_dim);
            for (out, total) in outs.zip(totals.chunks(self.stride())) {
                for (out, value) in out.iter_mut().zip(&total[2..]) {
                    *out = value / total[1];
                }
            }
        }
    }

    /// Adds up what each entry got, from row `first` on.
    ///
    /// # Shapes
    /// - `columns`: `(query_heads, entries)`, or nothing yet
    fn add_columns(&self, isa: Isa, first: usize, columns: &mut Vec<f32>) {
        let entries = self.entries();
        if first * self.group >= self.rows.len() {
            return;
        }
        columns.resize(self.query_heads * entries, 0.0);
        let totals = self.totals.chunks(self.stride());
        for (query, total) in totals.enumerate().skip(first * self.group) {
            let row = self.head * self.group + query % self.group;
            let columns = &mut columns[row * entries..][..entries];
            for (chunk, columns) in columns.chunks_mut(CHUNK).enumerate() {
                let place = chunk * self.rows.len() + query;
                let factor = exp(self.largest[place] - total[0]) / total[1];
                isa.add_scaled(columns, &self.weights[place * CHUNK..], factor);
            }
        }
    }
}
