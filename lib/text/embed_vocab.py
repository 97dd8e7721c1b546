"""Turns CLIP's bpe_simple_vocab_16e6.txt[.gz] into a C array: embed_vocab.py VOCABULARY OUT.c

Only the header and the merges that CLIP uses are kept, packed again."""
import gzip
import sys

N_MERGES = 49152 - 256 - 2

with open(sys.argv[1], "rb") as f:
    data = f.read()
if data[:2] == b"\x1f\x8b":
    data = gzip.decompress(data)
lines = data.split(b"\n")[: 1 + N_MERGES]
if b"#version" not in lines[0] or any(len(line.split(b" ")) != 2 for line in lines[1:] if line):
    sys.exit(f"{sys.argv[1]}: this is not a list of merges as bpe_simple_vocab_16e6.txt is")
packed = gzip.compress(b"\n".join(lines) + b"\n", 9, mtime=0)
with open(sys.argv[2], "w") as f:
    f.write('#include "text/vocab.h"\n\n')
    f.write("const unsigned char sdi_builtin_vocab[] = {\n")
    for i in range(0, len(packed), 24):
        f.write(",".join(map(str, packed[i : i + 24])) + ",\n")
    f.write(f"}};\nconst size_t sdi_builtin_vocab_size = {len(packed)};\n")
