#!/usr/bin/env python3
"""Writes tests/unit/data/omegaconf.yaml and what OmegaConf.load reads in it, omegaconf.json.

    python3 tests/tools/make_yaml_fixture.py tests/unit/data        (needs omegaconf)

Dates are texts, as OmegaConf has them; infinity and NaN, which JSON has not, are left out.
"""
import json
import os
import sys

import omegaconf

SCALARS = """
0 -0 +7 12 1_000 0x1F -0xff 0X1F 010 0o10 08 00 0b101 -0b11 1:30 190:20:30 1:60 9223372036854775807
1.5 -2.5 +.5 .5 1. 1.e-6 1e-4 1E5 1e+3 -1e-4 1.0e-06 012.5 1_0.5 .5e-3 1.2.3 1e 1e5.0 e5 0x 0b 0x1.5
1- 1_ _1 1__0 2022-08-22 -.5 .5e3 ~ null Null NULL nil true True TRUE yes Yes no No on Off y n
'1' "1e-4" "0x10" 'true' "null" val/loss 1,000 1/2 @x 10k
"""

MORE = """
quoted_escape: "a\\u263a\\n"
single: 'it''s'
folded: >-
  one
  two
literal: |
  one
  two
base: &base {a: 1, b: [1, 2], c: {d: 5}}
same: *base
number: &number 64
list: [*number, &other 3, *other]
merged: {<<: *base, a: 2}
merged_later: {a: 2, <<: *base, e: 3}
merged_list:
  <<: [{a: 1, b: 2}, {b: 3, c: 4}]
  d: 5
merged_twice: {<<: {a: 1, b: 1}, b: 7}
quoted_merge: {"<<": 1}
tagged: [!!str 1, !!int 3, !!float 2.5, !!float "1e3", !!bool yes, !!null '', !!seq [1], !!map {a: 1}]
&key anchored_key: 1
uses: {*key : 2}
redefined: [&r 1, *r, &r2 2, *r2]
model:
  image_size: 32
  channels: ${model.image_size}
  unet:
    in_channels: ${..channels}
    out_channels: ${.in_channels}
    name: unet-${model.image_size}x${.in_channels}
    flag: ${model.flag}
    flag_text: is ${model.flag}
    whole: ${base}
    deep: ${base.c.d}
    item: ${list[0]}
    item_dot: ${list.1}
    pair: ${which.${model.key}}
    chain: ${model.unet.deep}
    nothing: ${model.none}
  flag: true
  none: null
  key: second
which: {first: 1, second: 2}
forward: ${model.unet.whole.b}
real: ${rate}
rate: 1.0e-4
in_list: [1, '${number}', '${.0}']
"""


def main(folder):
    words = [w for w in SCALARS.split() if w != "@x"]
    text = "".join(f"s{i}: {word}\n" for i, word in enumerate(words)) + MORE
    path = os.path.join(folder, "omegaconf.yaml")
    with open(path, "w", encoding="utf-8") as out:
        out.write(text)
    values = omegaconf.OmegaConf.to_container(omegaconf.OmegaConf.load(path), resolve=True)
    with open(os.path.join(folder, "omegaconf.json"), "w", encoding="utf-8") as out:
        json.dump(values, out, indent=1)
        out.write("\n")


if __name__ == "__main__":
    main(sys.argv[1])
