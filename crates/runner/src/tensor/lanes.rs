//! Lanes in tensors: a row each.

use candle_core::Tensor;

use super::Attend;
use super::attention::{Kv, copied, grouped, step};
use crate::Result;
use crate::engine::by_pool;
use crate::lane::Lane;

/// One row per lane.
pub(crate) struct Lanes<'a>(pub(crate) &'a mut [Lane]);

impl Attend for Lanes<'_> {
    fn attend(&mut self, layer: usize, q: &Tensor, k: &Tensor, v: &Tensor) -> Result<Tensor> {
        let mut queries = Vec::with_capacity(self.0.len());
        for (row, lane) in self.0.iter_mut().enumerate() {
            let heads = lane.own(layer).heads();
            let k = copied(&k.narrow(0, row, 1)?, heads)?;
            let v = copied(&v.narrow(0, row, 1)?, heads)?;
            lane.push(layer, |slots, store| store.in_tensors_mut()?.write(slots, &k, &v))?;
            queries.push(grouped(&q.narrow(0, row, 1)?, heads)?); // (heads, group, head_dim)
        }
        let mut results: Vec<Option<(Tensor, Tensor)>> = vec![None; self.0.len()];
        for (pool, rows) in by_pool(self.0) {
            let shared = pool.map(|pool| Kv::of(&pool.layers[layer])).transpose()?;
            let own = rows.iter().map(|&row| Kv::of(self.0[row].own(layer)));
            let own: Vec<Kv> = own.collect::<Result<_>>()?;
            let q: Vec<Tensor> = rows.iter().map(|&row| queries[row].clone()).collect();
            for (row, result) in rows.into_iter().zip(step(&q, shared, &own)?) {
                results[row] = Some(result);
            }
        }
        let mut outputs = Vec::with_capacity(self.0.len());
        for (lane, (out, probabilities)) in self.0.iter_mut().zip(results.into_iter().flatten()) {
            let own = lane.own(layer).slots();
            lane.evict(layer, || {
                let of_own = probabilities.narrow(2, probabilities.dim(2)? - own, own)?;
                Ok(of_own.flatten_all()?.to_vec1()?)
            })?;
            outputs.push(out.reshape((1, out.elem_count()))?);
        }
        Ok(Tensor::cat(&outputs, 0)?)
    }
}
