"""Vocabularies that were changed, and what the log says of prompts, on the tiny random model."""

import json
import pathlib
import shutil
import struct
import tempfile
import unittest

from tiny import FILE, FOLDER, RUN, ctx, main, model  # first: may skip

import numpy as np

import libsd

TEXTS = ["a red boat", ""]


def read_weights(path):
    """{name: (type, shape, bytes)}, and __metadata__."""
    data = pathlib.Path(path).read_bytes()
    end = 8 + struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:end])
    metadata = header.pop("__metadata__", {})
    tensors = {}
    for name, value in header.items():
        a, b = value["data_offsets"]
        tensors[name] = (value["dtype"], value["shape"], data[end + a : end + b])
    return tensors, metadata


def write_weights(path, tensors, metadata=None):
    header, at = {"__metadata__": metadata} if metadata else {}, 0
    for name, (kind, shape, data) in tensors.items():
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header).encode()
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for _, _, data in tensors.values():
            f.write(data)


def add_rows(path, n):
    """More rows than words in the table of tokens; returns their float32 values and how many there
    were before."""
    tensors, metadata = read_weights(path)
    name = next(key for key in tensors if key.endswith("token_embedding.weight"))
    kind, (rows, width), data = tensors[name]
    dtype = {"F32": np.float32, "F16": np.float16}[kind]
    values = np.random.default_rng(n).normal(0, 0.3, (n, width)).astype(dtype)
    tensors[name] = (kind, [rows + n, width], data + values.tobytes())
    write_weights(path, tensors, metadata)
    return values.astype(np.float32), rows


def change(path, **values):
    path = pathlib.Path(path)
    data = json.loads(path.read_text()) if path.exists() else {}
    data.update(values)
    path.write_text(json.dumps(data))


class TextTest(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.scratch = pathlib.Path(scratch.name)
        self.folder = self.scratch / "model"
        shutil.copytree(FOLDER, self.folder)
        self.tokenizer = self.folder / "tokenizer"
        self.logged = []
        self.ctx = libsd.Context("cpu", threads=2, log=lambda level, text: self.logged.append(text))
        self.addCleanup(self.ctx.close)

    def load(self, path=None, **options):
        loaded = self.ctx.load(path or self.folder, **options)
        self.addCleanup(loaded.close)
        return loaded

    def warned(self, *words):
        return any(all(word in text for word in words) for text in self.logged)

    def add_rows(self, n, **config):
        values, rows = add_rows(self.folder / "text_encoder" / "model.safetensors", n)
        change(self.folder / "text_encoder" / "config.json", vocab_size=rows + n, **config)
        return values, rows

    def test_more_rows_than_words(self):
        """tokenizer.add_tokens and resize_token_embeddings change no prompt without such a token."""
        want = model.encode_text(TEXTS).tensor()
        self.add_rows(1, bos_token_id=0, eos_token_id=2)
        np.testing.assert_array_equal(self.load().encode_text(TEXTS).tensor(), want)
        self.add_rows(7)
        other = self.load()
        np.testing.assert_array_equal(other.encode_text(TEXTS).tensor(), want)
        np.testing.assert_array_equal(other.tokenize("a red boat").ids, model.tokenize("a red boat").ids)
        for n in (1, 8):
            file = self.scratch / f"rows-{n}.safetensors"
            shutil.copy(FILE, file)
            add_rows(file, n)
            other = self.load(file, vocab=FOLDER + "/tokenizer")
            np.testing.assert_array_equal(other.encode_text(TEXTS).tensor(), want)

    def test_padding_is_the_tokenizer_s(self):
        """"!" pads in Stable Diffusion 2.x; an original checkpoint does not look there."""
        self.add_rows(1)
        for name in ("special_tokens_map.json", "tokenizer_config.json"):
            change(self.tokenizer / name, pad_token="!")
            ids = self.load().tokenize("a red boat!").ids
            self.assertEqual(list(ids[4:6]), [0, model.tokenize("").ids[1]])
            self.assertEqual(set(ids[6:]), {0})
            other = self.load(FILE, vocab=str(self.tokenizer))
            np.testing.assert_array_equal(
                other.tokenize("a red boat!").ids, model.tokenize("a red boat!").ids
            )
            change(self.tokenizer / name, pad_token=None)
        self.assertEqual(self.load().tokenize("!").ids[3], model.tokenize("").ids[1])

    def test_added_tokens_are_rows(self):
        """The same picture as with the rows as a textual-inversion file."""
        values, rows = self.add_rows(2)
        write_weights(self.scratch / "toy.safetensors", {"emb_params": ("F32", list(values.shape), values.tobytes())})
        with ctx.load(FOLDER, embeddings={"<toy>": self.scratch / "toy.safetensors"}) as inverted:
            want = inverted.encode_text(["a red <toy> boat", ""]).tensor()
            heavy = inverted.encode_text("a (red <toy>:1.3) boat", weighted=True).tensor()
        ids = {"<toy>": rows, "<toy>_1": rows + 1}
        decoder = {str(i): {"content": token, "special": False} for token, i in ids.items()}
        for name, value in (
            ("added_tokens.json", ids),
            ("tokenizer_config.json", {"added_tokens_decoder": decoder}),
        ):
            change(self.tokenizer / name, **value)
            other = self.load()
            self.assertEqual(other.tokenize("<toy>").ids[1], rows)
            np.testing.assert_array_equal(other.encode_text(["a red <toy> boat", ""]).tensor(), want)
            np.testing.assert_array_equal(
                other.encode_text("a (red <toy>:1.3) boat", weighted=True).tensor(), heavy
            )
            # a file for the word comes before the rows
            toy = {"<toy>": self.scratch / "toy.safetensors"}
            np.testing.assert_array_equal(
                self.load(embeddings=toy).encode_text(["a red <toy> boat", ""]).tensor(), want
            )
            if name == "added_tokens.json":
                (self.tokenizer / name).unlink()
        self.assertFalse(self.warned("added token"))

    def test_added_tokens_without_rows(self):
        rows = len(json.loads((self.tokenizer / "vocab.json").read_text()))
        change(self.tokenizer / "added_tokens.json", **{"<toy>": rows})
        other = self.load()
        self.assertTrue(self.warned('"<toy>"', f"has id {rows}", "cannot be used"), self.logged)
        np.testing.assert_array_equal(other.encode_text("a <toy>").tensor(), model.encode_text("a <toy>").tensor())

    def test_tokenizer_json_alone(self):
        """As transformers 5 writes it; "a b" is how older ones write a merge."""
        vocab = json.loads((self.tokenizer / "vocab.json").read_text())
        merges = (self.tokenizer / "merges.txt").read_text().split("\n")[1:]
        whole = {"type": "BPE", "end_of_word_suffix": "</w>", "vocab": vocab}
        forms = [m for m in merges if m], [m.split(" ") for m in merges if m]
        for path in self.tokenizer.iterdir():
            path.unlink()
        for form in forms:
            change(self.tokenizer / "tokenizer.json", model={**whole, "merges": form})
            other = self.load()
            np.testing.assert_array_equal(other.encode_text(TEXTS).tensor(), model.encode_text(TEXTS).tensor())
            for vocab_path in (self.tokenizer, self.tokenizer / "tokenizer.json"):
                other = self.load(FILE, vocab=str(vocab_path))
                np.testing.assert_array_equal(other.encode_text(TEXTS).tensor(), model.encode_text(TEXTS).tensor())
        change(self.tokenizer / "tokenizer.json", model={"type": "Unigram", "vocab": []})
        with self.assertRaisesRegex(libsd.Error, "not CLIP's tokenizer .Unigram"):
            self.load(FILE, vocab=str(self.tokenizer))

    def test_clean(self):
        """Texts as ftfy and html.unescape have them (unit-clean has many more)."""
        for text, cleaned in (
            ("it\u2019s \u201cthe king\u2019s\u201d gold\u2026", "it's \"the king's\" gold\u2026"),
            ("\uff46\uff55\uff4c\uff4c \uff57\uff49\uff44\uff54\uff48", "full width"),
            ("&lt;3 &amp;amp; \ufb01ne caf\u00c3\u00a9", "<3 & fine caf\u00e9"),
            ("a\x1b[1m red\x1b[0m \t boat\ufeff", "a red boat"),
            ("", ""),
        ):
            want = model.encode_text(cleaned).tensor()
            np.testing.assert_array_equal(model.encode_text(text, clean=True).tensor(), want)
            np.testing.assert_array_equal(model.encode_text(cleaned, clean=True).tensor(), want)
            if text:
                self.assertTrue((model.encode_text(text).tensor() != want).any())
        weighted = model.encode_text("a \uff08red:1.3\uff09 \ufb01sh", weighted=True, clean=True).tensor()
        np.testing.assert_array_equal(weighted, model.encode_text("a (red:1.3) fish", weighted=True).tensor())
        with self.assertRaisesRegex(libsd.ArgumentError, "entities within entities"):
            model.encode_text("&" + "amp;" * 500000, clean=True).tensor()

    def test_clean_in_one_call(self):
        init = np.full((RUN["height"], RUN["width"], 3), 99, np.uint8)
        for paint, more in (
            (model.txt2img, ()),
            (model.img2img, (init,)),
            (model.inpaint, (init, np.full_like(init, 255))),
        ):
            pictures = [
                paint(prompt, *more, negative_prompt=negative, clean_prompts=clean, **RUN)
                for prompt, negative, clean in (
                    ("the king's", "\"fog\"", False),
                    ("the king\u2019s", "\u201cfog\u201d", True),
                    ("the king\u2019s", "\u201cfog\u201d", False),
                )
            ]
            np.testing.assert_array_equal(pictures[0], pictures[1])
            self.assertTrue((np.asarray(pictures[0]) != pictures[2]).any())

    def test_what_nothing_acts_on(self):
        """One line a call names it, whatever the syntax; what is acted on, and what is written as
        itself, has none."""
        both = {
            "<lora:x:0.8> a": '"<lora:x:0.8>"',
            "a <LyCO:My Style v2:1:0.5>": '"<LyCO:My Style v2:1:0.5>"',
            "<hypernet:h:.3> a": '"<hypernet:h:.3>"',
        }
        plain = {
            "a [b:c:0.5] d": '"[b:c:0.5]"',
            "a [b::12]": '"[b::12]"',
            "[(b:1.2):c d: 0.5 ]": '"[(b:1.2):c d: 0.5 ]"',
            "a [b|c d|e]": '"[b|c d|e]"',
            "a cat AND a dog": '"AND"',
            "a cat AND\na dog :1.2": '"AND"',
            "[" + "long " * 20 + "|x]": '"[long long',
            "a (b:1.3)": '"(b:1.3)"',
            "a BREAK b": '"BREAK"',
        }
        silent = ["a [b] ((c)) \\[d|e\\]", "sand ANDROID bAND BREAKFAST", "a < b > c: d|e", "[a: b]", ""]
        own = self.load()
        for weighted, asked in ((True, both), (False, {**both, **plain})):
            for text, words in asked.items():
                del self.logged[:]
                own.encode_text(["a", text], weighted=weighted).tensor()
                self.assertEqual(len(self.logged), 1, text)
                self.assertIn(words, self.logged[0])
        del self.logged[:]
        own.encode_text(silent).tensor()
        own.encode_text([*silent, *plain], weighted=True).tensor()
        own.encode_text("A CAT AND A DOG BREAK").tensor()
        self.assertEqual(self.logged, [])
        own.encode_text(["<lora:a:1> [b|c] <lora:a:1>", "<lora:b:1> AND x"]).tensor()
        self.assertEqual(len(self.logged), 1)
        self.assertIn('"<lora:a:1>", "<lora:b:1>" (no LoRA', self.logged[0])
        self.assertIn('"[b|c]"', self.logged[0])

    def test_programs(self):
        """Prompts that change and are combined are what a host makes of their texts."""
        own, run = self.load(), {**RUN, "steps": 4, "method": "ddim"}
        texts = ("a lake", "a hut", "fog")
        a, b, fog = (own.encode_text(text) for text in texts)
        del self.logged[:]
        with own.sampler(**run) as sampler:
            changed = own.encode_text("[a lake:a hut:2]", weighted=True, steps=4)
            made = libsd.Cond.schedule([(a, 0.75), (b, 1)])
            self.assertEqual((len(changed), len(made)), (1, 1))
            np.testing.assert_array_equal(sampler.sample(changed, fog), sampler.sample(made, fog))
            mixed = own.encode_text("a lake AND a hut :0.5", weighted=True, steps=4)
            made = libsd.Cond.combine([(a, 1), (b, 0.5)])
            np.testing.assert_array_equal(sampler.sample(mixed, fog), sampler.sample(made, fog))
            self.assertTrue((sampler.sample(mixed, fog) != sampler.sample(changed, fog)).any())
        self.assertEqual(self.logged, [])
        one = own.work_estimate(**run).step
        self.assertAlmostEqual(own.work_estimate(combined=3, **run).step / one, 2, places=3)
        with self.assertRaisesRegex(libsd.ArgumentError, "the last, is 0.5"):
            libsd.Cond.schedule([(a, 0.5)])
        with self.assertRaises(TypeError):
            libsd.Cond.combine([(None, 1)])
        with self.assertRaises(ValueError):
            libsd.Cond.combine([])

    def test_words_that_no_prompt_has(self):
        width = model.info.text_width
        rows = np.ones((1, width), np.float32)
        for name in ("boat", "lake"):
            write_weights(self.scratch / f"{name}.safetensors", {"emb_params": ("F32", [1, width], rows.tobytes())})
        own = self.load(embeddings={name: self.scratch / f"{name}.safetensors" for name in ("boat", "lake")})
        own.encode_text([""]).tensor()
        own.encode_text(["a red boat by a lake"]).tensor()
        self.assertEqual(self.logged, [])
        own.encode_text(["a red boat", "fog"]).tensor()
        self.assertEqual(len(self.logged), 1)
        self.assertTrue(self.warned("lake.safetensors", 'the word "lake"'), self.logged)
        own.encode_text(["fog"]).tensor()
        own.encode_text(["fog"]).tensor()
        self.assertEqual(len(self.logged), 2)
        self.assertTrue(self.warned("boat.safetensors"))
        del self.logged[:]
        own = self.load(embeddings={"sailor\u2019s \ufb01sh": self.scratch / "boat.safetensors"})
        typed = own.encode_text("a sailor\u2019s \ufb01sh").tensor()
        np.testing.assert_array_equal(own.encode_text("a sailor\u2019s \ufb01sh", clean=True).tensor(), typed)
        np.testing.assert_array_equal(own.encode_text("a sailor's fish", clean=True).tensor(), typed)
        self.assertEqual(self.logged, [])

    def test_embeddings_of_other_models(self):
        def refused(words, **tensors):
            path = self.scratch / "style.safetensors"
            write_weights(path, {k: ("F32", [1, n], bytes(4 * n)) for k, n in tensors.items()})
            with self.assertRaisesRegex(libsd.Error, words):
                self.load(embeddings=[path])

        refused("style.safetensors: an SDXL embedding .clip_l, clip_g", clip_l=768, clip_g=1280)
        refused("SDXL", clip_l=768)
        refused("768 wide, as embeddings for Stable Diffusion 1.x", emb_params=768)
        refused("1024 wide, as embeddings for Stable Diffusion 2.x", style=1024)
        refused("1280 wide.*takes 128: use an embedding", emb_params=1280)
        refused("has shape .1, 99.", emb_params=99)


if __name__ == "__main__":
    main()
