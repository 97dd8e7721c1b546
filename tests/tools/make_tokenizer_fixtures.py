#!/usr/bin/env python3
"""Writes the tokenizer's fixtures with transformers' CLIPTokenizer as the judge.

    make_tokenizer_fixtures.py bpe_simple_vocab_16e6.txt.gz tests/unit/data/tokenizer
    make_tokenizer_fixtures.py --added tests/unit/data
    make_tokenizer_fixtures.py --unicode

The first form writes clip_ids.txt (CLIP's own vocabulary), and a small vocabulary trained here on
text of our own: vocab.json, merges.txt and small_ids.txt. Each line of the *_ids.txt has the count of
all ids, a tab, the ids cut to 77, a tab, and the text as ASCII with escapes: \\n, \\\\, \\u{1F600}, and
\\xFF for bytes that are not UTF-8.

The second adds tokens to the small vocabulary that the first form made and writes added/: tokenizer.json
and tokenizer_config.json as transformers saves them, decoder/tokenizer_config.json as transformers 4 did
(beside vocab.json and merges.txt), legacy/added_tokens.json, and the ids of texts with each.

The third asks the judge and libutf8proc about every code point, and prints the tables of
lib/text/unicode.c. Run with transformers 5.23 and tokenizers 0.23.
"""
import collections
import ctypes
import ctypes.util
import gzip
import json
import os
import random
import sys
import unicodedata

TOKENS = 77
START, END = "<|startoftext|>", "<|endoftext|>"


# ---------------------------------------------------------------- vocabularies


def byte_characters():
    """bytes_to_unicode() of GPT-2, in its order."""
    prints = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [b for b in range(256) if b not in prints]
    table = {b: chr(b) for b in prints}
    table.update({b: chr(256 + i) for i, b in enumerate(rest)})
    return table


def vocabulary(merges):
    base = list(byte_characters().values())
    tokens = base + [t + "</w>" for t in base] + ["".join(m) for m in merges] + [START, END]
    return {token: i for i, token in enumerate(tokens)}


def clip_merges(path):
    with gzip.open(path, "rt", encoding="utf-8") as f:
        lines = f.read().split("\n")
    return [tuple(line.split()) for line in lines[1 : 49152 - 256 - 2 + 1]]


def train(text, n):
    """Byte-pair encoding's training: the most frequent pair, the smallest of equals."""
    table = byte_characters()
    words = collections.Counter()
    for word in text.lower().split():
        symbols = [table[b] for b in word.encode()]
        words[tuple(symbols[:-1] + [symbols[-1] + "</w>"])] += 1
    merges = []
    while len(merges) < n:
        pairs = collections.Counter()
        for word, count in words.items():
            for pair in zip(word, word[1:]):
                pairs[pair] += count
        if not pairs:
            break
        best = min(pairs, key=lambda p: (-pairs[p], p))
        if pairs[best] < 2:
            break
        merges.append(best)
        words = collections.Counter(
            {merged: count for merged, count in ((merge(w, best), c) for w, c in words.items())}
        )
    return merges


def merge(word, pair):
    out = []
    for symbol in word:
        if out and (out[-1], symbol) == pair:
            out[-1] += symbol
        else:
            out.append(symbol)
    return tuple(out)


# ---------------------------------------------------------------- texts

SENTENCES = """a photo of a cat sitting on a chair near the window
an oil painting of a lighthouse in a storm, waves breaking on dark rocks
portrait of an old fisherman with a white beard, soft light, 85mm, f/1.8
a castle on a hill at sunrise (highly detailed, 8k), trending
two dogs and three cats aren't playing: they're asleep; it's late
isometric voxel village, snow, warm windows, night
macro shot of a dew drop on a leaf, shallow depth of field
the quick brown fox jumps over the lazy dog
blueprint of a steam engine -- annotated, sepia, 1890s
an astronaut riding a horse on the moon, cinematic
low poly mountain landscape #art @home 100% real $5 & free
watercolour of tulips; no text, no frame, no watermark
Ein kleines Haus am See, über dem die Möwen kreisen, größer als früher
Un château près de la forêt, où l'été n'est jamais loin, cœur brisé
El niño soñó con un dragón: ¿quién sabrá por qué? ¡Nadie!
Il gatto è sul tetto; perché no? città, virtù, lunedì
Um cão não é um gato, mas às vezes os dois dormem no chão
Pchnąć w tę łódź jeża lub ośm skrzyń fig
Příliš žluťoučký kůň úpěl ďábelské ódy
Árvíztűrő tükörfúrógép a ház előtt
Flygande bäckasiner söka hwila på mjuka tuvor, blåbærsyltetøy, þórður
Törkylempijävongahdus ja öljy, sügisöö
Pijamalı hasta yağız şoföre çabucak güvendi, IŞIK ılık İzmir
Zażółć gęślą jaźń, ZAŻÓŁĆ GĘŚLĄ JAŹŃ
Văn bản tiếng Việt có nhiều dấu: một con mèo đang ngủ trưa
Γάτα που κοιμάται στον ήλιο· ΟΔΥΣΣΕΥΣ, Σίσυφος, ς σ Σ
Кошка спит на подоконнике, а Ёж идёт домой. ЩЁЛК!
Їжак і ґава сидять під деревом, щойно зійшло сонце
Љубичаста мачка у ђачкој школи, Ѓорѓи, ѕвезда
Կատուն քնած է պատուհանի մոտ, Եւ և
კატას სძინავს ფანჯარასთან, ᲙᲐᲢᲐ
חתול ישן ליד החלון, שָׁלוֹם עֲלֵיכֶם
قطة نائمة قرب النافذة، السَّلَامُ عَلَيْكُمْ ١٢٣
گربه‌ای کنار پنجره خوابیده است، ۴۵۶
بلی کھڑکی کے پاس سو رہی ہے
बिल्ली खिड़की के पास सो रही है, १२३ क़ ख़
বিড়াল জানালার পাশে ঘুমাচ্ছে, ৪৫৬ ড়
ਬਿੱਲੀ ਖਿੜਕੀ ਕੋਲ ਸੁੱਤੀ ਹੈ
બિલાડી બારી પાસે સૂતી છે
பூனை ஜன்னல் அருகே தூங்குகிறது
పిల్లి కిటికీ దగ్గర నిద్రపోతోంది
ಬೆಕ್ಕು ಕಿಟಕಿಯ ಬಳಿ ಮಲಗಿದೆ
പൂച്ച ജനാലയ്ക്കരികിൽ ഉറങ്ങുന്നു
පූසා ජනේලය ළඟ නිදාගෙන සිටී
แมวนอนหลับอยู่ข้างหน้าต่าง ๑๒๓
ແມວນອນຢູ່ໃກ້ປ່ອງຢ້ຽມ
ကြောင်က ပြတင်းပေါက်နားမှာ အိပ်နေတယ်
ឆ្មាកំពុងដេកនៅក្បែរបង្អួច
བྱི་ལ་སྒེའུ་ཁུང་གི་འགྲམ་ལ་ཉལ་འདུག
ድመቷ በመስኮቱ አጠገብ ተኝታለች
ᎡᏏ ᏪᏌ ᎦᎵᎲ
窓のそばで猫が眠っている。ﾈｺ、カメラ、ガギグゲゴ
一只猫在窗边睡觉，远处有山和湖。
窗邊有一隻貓在睡覺，「你好」，２０２４年
고양이가 창가에서 자고 있다, 한국어 각
ᠮᠤᠤᠷ ᠤᠨᠲᠠᠵᠤ ᠪᠠᠶᠢᠨᠠ
ⵜⴰⵎⵓⵛⵛⵜ ⵜⵟⵟⵙ
𝔞 𝓬𝓪𝓽 𝕆𝕟 𝟜𝟚 ﬁne ﬂour ﬃ Ⅷ ⅷ ½ ¾ ² ³ ①②③ ㊗ ㍻
ǅ Ǆ ǆ ǈ ẞ ß ſ K Å Ω ﬀ Ⓐ ⓐ Ａ ａ 𐐀 𐐨 Ꭰ ꭰ Ა ა"""

WORDS = """red green tiny enormous ancient wooden glass bronze velvet stormy quiet electric
dragon robot teapot bicycle harbour orchard violin lantern glacier sparrow mirror
by in under beside watercolour photograph sketch engraving poster 4k 35mm hdr bokeh
sharp-focus hand-drawn semi-realistic low_poly state-of-the-art it's don't we're they've I'm
you'll he'd cat's CATS' rock'n'roll o'clock y'all ma'am 'tis '90s""".split()

EMOJI = """😀 😂 ❤️ ❤ 👍 👍🏻 👍🏿 👩‍💻 👨‍👩‍👧‍👦 🏳️‍🌈 🏴‍☠️ 🇩🇪 🇯🇵 🇺🇸🇫🇷 🏴󠁧󠁢󠁳󠁣󠁴󠁿 1️⃣ #️⃣ *️⃣ ☺️ ☺︎ ✈️ ⌚
🧑🏽‍🚀 🤷🏼‍♀️ 🐈‍⬛ 🐕‍🦺 👁️‍🗨️ 🫠 🫨 🪿 🧿 🎨 🌅 ★ ☆ ♥ → ⇒ ∑ √ ∞ ≠ € £ ¥ ₹ ₿ © ® ™ § ¶ † • … – — ‘ ’ “ ” « »""".split()

HTML = """<b>bold</b>|<a href="https://example.org/?q=1&amp;r=2#top">link</a>|&lt;cat&gt;|&amp;amp;|&#39;s|
&quot;hi&quot;|<br/>|<!-- note -->|<script>alert('x');</script>|<p class='a b'>it's</p>|a&nbsp;b|
&eacute;|&#x1F600;|<![CDATA[x]]>|{"k": [1, 2.5e-3, null]}|C:\\dir\\file.txt|/usr/lib/x.so.1|
a@b.example|https://example.org/a_b-c/%20?x=y|(((masterpiece)))|[cat:dog:0.5]|(cat:1.3)|{a|b}|<lora:x:1>|
--ar 16:9|__init__|snake_case|camelCase|f(x)=x^2|1,234.56|-273.15°C|12:34:56|2024-02-29|+49 (0)30 1234|
</w>|a</w>b|<w>|Ġcat|cat</w> dog</w>|Ã©|<|>|<||>|<| |>|||""".replace("\n", "").split("|")


def special_texts():
    s, e = START, END
    yield from [s, e, s + e, s + " a cat " + e, "a" + s + "b", "a " + e + " b", e * 3, s.upper(), e.upper()]
    yield from ["<|StartOfText|>", "x<|EndOfText|>y", "!!" + e + "!!", "!!<|ENDOFTEXT|>!!", "<|ENDOFTEXT|>!!"]
    yield from ["<|startoftext", "startoftext|>", "<|startoftext|", "<|endoftext |>", "<<|endoftext|>>"]
    yield from ["e" + e + "\u0301", "cafe" + s + "\u0301", "<|\u017ftartoftext|>", "<|<|endoftext|>|>"]
    yield from ["<|STARTOFTEXT|><|ENDOFTEXT|>", "'<|ENDOFTEXT|>", " <|ENDOFTEXT|> ", "<|endoftext|>'s"]


def contractions():
    for tail in ["s", "t", "re", "ve", "m", "ll", "d", "S", "T", "RE", "Ve", "M", "LL", "D", "x", "l", "r", "v"]:
        for form in ["it'{}", "it '{}", "''{}", "'{}'{}", "!'{}", "1'{}", "'{}ing", "\u2019{}", "it\u2019{}!", "é'{}"]:
            yield form.replace("{}", tail)


def digits():
    zeros = [c for c in range(0x110000) if unicodedata.digit(chr(c), -1) == 0 and unicodedata.category(chr(c)) == "Nd"]
    for zero in zeros:
        yield "".join(chr(zero + d) for d in (1, 9, 8, 4)) + "x" + chr(zero)
    yield from ["0", "007", "3.14159", "1e10", "0x1F", "1st 2nd 3rd", "x2", "2x", "mp3", "１２３", "²³¹", "½¼", "Ⅻ", "一二三"]


def spaces():
    white = [*range(9, 14), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000]
    like_white = [0x180E, 0x200B, 0x200C, 0x200D, 0x2060, 0xFEFF, 0xAD, 0x1C, 0x1D, 0x1E, 0x1F]
    for c in white + like_white:
        yield f"a{chr(c)}b{chr(c)}{chr(c)}!{chr(c)}"
    yield from ["", " ", "   ", "\n", "\t\r\n ", " a", "a ", "  a   b  ", "a\n\n\nb", "\u3000\u3000"]


def controls():
    for c in [*range(1, 32), *range(0x7F, 0xA0)]:
        yield f"a{chr(c)}b {chr(c)}{chr(c)}"


def long_texts():
    yield " ".join(["cat"] * 75)
    yield " ".join(["cat"] * 76)
    yield " ".join(["cat"] * 500)
    yield "a" * 3000
    yield "ab" * 2000
    yield "!" * 777
    yield "?!" * 400
    yield "9" * 300
    yield "\u732b" * 400
    yield "\u0301" * 300
    yield "e" + "\u0323\u0301" * 200
    yield "\u0315\u0334" * 100
    yield "antidisestablishmentarianism" * 60
    yield "\U0001f469\u200d" * 100
    yield "I\u0307" * 120 + "\u0130" * 60


def marks():
    """Normalisation: accents both ways and out of order, Hangul, late additions of Unicode."""
    for c in [*range(0xC0, 0x250, 3), *range(0x1E00, 0x2000, 7)]:
        for form in ("NFC", "NFD"):
            yield unicodedata.normalize(form, chr(c) * 2 + "x")
    for c in (0x212A, 0x212B, 0x2126, 0x340, 0x341, 0x343, 0x344, 0x374, 0x37E, 0x387, 0x958, 0x9DC, 0xFB1D, 0xFB2C,
              0xF900, 0xFA10, 0x2F800, 0x1D15E, 0x1109A, 0x11938, 0x0F73, 0x0FB9, 0x2ADC, 0x1F82, 0x304C, 0x30DD):
        yield "a" + chr(c) + "b" + unicodedata.normalize("NFD", chr(c))
    late = [0x7FD, 0x898, 0x8CA, 0x9FE, 0xC3C, 0xD3B, 0xEBA, 0x1715, 0x1ABF, 0x1ACE, 0x1DF6, 0x1DFA, 0xA82C,
            0x10D24, 0x10EAB, 0x10EFD, 0x10F46, 0x10F82, 0x11070, 0x1133B, 0x1145E, 0x11839, 0x1193D, 0x119E0,
            0x11D42, 0x11D97, 0x11F41, 0x16FF0, 0x1E08F, 0x1E130, 0x1E2AE, 0x1E2EC, 0x1E4EC]
    for c in late:
        yield f"a{chr(c)}\u0334\u0301 {chr(c)}\u0316 e\u0345{chr(c)}\u0323"
    yield from ["\u1100\u1161\u11a8", "\uac00\u11a8", "\uac00\u11a7", "\u1100\u1161\u11a7", "\u1112\u1161\u11ab",
                "\U00011935\U00011930", "a\u0315\u0300\u05ae\u0300", "\u05d0\u05b8\u05bc", "q\u0307\u0323"]


def cases():
    for c in range(0xC0, 0x1F000):
        s = chr(c)
        if s.lower() != s and unicodedata.category(s) in ("Lu", "Lt", "Nl", "So") and c % 5 == 0:
            yield s + "x" + s
    for c in (0x130, 0x3A3, 0x1E9E, 0x1C4, 0x1C5, 0x1C7, 0x1CA, 0x1F1, 0x1F88, 0x1FBC, 0x2126, 0x10A0, 0x13A0, 0x1C90,
              0x1C89, 0xA7CB, 0xA7CC, 0xA7CE, 0xA7D2, 0xA7D4, 0xA7DA, 0xA7DC, 0x10D50, 0x10D65, 0x16EA0, 0x16EB8,
              0x24B6, 0x2160, 0x10400, 0x1E900):
        yield "A" + chr(c) + "b" + chr(c)


def late_characters():
    for c in (0x1C8A, 0xA7CD, 0x105C0, 0x105F3, 0x10D4A, 0x10EC2, 0x11380, 0x113D3, 0x11BC0, 0x13460, 0x143FA, 0x16100,
              0x16D40, 0x18CFF, 0x1E5D0, 0x1E5F0, 0x2EBF0, 0x2EE5D, 0x10D40, 0x116D0, 0x11BF0, 0x16130, 0x16D70,
              0x1CCF0, 0x1E5F1, 0x0378, 0x1C8B, 0x10EC5, 0x1FBFA, 0x31350, 0x323AF):
        yield f"a{chr(c)}b1{chr(c)}!{chr(c)}"


def private():
    for c in (0xE000, 0xF8FF, 0xF0000, 0xFFFFD, 0x100000, 0x10FFFD, 0xFFFE, 0xFFFF, 0x1FFFE, 0x10FFFF, 0xFDD0, 0xFFFC,
              0xFFFD, 0xFE0F, 0xE0001, 0xE0061, 0xE01EF, 0x202E, 0x2066, 0x061C):
        yield f"a{chr(c)}b {chr(c)}"


BROKEN = [b"\xff", b"a\x80b", b"\xc0\xaf", b"\xc3", b"\xc3(", b"\xe2\x82", b"\xe2\x82a", b"\xe2(\xa1", b"\xf0\x9f\x98",
          b"\xf0\x9f\x98a", b"\xf0(\x8c\xbc", b"\xed\xa0\x80", b"\xed\xb0\x80x", b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80",
          b"\xe0\x80\xaf", b"\xf0\x80\x80\xaf", b"\xfe\xfe\xff\xff", b"caf\xe9 au lait", b"\xef\xbb\xbfbom", b"\x80" * 9,
          b"\xe1\x80\xe2\xf0\x91\x92\xf1\xbfA", b"e\xcc\x81\xcc", b"<|endoftext|\xbe", b"\xc3\xa9\xa9"]


def random_texts(r, n):
    assigned = [c for c in range(1, 0x110000) if unicodedata.category(chr(c)) not in ("Cn", "Cs", "Co")]
    small = [c for c in assigned if not 0x3400 <= c < 0xA000 and not 0xAC00 <= c < 0xD7A4 and c < 0x20000]
    mark = [c for c in small if unicodedata.category(chr(c))[0] == "M"]
    anything = [c for c in range(1, 0x110000) if not 0xD800 <= c < 0xE000]
    bits = [START, END, "<|EndOfText|>", "'s", "'LL", " ", "\n", "the", "Cat", "I\u0307", "1", "!", "é", "e\u0301", "\u200d"]
    pools = [(small, 6), (mark, 2), (anything, 2), (range(1, 0x180), 4)]
    for _ in range(n):
        text = ""
        for _ in range(r.randint(1, 9)):
            if r.random() < 0.25:
                text += r.choice(bits)
            else:
                text += chr(r.choice(r.choices([p for p, _ in pools], [w for _, w in pools])[0]))
        yield text


def all_texts():
    """As bytes, without a zero byte, each once."""
    r = random.Random(20240229)
    lines = SENTENCES.split("\n")
    texts = [*lines, *(line.upper() for line in lines), *(line.swapcase() for line in lines)]
    texts += [unicodedata.normalize("NFD", line) for line in lines]
    for line in lines:
        words = line.split()
        texts.append(words[0] + r.choice(EMOJI) + "".join(words[1:3]) + r.choice(HTML))
    texts += ["".join(r.choice([" ", " ", ", "]) + r.choice(WORDS) for _ in range(r.randint(2, 24))) for _ in range(350)]
    texts += [*EMOJI, *(a + b for a, b in zip(EMOJI, EMOJI[1:])), *(f"a {a} {a}{a}b" for a in EMOJI)]
    texts += [*HTML, *WORDS, *(w.upper() for w in WORDS)]
    for make in (special_texts, contractions, digits, spaces, controls, long_texts, marks, cases, late_characters, private):
        texts += make()
    texts += random_texts(r, 700)
    return list(dict.fromkeys([t.encode() for t in texts] + BROKEN))


# ---------------------------------------------------------------- writing


def escape(data):
    out = []
    for c in data.decode("utf-8", "surrogateescape"):
        n = ord(c)
        if 0xDC80 <= n <= 0xDCFF:
            out.append(f"\\x{n - 0xDC00:02X}")
        elif c == "\\":
            out.append("\\\\")
        elif c == "\n":
            out.append("\\n")
        elif 32 <= n < 127:
            out.append(c)
        else:
            out.append(f"\\u{{{n:X}}}")
    return "".join(out)


def judge(merges):
    from transformers import CLIPTokenizer

    return CLIPTokenizer(vocab=vocabulary(merges), merges=merges)


def write_ids(path, tokenizer, texts):
    with open(path, "w") as f:
        for data in texts:
            ids = tokenizer(data.decode("utf-8", "replace")).input_ids
            cut = ids if len(ids) <= TOKENS else ids[: TOKENS - 1] + ids[-1:]
            f.write(f"{len(ids)}\t{' '.join(map(str, cut))}\t{escape(data)}\n")
    print(f"{path}: {len(texts)} texts, {os.path.getsize(path)} bytes")


def write_fixtures(vocabulary_path, out):
    texts = all_texts()
    write_ids(os.path.join(out, "clip_ids.txt"), judge(clip_merges(vocabulary_path)), texts)
    merges = train(SENTENCES + "\n" + " ".join(WORDS), 400)
    with open(os.path.join(out, "vocab.json"), "w") as f:
        json.dump(vocabulary(merges), f, indent=0)
        f.write("\n")
    with open(os.path.join(out, "merges.txt"), "w") as f:
        f.write("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))
    write_ids(os.path.join(out, "small_ids.txt"), judge(merges), texts[::3] + BROKEN)


# ---------------------------------------------------------------- added tokens

# text, normalized, single_word; as tokenizer.add_tokens("<toy>") and AddedToken(...) make them.
ADDED = [("<toy>", True, False), ("<toy>_1", True, False), ("<toy>_2", True, False), ("<toy-big>", True, False),
         ("<Style-X>", True, False), ("sks", True, True), ("[V]", False, False), ("Zo\u00eb", False, False),
         ("caf\u00e9s", True, False), ("two words", True, False), ("RAW", False, True), ("!!", True, False),
         ("<|mask|>", False, False), ("a", False, True), ("photo of", True, True), ("\u732b", True, False)]
LEGACY = {"<toy>": 914, "<Style-X>": 915, "sks": 916, "<toy>_1": 917}
SCRAPS = ["<toy>", "<TOY>", "<Toy>_1", "<toy>_2", "<toy>_3", "<toy-big>", "<toy-bigger>", "<style-x>", "<Style-X>",
          "<STYLE-X>", "sks", "SKS", "sksy", "asks", "sks.", "(sks)", "[V]", "[v]", "Zo\u00eb", "zo\u00eb", "Zoe\u0308",
          "caf\u00e9s", "cafe\u0301s", "CAF\u00c9S", "caf\u00e9sx", "two words", "two  words", "two\nwords", "Two Words",
          "twowords", "RAW", "raw", "RAWx", "\u00e9RAW", "!!", "!!!", "!", "<|mask|>", "<|MASK|>", "<|startoftext|>",
          "<|endoftext|>", "<|ENDOFTEXT|>", "a", "A", "an", "a\u0301", "photo of", "Photo  of", "photo offset", "\u732b",
          "\u732b\u732b", "red", "cat's", "it's", ",", ".", "\u3000", "\t", "-", "_", "1", "\u200d", "<", ">", "\U0001f431"]


def added_texts():
    r = random.Random(7)
    texts = list(SCRAPS)
    for _ in range(900):
        texts.append("".join(r.choice(SCRAPS) + r.choice(["", "", " ", " ", ", "]) for _ in range(r.randint(1, 8))))
    return [t.encode() for t in dict.fromkeys(texts)]


def write_added(data):
    import shutil
    import tempfile

    from transformers import AddedToken, CLIPTokenizer

    out, small = os.path.join(data, "added"), os.path.join(data, "tokenizer")
    for folder in ("decoder", "legacy"):
        os.makedirs(os.path.join(out, folder), exist_ok=True)
    texts = added_texts()
    with open(os.path.join(small, "merges.txt")) as f:
        merges = [tuple(line.split()) for line in f.read().split("\n")[1:] if line]
    tokenizer = judge(merges)
    tokenizer.add_tokens([AddedToken(t, normalized=n, single_word=w) for t, n, w in ADDED])
    tokenizer.pad_token = "!"
    tokenizer.save_pretrained(out)
    tokenizer = CLIPTokenizer.from_pretrained(out)  # which cuts the padding token out of texts, too
    write_ids(os.path.join(out, "added_ids.txt"), tokenizer, texts)
    decoder = {
        str(i): {"content": t.content, "lstrip": t.lstrip, "normalized": t.normalized, "rstrip": t.rstrip,
                 "single_word": t.single_word, "special": t.special}
        for i, t in tokenizer.added_tokens_decoder.items()
    }
    config = {"added_tokens_decoder": decoder, "model_max_length": int(1e30), "pad_token": "!",
              "tokenizer_class": "CLIPTokenizer"}
    with open(os.path.join(out, "decoder", "tokenizer_config.json"), "w") as f:
        json.dump(config, f, indent=1)
        f.write("\n")
    with open(os.path.join(out, "legacy", "added_tokens.json"), "w") as f:
        json.dump(LEGACY, f)
        f.write("\n")
    for folder in ("decoder", "legacy"):
        with tempfile.TemporaryDirectory() as copy:
            for name in ("vocab.json", "merges.txt"):
                shutil.copy(os.path.join(small, name), copy)
            shutil.copytree(os.path.join(out, folder), copy, dirs_exist_ok=True)
            again = CLIPTokenizer.from_pretrained(copy)
        if folder == "legacy":
            write_ids(os.path.join(out, "legacy_ids.txt"), again, texts[::3])
        elif any(again(t.decode()).input_ids != tokenizer(t.decode()).input_ids for t in texts):
            sys.exit("the judge reads decoder/ otherwise than tokenizer.json")


# ---------------------------------------------------------------- the tables of lib/text/unicode.c


class Utf8proc:
    def __init__(self):
        self.lib = ctypes.CDLL(ctypes.util.find_library("utf8proc"))
        self.lib.utf8proc_map.argtypes = [ctypes.c_char_p, ctypes.c_ssize_t, ctypes.POINTER(ctypes.c_void_p), ctypes.c_int]
        self.lib.utf8proc_map.restype = ctypes.c_ssize_t
        self.lib.utf8proc_unicode_version.restype = ctypes.c_char_p
        self.free = ctypes.CDLL(None).free
        self.free.argtypes = [ctypes.c_void_p]

    def nfc(self, text):
        data, out = text.encode(), ctypes.c_void_p()
        n = self.lib.utf8proc_map(data, len(data), ctypes.byref(out), 2 | 8)  # STABLE | COMPOSE
        result = ctypes.string_at(out.value, n).decode()
        self.free(out)
        return result


def ranges(points):
    out = []
    for c in sorted(points):
        if out and out[-1][1] == c - 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return " ".join(f"{{0x{a:04X}, 0x{b:04X}}}," for a, b in out)


def print_unicode():
    from tokenizers import Regex, normalizers

    up = Utf8proc()
    print("libutf8proc has Unicode", up.lib.utf8proc_unicode_version().decode())
    points = [c for c in range(1, 0x110000) if not 0xD800 <= c < 0xE000]
    everything = "".join(map(chr, points))
    categories = {c: up.lib.utf8proc_category(c) for c in points}
    for name, pattern, ours in (("letters", r"\p{L}", range(1, 6)), ("numbers", r"\p{N}", range(9, 12))):
        marked = normalizers.Replace(Regex(pattern), "\0").normalize_str(everything)
        theirs = {c for c, m in zip(points, marked) if m == "\0"}
        own = {c for c in points if categories[c] in ours}
        print(f"new {name}:", ranges(theirs - own), "only utf8proc:", ranges(own - theirs) or "none")
    lower, nfc = normalizers.Lowercase(), normalizers.NFC()
    odd = [(c, lower.normalize_str(chr(c))) for c in points]
    odd = [(c, s) for c, s in odd if s != chr(up.lib.utf8proc_tolower(c))]
    print("lower case:", " ".join(f"{c:04X}>{'+'.join(f'{ord(x):04X}' for x in s)}" for c, s in odd))
    unordered = []
    for c in points:
        # A mark that stays where it is on both sides of marks of the lowest and the highest class.
        tests = [f"a{chr(c)}\u0334", f"a\u0345{chr(c)}"]
        if any(up.nfc(t) != t for t in tests) and all(nfc.normalize_str(t) == t for t in tests):
            unordered.append(c)
    print("barriers (marks):", ranges(unordered))
    pairs = [("\uac00", c) for c in map(chr, range(0x11A7, 0x11C3))]
    for c in points:
        parts = unicodedata.decomposition(chr(c)).split()
        if len(parts) == 2 and parts[0][0] != "<":
            pairs.append(tuple(chr(int(p, 16)) for p in parts))
    for a, b in pairs:
        if nfc.normalize_str(a + b) != up.nfc(a + b):
            print(f"barrier: U+{ord(b):04X} after U+{ord(a):04X}")


if __name__ == "__main__":
    if sys.argv[1:] == ["--unicode"]:
        print_unicode()
    elif len(sys.argv) == 3 and sys.argv[1] == "--added":
        write_added(sys.argv[2])
    elif len(sys.argv) == 3:
        write_fixtures(sys.argv[1], sys.argv[2])
    else:
        sys.exit(__doc__)
