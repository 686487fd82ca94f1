//! The Llama decoder on the host, top to bottom.

use candle_core::Tensor;

use super::{Attend, Finish, Numbers, Rows};
use crate::kernels::{Activations, Host, Norm, Packed, Shelf, Then, gated, products};
use crate::llama::{EMBEDDING, Wanted, layer_tensor};
use crate::rope::{Rotation, frequencies};
use crate::weights::Tensors;
use crate::{Config, Error, Result, Weights};

/// A decoder with its weights, on the host.
#[derive(Debug)]
pub(crate) struct Decoder {
    config: Config,
    numbers: Numbers,
    embedding: Packed, // (vocabulary, hidden)
    layers: Vec<Layer>,
    norm: Norm,
    head: Option<Packed>, // (vocabulary, hidden); the embedding's, if tied
    frequencies: Vec<f32>,
    host: Host,
}

#[derive(Debug)]
struct Layer {
    attention_norm: Norm,
    q: Packed,
    k: Packed,
    v: Packed,
    qkv_bias: Option<Vec<f32>>,
    output: Packed,
    output_bias: Option<Vec<f32>>,
    mlp_norm: Norm,
    gate: Packed,
    up: Packed,
    down: Packed,
}

impl Decoder {
    /// Logits after the wanted ones of some tokens at some positions.
    ///
    /// # Shapes
    /// - `tokens`, `positions`: `(rows,)`
    /// - `logits`: `(rows wanted, vocabulary)`, replaced
    pub(crate) fn forward(
        &self,
        tokens: &[u32],
        positions: &[u32],
        wanted: Wanted,
        attend: &mut impl Attend,
        logits: &mut Vec<f32>,
    ) -> Result<()> {
        let Config { hidden, query_heads, kv_heads, head_dim, .. } = self.config;
        let (host, rows) = (&self.host, tokens.len());
        let rotation = Rotation::of(&self.frequencies, positions);
        let (heads, query_width) = ((query_heads, kv_heads, head_dim), query_heads * head_dim);
        let mut x = self.embed(tokens); // (rows, hidden)
        let mut qkv = vec![0.0; rows * (query_heads + 2 * kv_heads) * head_dim];
        for (index, layer) in self.layers.iter().enumerate() {
            let matrices = [&layer.q, &layer.k, &layer.v];
            let normed = Activations::normed(host, &x, &layer.attention_norm, &matrices);
            products(host, &matrices, &normed, (&mut qkv, Then::Replace));
            let finish = Finish { bias: layer.qkv_bias.as_deref(), rotation: &rotation };
            let mut attended = Activations::blank(rows, query_width, &[&layer.output]);
            attend.attend(host, index, Rows::new(&mut qkv, heads, Some(finish)), &mut attended)?;
            products(host, &[&layer.output], &attended, (&mut x, Then::Add));
            x.chunks_mut(hidden).for_each(|x| add_bias(x, layer.output_bias.as_deref()));
            let matrices = [&layer.gate, &layer.up];
            let normed = Activations::normed(host, &x, &layer.mlp_norm, &matrices);
            let inner = gated(host, matrices, &normed, &layer.down);
            products(host, &[&layer.down], &inner, (&mut x, Then::Add));
        }
        match wanted {
            Wanted::None => logits.clear(),
            Wanted::Last => self.logits(&x[(rows - 1) * hidden..], logits),
            Wanted::All => self.logits(&x, logits),
        }
        Ok(())
    }

    /// # Shapes
    /// - returns `(rows, hidden)`
    fn embed(&self, tokens: &[u32]) -> Vec<f32> {
        let mut x = vec![0.0; tokens.len() * self.config.hidden];
        for (token, x) in tokens.iter().zip(x.chunks_mut(self.config.hidden)) {
            self.embedding.row(*token as usize, x);
        }
        x
    }

    /// # Shapes
    /// - `x`: `(rows, hidden)`
    /// - `logits`: `(rows, vocabulary)`, replaced
    fn logits(&self, x: &[f32], logits: &mut Vec<f32>) {
        let head = self.head.as_ref().unwrap_or(&self.embedding);
        let normed = Activations::normed(&self.host, x, &self.norm, &[head]);
        logits.resize(x.len() / self.config.hidden * head.outputs(), 0.0);
        products(&self.host, &[head], &normed, (logits, Then::Replace));
    }

    /// What a cache's numbers are held in: halves where weights are quantised, else floats.
    pub(crate) fn numbers(&self) -> Numbers {
        self.numbers
    }

    /// What computes.
    pub(crate) fn host(&self) -> &Host {
        &self.host
    }

    /// Reads the weights.
    pub(crate) fn new(config: &Config, tensors: &mut Tensors, weights: Weights) -> Result<Self> {
        let host = Host::new(rayon::current_num_threads());
        let shelves = (0..host.team.threads()).map(|_| Shelf::default()).collect();
        let mut reader = Reader { tensors, weights, shelves, epsilon: config.norm_epsilon };
        let layers = (0..config.layers).map(|index| Layer::new(config, index, &mut reader));
        let layers: Vec<Layer> = layers.collect::<Result<_>>()?;
        let quantised = layers.iter().any(Layer::is_quantised);
        Ok(Self {
            numbers: if quantised { Numbers::F16 } else { Numbers::F32 },
            layers,
            embedding: reader.matrix(EMBEDDING)?,
            norm: reader.norm("model.norm.weight")?,
            head: if config.tied { None } else { Some(reader.matrix("lm_head.weight")?) },
            frequencies: frequencies(config, tensors.rope_divisors()?.as_deref()),
            host,
            config: config.clone(),
        })
    }
}

impl Layer {
    /// Whether any of its matrices is.
    fn is_quantised(&self) -> bool {
        let Self { q, k, v, output, gate, up, down, .. } = self;
        [q, k, v, output, gate, up, down].into_iter().any(Packed::is_quantised)
    }

    fn new(config: &Config, index: usize, reader: &mut Reader) -> Result<Self> {
        let name = |part: &str| layer_tensor(index, part);
        let mut qkv_bias = None;
        if config.qkv_bias {
            let mut all = Vec::new();
            for part in ["q", "k", "v"] {
                all.extend(reader.vector(&name(&format!("self_attn.{part}_proj.bias")))?);
            }
            qkv_bias = Some(all);
        }
        let output_bias = if config.output_bias {
            Some(reader.vector(&name("self_attn.o_proj.bias"))?)
        } else {
            None
        };
        Ok(Self {
            attention_norm: reader.norm(&name("input_layernorm.weight"))?,
            q: reader.matrix(&name("self_attn.q_proj.weight"))?,
            k: reader.matrix(&name("self_attn.k_proj.weight"))?,
            v: reader.matrix(&name("self_attn.v_proj.weight"))?,
            qkv_bias,
            output: reader.matrix(&name("self_attn.o_proj.weight"))?,
            output_bias,
            mlp_norm: reader.norm(&name("post_attention_layernorm.weight"))?,
            gate: reader.matrix(&name("mlp.gate_proj.weight"))?,
            up: reader.matrix(&name("mlp.up_proj.weight"))?,
            down: reader.matrix(&name("mlp.down_proj.weight"))?,
        })
    }
}

/// Makes matrices and vectors of a file's tensors.
struct Reader<'a, 'b> {
    tensors: &'a mut Tensors<'b>,
    weights: Weights,
    /// Where the threads' parts of all matrices stand, in the order in which they are used.
    shelves: Vec<Shelf>,
    epsilon: f32,
}

impl Reader<'_, '_> {
    /// A tensor, `(outputs, inputs)`, in the form that was asked for.
    fn matrix(&mut self, name: &str) -> Result<Packed> {
        let stored = match self.weights {
            Weights::F32 => None,
            Weights::Q8_0 => Some(self.tensors.in_8_bits(name)?),
            Weights::Native => self.tensors.stored(name)?,
        };
        let packed = if let Some(stored) = stored {
            Packed::new(&stored, &mut self.shelves)
        } else {
            let tensor = self.tensors.read(name)?;
            Packed::floats(&numbers(&tensor)?, tensor.dims2()?, &mut self.shelves)
        };
        packed.map_err(Error::Memory)
    }

    fn vector(&mut self, name: &str) -> Result<Vec<f32>> {
        numbers(&self.tensors.read(name)?)
    }

    fn norm(&mut self, name: &str) -> Result<Norm> {
        Ok(Norm { weight: self.vector(name)?, epsilon: self.epsilon })
    }
}

fn numbers(tensor: &Tensor) -> Result<Vec<f32>> {
    Ok(tensor.flatten_all()?.to_vec1()?)
}

pub(super) fn add_bias(row: &mut [f32], bias: Option<&[f32]>) {
    for (x, bias) in row.iter_mut().zip(bias.unwrap_or_default()) {
        *x += bias;
    }
}
