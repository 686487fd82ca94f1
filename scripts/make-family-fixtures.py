#!/usr/bin/env python3
"""Tiny random models of every family in Hugging Face's layout, with what transformers computes from them.

From:   nothing: weights are random, seeded; tokenizers are trained on the sentences below, which are our own.
With:   transformers 5.23.0 (its own decoder of each family, eager attention), tokenizers 0.23.3, torch 2.15.0, CPU, float32;
        llama.cpp inside the wheel xllamacpp 2026.10.11549, given the whole model as GGUF, must say what transformers says.
Rerun:  python3 -m venv V && V/bin/pip install -r scripts/fixture-requirements.txt
        V/bin/python scripts/make-family-fixtures.py            (seconds)
Writes: crates/runner/tests/fixtures/families/FAMILY/, a folder that `bench --model` takes, and in it

    expected.json        {"about", "texts": [{"text", "ids", "decoded"}], "chat": {"messages", "ids"},
                          "greedy": {"prompt", "ids", "text", "margin"}, "gguf": [{"text", "ids"}]}
                         ids with what the post-processor adds; `margin`: the least lead of a greedy token, in logits;
                         `gguf`: llama.cpp's ids of these and other texts, with BOS where it adds one; for qwen2 it was given
                         the composed text (NFC), since it does not compose and Qwen2's own tokenizer does
    header.gguf          (not for smollm2) the same model's GGUF metadata and rotary divisors, without weights
    logits.safetensors   for each text I: `rows_I` i64 [R], `logits_I` f32 [R, vocab]: the logits after ids 0..=row

    llama3    bf16, two files and an index, rotary scaling `llama3`, head apart, BOS by the post-processor, the pre-tokenizer of Llama 3
    mistral   f16, heads wider than hidden / heads, BPE over characters with bytes to fall back on, BOS, a list of templates
    qwen2     bf16, biases on q, k and v, tied embeddings, NFC and the pre-tokenizer of Qwen2, no BOS, two end tokens
    smollm2   f32, 3 KV heads, tied embeddings, digits apart

`about` says how far the same computation in float64 is from these logits: no float32 program can be asked to come closer.
"""

import json
import pathlib
import shutil
import tempfile
import unicodedata

import gguf
import safetensors.torch
import tokenizers
import torch
import transformers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from llama_cpp import Reference

SEED = 11
GREEDY = 24
FAMILIES = pathlib.Path(__file__).resolve().parent.parent / "crates/runner/tests/fixtures/families"

CORPUS = [
    "The river bends twice before it reaches the mill, and there the road ends.",
    "We counted 48 boats; there weren't many more, and they'd all been painted blue.",
    "If a barrel holds 120 litres and 35 are drawn, then 85 litres are left in the barrel.",
    "She said that the answer is 17, because 9 and 8 make 17.",
    "Grüße aus Köln: the naïve café sold 3 crêpes and 12 soups.",
]

TEXTS = [
    "The answer",
    "There weren't 1234 boats,  and they'd bent\n\n the road twice.",
    "Café, cafe\u0301, 水 and \U0001f41f: 3.5 litres of soup\tare LEFT\r\n in   the barrel, because 12345678 and "
    "9 make more than the river before the mill; she said that the road ends, and 35 are drawn.",
]

# For the tokenizers that are built from GGUF metadata; `{0}` and `{1}` are special tokens of the family.
VARIED = [
    "", " ", "  ", "a", " a", "a ", "   three in front", "three behind   ", "a  b   c    d", "\n", "\n\n \n", "\t\ttabs\t",
    "line\r\nline\r\n", "one\n  two\n\n    three", "I'LL go, YOU'RE sure, they'd've 'S", "don't 'tis o'clock", "7", "12", "123", "1234",
    "12345678901", "3.14159 and 1,000,000", " 42 43", "x1y22z333", "snake_case camelCase --flag=1", "?!... ((a)) [b] {c} <d>",
    "x\u00b2 + \u00bd = \u2167", "\u0661\u0662\u0663", "na\u00efve na\u0131ve", "e\u0301 \u212b \ufb01", "\u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440",
    "\u4f60\u597d\uff0c\u4e16\u754c", "\U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f1e9\U0001f1ea", "\u00a0no\u2003break\u3000", "\u2581 the mark itself",
    "{0}", "{0}a{1}", "{0} a {1} b", "a{0}{0}b", "the{0}\nthe", "<|nothing|> <s", "the river the river", "rivers, barrels and mills",
]  # fmt: skip

MESSAGES = [
    {"role": "system", "content": "  Be brief. "},
    {"role": "user", "content": "How many boats are left?"},
    {"role": "assistant", "content": "17 boats."},
    {"role": "user", "content": "And litres?"},
]

LLAMA3_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2_SPLIT = LLAMA3_SPLIT.replace(r"\p{N}{1,3}", r"\p{N}")

HEADERS = """\
{{- bos_token }}
{%- if not date_string is defined %}
    {%- if strftime_now is defined and false %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}
        {%- set date_string = "1 Jan 2024" %}
    {%- endif %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system = "" %}
{%- endif %}
{%- if tools is not none %}
    {{- raise_exception("no tools here") }}
{%- endif %}
{{- "<|head|>system<|/head|>\\n\\n" + date_string + "\\n" + system + "<|eot|>" }}
{%- for message in messages %}
    {{- '<|head|>' + message['role'] + '<|/head|>\\n\\n' + message['content'] | trim + '<|eot|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|head|>assistant<|/head|>\\n\\n' }}
{%- endif %}
"""

INSTRUCTIONS = """\
{%- if messages[0]["role"] == "system" %}
    {%- set system = messages[0]["content"] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
{%- set ns = namespace(index=0) %}
{%- set users = loop_messages | selectattr("role", "equalto", "user") | list %}
{{- bos_token }}
{%- for message in loop_messages %}
    {%- if (message["role"] == "user") != (ns.index % 2 == 0) %}
        {{- raise_exception("roles must alternate") }}
    {%- endif %}
    {%- set ns.index = ns.index + 1 %}
    {%- if message["role"] == "user" %}
        {{- "[I]" + (system.strip() + "\\n\\n" if system is defined and message == users[-1] else "") + message["content"] + "[/I]" }}
    {%- else %}
        {{- message["content"] + eos_token }}
    {%- endif %}
{%- endfor %}
"""

TURNS = """\
{%- if tools %}
    {{- tools | tojson }}
{%- endif %}
{%- for message in messages %}
    {%- if loop.first and messages[0].role != "system" %}{{- "<|turn|>system\\nHelp.<|end|>\\n" }}{% endif %}
    {{- "<|turn|>" + message.role + "\\n" + message.content + "<|end|>\\n" }}
{%- endfor %}
{%- if add_generation_prompt %}{{- "<|turn|>assistant\\n" }}{% endif %}
"""


def byte_level(specials, pre_tokenizer, size=300, **bpe):
    """A byte-level BPE; the special tokens come last, as in Llama 3 and Qwen2."""
    tokenizer = Tokenizer(models.BPE(**bpe))
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        CORPUS, trainers.BpeTrainer(vocab_size=size - len(specials), initial_alphabet=alphabet, show_progress=False)
    )
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in specials])
    return tokenizer


def split(pattern):
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


def begins_with(tokenizer, bos):
    return processors.TemplateProcessing(
        single=f"{bos} $A", pair=f"{bos} $A {bos}:1 $B:1", special_tokens=[(bos, tokenizer.token_to_id(bos))]
    )


def llama3():
    tokenizer = byte_level(["<|begin|>", "<|end|>", "<|head|>", "<|/head|>", "<|eot|>"], split(LLAMA3_SPLIT), ignore_merges=True)
    tokenizer.post_processor = processors.Sequence(
        [processors.ByteLevel(trim_offsets=False), begins_with(tokenizer, "<|begin|>")]
    )
    config = transformers.LlamaConfig(
        **shape(tokenizer, heads=4, kv_heads=2, head_dim=12),
        rms_norm_eps=1e-5,
        rope_parameters={
            "rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 32,
        },
        tie_word_embeddings=False,
    )
    settings = {"bos_token": "<|begin|>", "eos_token": "<|eot|>"}
    ends = [tokenizer.token_to_id("<|end|>"), tokenizer.token_to_id("<|eot|>")]
    return tokenizer, config, torch.bfloat16, settings, ends, {"chat_template.jinja": HEADERS}


def mistral():
    specials = ["<unk>", "<s>", "</s>", "[I]", "[/I]"]
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokens = specials + [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=len(tokens) + 90, special_tokens=tokens, show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    saved = json.loads(tokenizer.to_str())
    saved["added_tokens"] = [token for token in saved["added_tokens"] if token["content"] in specials]
    tokenizer = Tokenizer.from_str(json.dumps(saved))
    tokenizer.post_processor = begins_with(tokenizer, "<s>")
    config = transformers.MistralConfig(
        **shape(tokenizer, heads=4, kv_heads=2, head_dim=16),
        rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": 1e6},
        sliding_window=None,
        tie_word_embeddings=False,
    )
    templates = [{"name": "default", "template": INSTRUCTIONS}, {"name": "tool_use", "template": "{{ 1 }}"}]
    settings = {"add_bos_token": True, "bos_token": "<s>", "eos_token": "</s>", "chat_template": templates}
    return tokenizer, config, torch.float16, settings, 2, {}


def qwen2():
    tokenizer = byte_level(["<|endoftext|>", "<|turn|>", "<|end|>"], split(QWEN2_SPLIT))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    config = transformers.Qwen2Config(
        **shape(tokenizer, heads=6, kv_heads=2, spare=20),
        rms_norm_eps=1e-6,
        rope_parameters={"rope_type": "default", "rope_theta": 1e6},
        use_sliding_window=False,
        sliding_window=64,
        tie_word_embeddings=True,
    )
    settings = {"add_bos_token": False, "bos_token": None, "eos_token": "<|end|>", "chat_template": TURNS}
    ends = [tokenizer.token_to_id("<|end|>"), tokenizer.token_to_id("<|endoftext|>")]
    return tokenizer, config, torch.bfloat16, settings, ends, {}


def smollm2():
    digits = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer = byte_level(["<|endoftext|>", "<|turn|>", "<|end|>"], digits)
    config = transformers.LlamaConfig(
        **shape(tokenizer, heads=6, kv_heads=3),
        rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": 100000.0},
        tie_word_embeddings=True,
    )
    content = {"__type": "AddedToken", "content": "<|end|>", "special": True}
    settings = {"bos_token": "<|turn|>", "eos_token": content, "chat_template": TURNS}
    return tokenizer, config, torch.float32, settings, tokenizer.token_to_id("<|end|>"), {}


def shape(tokenizer, heads, kv_heads, head_dim=None, spare=0):
    """Sizes of a config; `spare` rows of the vocabulary belong to no token, as in Qwen2.5."""
    sizes = {
        "vocab_size": tokenizer.get_vocab_size() + spare,
        "hidden_size": 48,
        "intermediate_size": 80,
        "num_hidden_layers": 2,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "max_position_embeddings": 256,
    }
    return sizes | ({"head_dim": head_dim} if head_dim else {})


def randomise(model):
    """Weights large enough that attention is sharp and every part matters."""
    for name, weight in model.named_parameters():
        noise = torch.randn(weight.shape)
        if "norm" in name:
            weight.data = 1 + 0.2 * noise
        elif name.endswith("bias"):
            weight.data = 0.5 * noise
        elif "embed" in name:
            weight.data = 0.4 * noise
        else:
            weight.data = 1.5 * noise / weight.shape[1] ** 0.5


def write(folder, name, value):
    text = value if isinstance(value, str) else json.dumps(value, indent=1, ensure_ascii=True) + "\n"
    (folder / name).write_text(text, encoding="utf-8")


def relative_error(found, wanted):
    return float((found.double() - wanted).norm(dim=-1).div(wanted.norm(dim=-1)).max())


@torch.no_grad()
def greedy(model, ids):
    """Tokens that the model would say next, whatever ends a text, and by how much each led the runner-up at least."""
    said, margin = [], float("inf")
    for _ in range(GREEDY):
        best = model(torch.tensor([ids + said])).logits[0, -1].topk(2)
        margin = min(margin, float(best.values[0] - best.values[1]))
        said.append(int(best.indices[0]))
    return said, margin


GGUF_LAYER = {
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
}  # fmt: skip
GGUF_MODEL = {
    "model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight", "lm_head.weight": "output.weight",
}  # fmt: skip


def gguf_tokens(writer, tokenizer, vocabulary, settings, ends):
    """The vocabulary as llama.cpp's converter writes it."""
    model = json.loads(tokenizer.to_str())["model"]
    by_id = {id_: text for text, id_ in tokenizer.get_vocab(with_added_tokens=True).items()}
    special = {id_ for id_, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    kinds = gguf.TokenType
    texts, types = [], []
    for id_ in range(vocabulary):
        text = by_id.get(id_, f"[PAD{id_}]")
        texts.append(text)
        if text == "<unk>":
            types.append(kinds.UNKNOWN)
        elif id_ in special:
            types.append(kinds.CONTROL)
        elif id_ not in by_id:
            types.append(kinds.UNUSED)
        else:
            types.append(kinds.BYTE if text.startswith("<0x") else kinds.NORMAL)
    writer.add_token_list(texts)
    writer.add_token_types(types)
    if model["byte_fallback"]:
        writer.add_tokenizer_model("llama")
        writer.add_tokenizer_pre("default")
        writer.add_token_scores([-float(id_) for id_ in range(vocabulary)])
        writer.add_unk_token_id(0)
    else:
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("llama-bpe" if model["ignore_merges"] else "qwen2")
        writer.add_token_merges([" ".join(merge) for merge in model["merges"]])
    if settings["bos_token"]:
        writer.add_bos_token_id(tokenizer.token_to_id(settings["bos_token"]))
    else:
        writer.add_add_bos_token(False)
    writer.add_eos_token_id(tokenizer.token_to_id(settings["eos_token"]))
    if isinstance(ends, list):
        writer.add_eot_token_id(next(end for end in ends if end != tokenizer.token_to_id(settings["eos_token"])))


def gguf_write(path, model, tokenizer, settings, ends, with_weights):
    config = model.config
    heads, kv_heads = config.num_attention_heads, config.num_key_value_heads
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // heads
    architecture = "qwen2" if config.model_type == "qwen2" else "llama"
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    writer.add_rope_dimension_count(head_dim)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    gguf_tokens(writer, tokenizer, config.vocab_size, settings, ends)
    if config.rope_parameters["rope_type"] == "llama3":
        plain = config.rope_parameters["rope_theta"] ** -(torch.arange(0, head_dim, 2).double() / head_dim)
        stretched = model.model.rotary_emb.inv_freq.double()
        writer.add_tensor("rope_freqs.weight", (plain / stretched).float().numpy())
    for name, weight in model.state_dict().items() if with_weights else ():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        if architecture == "llama" and (".q_proj." in name or ".k_proj." in name):
            count = heads if ".q_proj." in name else kv_heads
            weight = weight.reshape(count, 2, head_dim // 2, -1).transpose(1, 2).reshape(weight.shape)
        if name in GGUF_MODEL:
            name = GGUF_MODEL[name]
        else:
            _, _, layer, part = name.split(".", 3)
            part, kind = part.rsplit(".", 1)
            name = f"blk.{layer}.{GGUF_LAYER[part]}.{kind}"
        writer.add_tensor(name, weight.float().contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def gguf_texts(model, tokenizer, settings, ends, prompt, said):
    """Texts with llama.cpp's ids, from the whole model; and it must say the same as transformers."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "model.gguf"
        gguf_write(path, model, tokenizer, settings, ends, with_weights=True)
        reference = Reference(path)
        body = {"prompt": prompt, "n_predict": GREEDY, "temperature": 0, "top_k": 1, "return_tokens": True, "cache_prompt": False}
        found = reference.ask("/completion", body)["tokens"]
        assert found and found == said[: len(found)], (found, said)
        agreed = len(found)
        specials = [settings["eos_token"], next(t.content for t in tokenizer.get_added_tokens_decoder().values() if t.special)]
        texts = []
        for text in TEXTS + [text.replace("{0}", specials[0]).replace("{1}", specials[1]) for text in VARIED]:
            given = unicodedata.normalize("NFC", text) if model.config.model_type == "qwen2" else text
            body = {"content": given, "add_special": True, "parse_special": True}
            texts.append({"text": text, "ids": reference.ask("/tokenize", body)["tokens"]})
    return texts, agreed


@torch.no_grad()
def make(build):
    torch.manual_seed(SEED)
    tokenizer, config, dtype, settings, ends, more = build()
    folder = FAMILIES / build.__name__
    shutil.rmtree(folder, ignore_errors=True)
    model = transformers.AutoModelForCausalLM.from_config(config)
    randomise(model)
    model.generation_config = transformers.GenerationConfig(eos_token_id=ends)
    model.config.eos_token_id, model.config.bos_token_id = ends, None
    size = "100KB" if build is llama3 else "5GB"
    model.to(dtype).save_pretrained(folder, max_shard_size=size)
    tokenizer.save(str(folder / "tokenizer.json"))
    write(folder, "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast"} | settings)
    for name, text in more.items():
        write(folder, name, text)

    load = transformers.AutoModelForCausalLM.from_pretrained
    model = load(folder, dtype=torch.float32, attn_implementation="eager").eval()
    exact = load(folder, dtype=torch.float64, attn_implementation="eager").eval()
    fast = transformers.PreTrainedTokenizerFast.from_pretrained(folder)
    texts, logits, worst = [], {}, 0.0
    for index, text in enumerate(TEXTS):
        ids = tokenizer.encode(text).ids
        assert fast(text)["input_ids"] == ids, (build.__name__, text)
        texts.append({"text": text, "ids": ids, "decoded": tokenizer.decode(ids)})
        rows = sorted({0, len(ids) - 1} | set(range(0, len(ids), (1, 2, 11)[index])))
        logits[f"rows_{index}"] = torch.tensor(rows)
        found = model(torch.tensor([ids])).logits[0, rows]
        worst = max(worst, relative_error(found, exact(torch.tensor([ids])).logits[0, rows]))
        logits[f"logits_{index}"] = found.contiguous()
    said, margin = greedy(model, texts[1]["ids"])
    chat = fast.apply_chat_template(MESSAGES, add_generation_prompt=True, return_dict=False)
    about = {
        "transformers": transformers.__version__, "tokenizers": tokenizers.__version__, "torch": torch.__version__.split("+")[0],
        "error_against_float64": worst,
    }
    expected = {
        "about": about,
        "texts": texts,
        "chat": {"messages": MESSAGES, "ids": chat},
        "greedy": {"prompt": 1, "ids": said, "text": tokenizer.decode(said), "margin": margin},
    }
    if build is not smollm2:
        gguf_write(folder / "header.gguf", model, tokenizer, settings, ends, with_weights=False)
        expected["gguf"], about["tokens_agreed_with_llama_cpp"] = gguf_texts(
            model, tokenizer, settings, ends, texts[1]["ids"], said
        )
    write(folder, "expected.json", expected)
    safetensors.torch.save_file(logits, folder / "logits.safetensors")
    bytes_ = sum(path.stat().st_size for path in folder.iterdir())
    print(f"{build.__name__}: {bytes_} bytes, margin {margin:.3f}, float64 {worst:.1e}, {[len(t['ids']) for t in texts]} tokens")


if __name__ == "__main__":
    for family in (llama3, mistral, qwen2, smollm2):
        make(family)
