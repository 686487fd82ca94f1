//! A tiny random Llama for tests: real files, real kernels, no download. Behind the feature `testing`.

use std::fs::File;
use std::path::Path;

use candle_core::quantized::gguf_file::{Value, write};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};

use crate::cache::Slots;
use crate::host::{self, Numbers};
use crate::kernels::{Activations, Host, Isa, KEYS, Packed, Region, Shelf, Stored, Then, products};
use crate::{Error, Result};

/// A tiny random Llama as a GGUF file: 3 layers, 4 query heads, a vocabulary of 96 single characters, a context of 2048.
#[derive(Debug)]
pub struct Tiny {
    metadata: Vec<(&'static str, Value)>,
    tensors: Vec<(String, Vec<usize>)>,
    /// How matrices are stored.
    stored: GgmlDType,
    /// What they are rounded to before.
    rounded: GgmlDType,
}

impl Tiny {
    /// Tokens in its vocabulary: `<end>`, the visible characters of ASCII, and the blank.
    pub const VOCABULARY: u32 = 96;

    /// With so many KV heads, which must divide 4.
    pub fn new(kv_heads: usize) -> Self {
        Self::of_width(32, kv_heads)
    }

    /// With another hidden width, a multiple of 8.
    pub fn of_width(hidden: usize, kv_heads: usize) -> Self {
        let (head_dim, intermediate) = (hidden / 4, hidden * 2);
        let number = |count: usize| Value::U32(count as u32);
        let mut tensors = vec![
            ("token_embd.weight".to_owned(), vec![96, hidden]),
            ("output_norm.weight".to_owned(), vec![hidden]),
        ];
        for layer in 0..3 {
            for (name, shape) in [
                ("attn_norm", vec![hidden]),
                ("attn_q", vec![hidden, hidden]),
                ("attn_k", vec![kv_heads * head_dim, hidden]),
                ("attn_v", vec![kv_heads * head_dim, hidden]),
                ("attn_output", vec![hidden, hidden]),
                ("ffn_norm", vec![hidden]),
                ("ffn_gate", vec![intermediate, hidden]),
                ("ffn_up", vec![intermediate, hidden]),
                ("ffn_down", vec![hidden, intermediate]),
            ] {
                tensors.push((format!("blk.{layer}.{name}.weight"), shape));
            }
        }
        let text = |text: &str| Value::String(text.to_owned());
        let characters = (0x21u8..=0x7e).map(|byte| (byte as char).to_string());
        let tokens = std::iter::once("<end>".to_owned()).chain(characters).chain(["Ġ".to_owned()]);
        let types = (0..Self::VOCABULARY).map(|id| Value::I32(if id == 0 { 3 } else { 1 }));
        let metadata = vec![
            ("general.architecture", text("llama")),
            ("llama.block_count", Value::U32(3)),
            ("llama.embedding_length", number(hidden)),
            ("llama.feed_forward_length", number(intermediate)),
            ("llama.attention.head_count", Value::U32(4)),
            ("llama.attention.head_count_kv", number(kv_heads)),
            ("llama.attention.layer_norm_rms_epsilon", Value::F32(1e-5)),
            ("llama.rope.dimension_count", number(head_dim)),
            ("llama.rope.freq_base", Value::F32(10_000.0)),
            ("llama.context_length", Value::U32(2048)),
            ("tokenizer.ggml.model", text("gpt2")),
            ("tokenizer.ggml.pre", text("smollm")),
            ("tokenizer.ggml.tokens", Value::Array(tokens.map(Value::String).collect())),
            ("tokenizer.ggml.token_type", Value::Array(types.collect())),
            ("tokenizer.ggml.merges", Value::Array(vec![])),
            ("tokenizer.ggml.eos_token_id", Value::U32(0)),
        ];
        Self { metadata, tensors, stored: GgmlDType::F32, rounded: GgmlDType::F32 }
    }

    /// With its matrices stored in another type, whose blocks must fill the width.
    #[must_use]
    pub fn stored_as(self, stored: GgmlDType) -> Self {
        Self { stored, ..self }
    }

    /// With the numbers that such a type can hold, stored in f32.
    #[must_use]
    pub fn rounded_to(self, rounded: GgmlDType) -> Self {
        Self { rounded, ..self }
    }

    /// With another value under a key, or one key more.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: Value) -> Self {
        self.metadata.retain(|(known, _)| *known != key);
        self.metadata.push((key, value));
        self
    }

    /// Without a key.
    #[must_use]
    pub fn without(mut self, key: &str) -> Self {
        self.metadata.retain(|(known, _)| *known != key);
        self
    }

    /// With another shape for a tensor, or one tensor more.
    #[must_use]
    pub fn with_shape(mut self, name: &str, shape: &[usize]) -> Self {
        self.tensors.retain(|(known, _)| known != name);
        self.tensors.push((name.to_owned(), shape.to_vec()));
        self
    }

    /// Writes the file.
    ///
    /// # Errors
    /// [`Error::Tensor`](crate::Error::Tensor) with what the tensor library or the file system said.
    pub fn write(&self, path: &Path) -> Result<()> {
        let tensors = self.tensors.iter().map(|(name, shape)| {
            let values = numbers(name, shape)?;
            if shape.len() < 2 {
                return Ok((&**name, QTensor::quantize(&values, GgmlDType::F32)?));
            }
            let rounded = QTensor::quantize(&values, self.rounded)?.dequantize(&Device::Cpu)?;
            Ok((&**name, QTensor::quantize(&rounded, self.stored)?))
        });
        let tensors: Vec<(&str, QTensor)> = tensors.collect::<Result<_>>()?;
        let tensors: Vec<(&str, &QTensor)> =
            tensors.iter().map(|(name, tensor)| (*name, tensor)).collect();
        let metadata: Vec<(&str, &Value)> =
            self.metadata.iter().map(|(key, value)| (*key, value)).collect();
        let mut file =
            File::create(path).map_err(|error| candle_core::Error::from(error).with_path(path))?;
        Ok(write(&mut file, &metadata, &tensors)?)
    }
}

/// A random prompt for the tiny model, always the same for a seed; its end token is never in it.
pub fn prompt(seed: u64, tokens: usize) -> Vec<u32> {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 1);
    let most = (Tiny::VOCABULARY - 1) as f32;
    #[allow(clippy::cast_sign_loss, reason = "from 0 to the vocabulary")]
    (0..tokens).map(|_| 1 + (random.next() * most) as u32).collect()
}

/// Numbers that depend on a tensor's name and shape alone: ones for a norm, else uniform, of a size that keeps attention sharp.
fn numbers(name: &str, shape: &[usize]) -> Result<Tensor> {
    let mut random = Random(
        name.bytes().fold(1, |hash, byte| hash.wrapping_mul(0x100_0000_01b3) ^ u64::from(byte)),
    );
    let least = shape.first().min(shape.last()).copied().unwrap_or(1);
    let scale = 6.0 / (least as f32).sqrt();
    let draw = |_| if name.contains("norm") { 1.0 } else { scale * (random.next() - 0.5) };
    let values: Vec<f32> = (0..shape.iter().product()).map(draw).collect();
    Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
}

/// A linear congruential generator (Knuth's MMIX constants).
struct Random(u64);

impl Random {
    /// Uniform in [0, 1).
    fn next(&mut self) -> f32 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1u64 << 24) as f32
    }
}

/// Matrices in blocks, and rows to multiply with one after the other, as the layers of a decoder do, for the clock.
#[derive(Debug)]
pub struct BlockProducts {
    matrices: Vec<Packed>,
    x: Vec<f32>,   // (rows, inputs)
    out: Vec<f32>, // (rows, outputs)
    host: Host,
}

impl BlockProducts {
    /// So many random matrices, `(outputs, inputs)`, stored as `kind`, and so many rows.
    ///
    /// # Errors
    /// A kind or a shape that makes no blocks.
    pub fn new(
        kind: GgmlDType,
        (outputs, inputs): (usize, usize),
        matrices: usize,
        rows: usize,
        threads: usize,
    ) -> Result<Self> {
        let host = Host::new(threads);
        let mut shelves: Vec<Shelf> = (0..host.team.threads()).map(|_| Shelf::default()).collect();
        let matrix = |_| {
            let weight = Tensor::randn(0f32, 1.0, (outputs, inputs), &Device::Cpu)?;
            let stored = Stored::of(&QTensor::quantize(&weight, kind)?)?;
            Packed::new(&stored, &mut shelves).map_err(Error::Memory)
        };
        Ok(Self {
            matrices: (0..matrices).map(matrix).collect::<Result<_>>()?,
            x: (0..rows * inputs).map(|i| (i * 7919 % 1000) as f32 / 500.0 - 1.0).collect(),
            out: vec![0.0; rows * outputs],
            host,
        })
    }

    /// Quantises the rows and multiplies, for each matrix.
    pub fn run(&mut self) -> f32 {
        for matrix in &self.matrices {
            let activations = Activations::of(&self.host, &self.x, matrix);
            products(&self.host, &[matrix], &activations, (&mut self.out, Then::Replace));
        }
        self.out[0]
    }
}

/// Queries of one row that go over the entries of several heads one after the other, as a decode step does, for the clock.
#[derive(Debug)]
pub struct HeadAttention {
    heads: host::Store,
    queries: Vec<Vec<f32>>, // (queries, head_dim)
    entries: usize,
    isa: Isa,
}

impl HeadAttention {
    /// So many heads with so many entries each, in halves, and so many queries.
    ///
    /// # Errors
    /// Too little memory.
    pub fn new(
        head_dim: usize,
        heads: usize,
        entries: usize,
        queries: usize,
    ) -> std::io::Result<Self> {
        let mut random = Random(7);
        let mut row = || (0..head_dim).map(|_| random.next() - 0.5).collect::<Vec<f32>>();
        let mut store = host::Store::new((heads, head_dim), Numbers::F16);
        let room = entries.next_multiple_of(KEYS);
        store.move_to(&mut Region::new(store.bytes_of(room), true)?, 0, room);
        for slot in 0..entries {
            let (key, value) = (row(), row());
            store.write(&Slots::Behind(slot), |_| (&key, &value));
        }
        let queries = (0..queries).map(|_| row()).collect();
        Ok(Self { heads: store, queries, entries, isa: Isa::of_machine() })
    }

    /// Goes over all heads.
    pub fn run(&self) -> f32 {
        let rows: Vec<&[f32]> = self.queries.iter().map(Vec::as_slice).collect();
        host::over_all_heads(self.isa, &self.heads, &rows, self.entries)
    }
}
