"""A plain Llama, as `transformers` computes it, and its files in Hugging Face's layout."""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn


@dataclass(frozen=True)
class Shape:
    vocabulary: int
    hidden: int = 128
    layers: int = 4
    query_heads: int = 4
    kv_heads: int = 2
    head_dim: int = 32
    intermediate: int = 384
    # About half of the rotary pairs hardly turn within a document: they match by content over any distance.
    theta: float = 1e6
    epsilon: float = 1e-5
    context: int = 4096

    def config(self):
        return {
            "architectures": ["LlamaForCausalLM"],
            "attention_bias": False,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "head_dim": self.head_dim,
            "hidden_act": "silu",
            "hidden_size": self.hidden,
            "initializer_range": 0.02,
            "intermediate_size": self.intermediate,
            "max_position_embeddings": self.context,
            "mlp_bias": False,
            "model_type": "llama",
            "num_attention_heads": self.query_heads,
            "num_hidden_layers": self.layers,
            "num_key_value_heads": self.kv_heads,
            "pad_token_id": 0,
            "rms_norm_eps": self.epsilon,
            "rope_scaling": None,
            "rope_theta": self.theta,
            "tie_word_embeddings": True,
            "torch_dtype": "float16",
            "use_cache": True,
            "vocab_size": self.vocabulary,
        }


def rotations(shape, length):
    """Cosines and sines, (length, head_dim), for the half-rotated layout."""
    frequencies = shape.theta ** (-torch.arange(0, shape.head_dim, 2).float() / shape.head_dim)
    angles = torch.outer(torch.arange(length).float(), frequencies).repeat(1, 2)
    return angles.cos(), angles.sin()


def rotate(x, cos, sin):
    half = x.shape[-1] // 2
    return x * cos + torch.cat((-x[..., half:], x[..., :half]), -1) * sin


class RmsNorm(nn.Module):
    def __init__(self, size, epsilon):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.epsilon = epsilon

    def forward(self, x):
        return F.rms_norm(x, x.shape[-1:], self.weight, self.epsilon)


class Attention(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.shape = shape
        queries, keys = shape.query_heads * shape.head_dim, shape.kv_heads * shape.head_dim
        self.q_proj = nn.Linear(shape.hidden, queries, bias=False)
        self.k_proj = nn.Linear(shape.hidden, keys, bias=False)
        self.v_proj = nn.Linear(shape.hidden, keys, bias=False)
        self.o_proj = nn.Linear(queries, shape.hidden, bias=False)

    def forward(self, x, cos, sin):
        rows, length, _ = x.shape
        heads = lambda y: y.view(rows, length, -1, self.shape.head_dim).transpose(1, 2)
        q, k = (rotate(heads(proj(x)), cos, sin) for proj in (self.q_proj, self.k_proj))
        group = self.shape.query_heads // self.shape.kv_heads
        k, v = (y.repeat_interleave(group, 1) for y in (k, heads(self.v_proj(x))))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.o_proj(y.transpose(1, 2).reshape(rows, length, -1))


class Mlp(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.gate_proj = nn.Linear(shape.hidden, shape.intermediate, bias=False)
        self.up_proj = nn.Linear(shape.hidden, shape.intermediate, bias=False)
        self.down_proj = nn.Linear(shape.intermediate, shape.hidden, bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.input_layernorm = RmsNorm(shape.hidden, shape.epsilon)
        self.self_attn = Attention(shape)
        self.post_attention_layernorm = RmsNorm(shape.hidden, shape.epsilon)
        self.mlp = Mlp(shape)

    def forward(self, x, cos, sin):
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        return x + self.mlp(self.post_attention_layernorm(x))


class Llama(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.shape = shape
        self.embed_tokens = nn.Embedding(shape.vocabulary, shape.hidden)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.norm = RmsNorm(shape.hidden, shape.epsilon)
        for name, weights in self.named_parameters():
            if weights.dim() < 2:
                continue
            spread = 0.02 if "embed" in name else weights.shape[1] ** -0.5
            if "o_proj" in name or "down_proj" in name:
                spread *= 0.5 / math.sqrt(2 * shape.layers)
            nn.init.normal_(weights, 0.0, spread)

    def matrices(self):
        """What turns a vector into another one: all but embeddings and norms."""
        return [w for name, w in self.named_parameters() if w.dim() == 2 and "embed" not in name]

    def others(self):
        return [w for name, w in self.named_parameters() if w.dim() < 2 or "embed" in name]

    def forward(self, tokens, rotation, where):
        """Logits (selected, vocabulary) of (rows, length) tokens at the flat places `where`."""
        x = self.embed_tokens(tokens)
        for layer in self.layers:
            x = layer(x, *rotation)
        x = x.reshape(-1, x.shape[-1])[where]
        return F.linear(self.norm(x), self.embed_tokens.weight)


def export(model, tokenizer, folder):
    """Writes the model as f16 with everything that a reader of Hugging Face's layout expects."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    weights = {f"model.{n}": w.detach().half().contiguous() for n, w in model.state_dict().items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)
    settings = {
        "config.json": model.shape.config(),
        "generation_config.json": {"bos_token_id": 1, "do_sample": False, "eos_token_id": 2, "pad_token_id": 0},
        "tokenizer_config.json": {
            "add_bos_token": True,
            "bos_token": "<bos>",
            "clean_up_tokenization_spaces": False,
            "eos_token": "<eos>",
            "model_max_length": model.shape.context,
            "pad_token": "<pad>",
            "tokenizer_class": "PreTrainedTokenizerFast",
            "unk_token": "<unk>",
        },
    }
    for name, content in settings.items():
        (folder / name).write_text(json.dumps(content, indent=2) + "\n")
    (folder / "tokenizer.json").write_text(tokenizer)
