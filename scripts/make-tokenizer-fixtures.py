#!/usr/bin/env python3
"""Token ids and chat prompts as llama.cpp makes them, for the tests of `runner`.

From:   SmolLM2-135M-Instruct.Q4_1.gguf (scripts/fetch-model smollm2-135m), its own vocabulary,
        merges and chat template; the strings are made here, seeded, and are our own.
With:   llama.cpp inside the wheel xllamacpp 2026.10.11549; Jinja2 3.1.6 as a second opinion on the
        template.
Rerun:  python3 -m venv V && V/bin/pip install -r scripts/fixture-requirements.txt
        V/bin/python scripts/make-tokenizer-fixtures.py
Writes: crates/runner/tests/fixtures/tokenizer_ids.jsonl   {"text", "ids"}, one string a line: special
                                                           tokens recognised, no BOS added
        crates/runner/tests/fixtures/chat_template.jsonl   {"messages", "text"}, one conversation a
                                                           line, generation prompt added
Both files are plain ASCII, so no editor can normalise what they test. The same input gives the same
bytes again.
"""

import json
import random

import jinja2
from gguf import GGUFReader

from llama_cpp import FIXTURES, Reference, model_path

SEED = 20
MIXTURES = 140

WRITTEN = [
    # nothing, and next to nothing
    "", " ", "  ", "a", " a", "a ", "\n", "\t", "\r\n", "\u00a0", "\u200b", "\ufeff", ".", "'", "0", "\u0001",
    # plain prose
    "The river bends twice before it reaches the mill.",
    "We counted the boats; there weren't many, and they'd all been painted blue.",
    "I'll go if you're sure it's theirs, since she'd rather he'd stay and we've time.",
    "I'LL GO IF YOU'RE SURE IT'S THEIRS.",
    "snake_case, kebab-case, camelCase, PascalCase, SCREAMING_SNAKE",
    "Dr. O'Neill (b. 1961) paid $3,499.95 - a 12.5% discount - for 7 units.",
    "e.g. / i.e. / etc... well -- no! what?! ((nested)) [brackets] {braces} <angles>",
    # runs of white space
    "a  b   c    d     e      f",
    "        eight in front", "eight behind        ",
    "tabs\tand\t\ttwo\t\t\tthree", "mixed \t \t runs \t\t",
    "one\ntwo\n\nthree\n\n\nfour", "line\r\nline\r\n\r\n", "\n\n\n   \n\t\n", " \n \n ",
    "trailing newline\n", "\nleading newline", "a \n b", "a\n  b\n    c",
    "wide\u2003em\u2002en\u2009thin\u202fnarrow\u3000ideographic", "no\u00a0break\u00a0space", "form\ffeed and \x0b vertical",
    # numbers: every digit stands alone
    "1", "12", "123", "1234567890", "007", "3.14159", "1,000,000", "-42", "+7", "1e-9", "0xFF", "2026-11-24T05:01:00Z",
    "12 + 30 = 42", "12+30=42", "  12", "   345   678", "x1y22z333", "1st 2nd 3rd", "7 8  9   10",
    "E = mc\u00b2", "x\u00b2 + y\u00b3 = z\u00b9\u2070", "H\u2082O, CO\u2082, C\u2086H\u2081\u2082O\u2086",
    "\u00bd + \u00bc = \u00be", "\u2160 \u2163 \u2167 \u216b", "\u2460\u2461\u2462 \u2474 \u2488",
    "\u0661\u0662\u0663 \u06f4\u06f5\u06f6", "\u0967\u0968\u0969", "\u0e51\u0e52\u0e53", "\uff11\uff12\uff13", "\U0001d7d8\U0001d7d9\U0001d7da",
    # other scripts
    "Gr\u00fc\u00dfe aus K\u00f6ln, se\u00f1or \u2014 \u00e7a va? \u0141\u00f3d\u017a, \u010ce\u0161tina, \u00c5ngstr\u00f6m, na\u00efve",
    "\u039a\u03b1\u03bb\u03b7\u03bc\u03ad\u03c1\u03b1 \u03ba\u03cc\u03c3\u03bc\u03b5", "\u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440! \u0421\u043a\u043e\u043b\u044c\u043a\u043e \u0431\u0443\u0434\u0435\u0442 2+2?",
    "\u4f60\u597d\uff0c\u4e16\u754c\uff01\u4eca\u5929\u6709\u4e09\u53ea\u732b\u3002", "\u6c34\u66dc\u65e5\u306e\u671d\u3001\u96e8\u304c\u964d\u3063\u305f\u3002\u30ab\u30bf\u30ab\u30ca\uff76\uff85", "\uc624\ub298\uc740 \ub0a0\uc528\uac00 \uc88b\ub2e4",
    "\u4e09\u5341\u4e8c\u5e7412\u67084\u65e5", "\u0e27\u0e31\u0e19\u0e19\u0e35\u0e49\u0e2d\u0e32\u0e01\u0e32\u0e28\u0e14\u0e35", "\u0928\u092e\u0938\u094d\u0924\u0947 \u0926\u0941\u0928\u093f\u092f\u093e",
    "\u0627\u0644\u0633\u0644\u0627\u0645 \u0639\u0644\u064a\u0643\u0645", "\u05e9\u05dc\u05d5\u05dd \u05e2\u05d5\u05dc\u05dd 17", "\u202eright to left override\u202c and \u200fmarks\u200e",
    "\u12a0\u121b\u122d\u129b \u10e5\u10d0\u10e0\u10d7\u10e3\u10da\u10d8 \u0540\u0561\u0575\u0565\u0580\u0565\u0576",
    # combining marks, composed and not
    "e\u0301 \u00e9 n\u0303 \u00f1 o\u0308 \u00f6", "Z\u0351\u036b\u0343\u036aa\u0334\u0322l\u0338g\u0321o\u0337", "\u1112\u1161\u11ab\uae00", "a\u0300\u0301\u0302\u0303\u0304", "\u0301 alone", "\ufb01 \ufb02 \u01c6 \u1e9e \u0130\u0131",
    # emoji
    "\U0001f600", "\U0001f44d\U0001f3fd", "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466", "\U0001f1ee\U0001f1f8\U0001f1ef\U0001f1f5", "\u2764\ufe0f\u200d\U0001f525", "7\ufe0f\u20e3 ok \u2705 no \u274c",
    "rain \U0001f327 or sun \u2600\ufe0f?", "\U0001f9ee\U0001f9ee\U0001f9ee",
    # symbols, control and far planes
    "\u2200x\u2208\u211d: \u221a(x\u00b2) = |x| \u2264 \u221e", "\u2018single\u2019 \u201cdouble\u201d \u00abguillemets\u00bb \u2026 \u2013 \u2014", "\u20ac5 \u00a37 \u00a59 \u20bf1", "\u2192\u21d2\u2194 \u2500\u2502\u250c\u2510 \u2588\u2593\u2592",
    "\x00nul\x00", "\x07\x1b[31mred\x1b[0m", "\x7f\x80\x9f", "\U00010348\U0001d11e\U000e0041", "\ue000\uf8ff private", "\ufffd\uffff",
    # code
    "fn main() {\n    let x: Vec<u8> = vec![0; 16];\n    println!(\"{x:?}\");\n}\n",
    "def f(n):\n\tif n < 2:\n\t\treturn n\n\treturn f(n-1) + f(n-2)\n",
    "for (int i = 0; i < 10; ++i) { a[i] ^= b[i] << 3; } // done",
    "SELECT name, COUNT(*) FROM t WHERE x >= 1.5 GROUP BY name;",
    "<p class=\"a\">1 &lt; 2 &amp;&amp; 3 &gt; 2</p>", "{\"k\": [1, 2.5e3, null, \"\\u00e9\\n\"]}",
    "$ ls -la | grep '^d' | awk '{print $9}' > out.txt 2>&1", "C:\\new\\table\\x.txt and ../up/one.rs",
    "https://example.org/a%20b?q=1&r=%E2%82%AC#frag", "^(?:[a-z0-9]+)(\\.[a-z]{2,})*$", "```python\nprint('hi')\n```", "| a | b |\n|---|---|\n| 1 | 2 |",
    "#include <stdio.h>\n\n\nint main(void){return 0;}", "\\frac{1}{2}\\sum_{i=0}^{n} x_i",
    # numbered answers, as the benchmark has them
    "Question_1: Ada has 12 pens and finds 5.\nAnswer_1: 12 + 5 = 17. The answer is 17.", "The answer is -3.5.\n\nAnswer_10:", "#### 72",
    # very long words
    "a" * 300, "ab" * 150, "Donau" + "dampfschiff" * 12, "9" * 120, "_" * 77, "=" * 64, "-" * 33, " " * 100, "\n" * 40, "\t" * 21, "!?" * 30, "\u6c34" * 50, "\U0001f600" * 20, "\u0301" * 25,
    # almost special tokens
    "<|im_start|", "<|im_start |>", "< |im_start|>", "<|IM_START|>", "<|im_start|im_end|>", "<|", "|>", "<|>", "<s>", "</s>", "<unk>", "[INST]",
    # special tokens in company
    "<|im_start|>user\nHi<|im_end|>\n", "<|im_start|> user", " <|im_end|> ", "12<|im_end|>34", "x<|endoftext|>y<|endoftext|>",
    "<|im_start|><|im_start|><|im_end|><|im_end|>", "<<|im_start|>>", "a <file_sep> b", "\n\n<|im_end|>\n\n", "caf\u00e9<|im_start|>\u00e9", "  <|im_start|>  12  <|im_end|>  ",
]

PIECES = [
    "the", "Mill", "river's", " and", " boats", "ing", "RE", "'s", "'LL", "42", "7", "1999", "0.5", "\u00b2", "\u2167", "\u0663", " ", "  ", "   ",
    "\t", "\n", "\n\n", "\r\n", "\u00a0", "\u3000", ",", ".", "...", "!", "?!", "(", "){", "->", "==", "&&", "//", "_", "__init__", "\\n",
    "\u00e9", "e\u0301", "\u00df", "\u0416", "\u03c9", "\u6c34", "\u732b\u304c", "\uae00", "\u0634", "\u05e9", "\u0928\u093f", "\U0001f600", "\U0001f44d\U0001f3fd", "\u2764\ufe0f", "\u200d", "\U0001d7d8",
    "<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|", "|>",
]

CONVERSATIONS = [
    [{"role": "user", "content": "How many legs do three spiders have?"}],
    [
        {"role": "system", "content": "Answer with one number."},
        {"role": "user", "content": "Tom has 12 apples and eats 5. How many are left?"},
    ],
    [
        {"role": "user", "content": "Name a river.\nOne word."},
        {"role": "assistant", "content": "Loire"},
        {"role": "user", "content": "  And a caf\u00e9 on it? \U0001f600 "},
    ],
    [
        {"role": "system", "content": ""},
        {"role": "user", "content": "<b>Is \"1 < 2\" & '2 > 1'?</b>\n\n"},
        {"role": "assistant", "content": "Yes."},
        {"role": "user", "content": "Question_1: 2 + 2\nQuestion_2: 3 + 3\n"},
    ],
]


def strings(special):
    yield from WRITTEN
    yield from special
    yield from (f"a{token}b" for token in special)
    rng = random.Random(SEED)
    for _ in range(MIXTURES):
        yield "".join(rng.choice(PIECES) for _ in range(rng.randint(2, 24)))


def vocabulary(path):
    """The control tokens (type 3) and the chat template, read from the file's metadata."""
    fields = GGUFReader(path).fields
    tokens, kinds = fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.token_type"]
    special = [bytes(tokens.parts[part]).decode()
               for part, kind in zip(tokens.data, kinds.contents(), strict=True) if kind == 3]
    return special, fields["tokenizer.chat_template"].contents()


def write(name, records):
    path = FIXTURES / name
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="ascii", newline="\n")
    print(f"{path.name}: {len(records)} lines, {path.stat().st_size} bytes")


def main():
    path = model_path()
    special, template = vocabulary(path)
    reference = Reference(path)

    texts = list(dict.fromkeys(strings(special)))
    records = [{"text": text, "ids": reference.tokenize(text)} for text in texts]
    odd = [r["text"] for r in records if reference.detokenize(r["ids"]) != r["text"]]
    print(f"{len(records)} strings, {len(odd)} do not decode to themselves: {odd[:5]}")
    write("tokenizer_ids.jsonl", records)

    render = jinja2.Environment(trim_blocks=True, lstrip_blocks=True, autoescape=False).from_string(template).render
    renders = []
    for messages in CONVERSATIONS:
        text = reference.apply_template(messages)
        second = render(messages=messages, add_generation_prompt=True)
        assert text == second, f"llama.cpp and Jinja2 differ:\n{text!r}\n{second!r}"
        renders.append({"messages": messages, "text": text})
    write("chat_template.jsonl", renders)


if __name__ == "__main__":
    main()
