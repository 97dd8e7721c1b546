#!/usr/bin/env python3
"""Writes tests/unit/data/float8.txt: the number of each of the 256 codes of torch's float8 types.

usage: make_float8_fixtures.py OUT
"""
import sys

import torch

TYPES = {
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "F8_E4M3FNUZ": torch.float8_e4m3fnuz,
    "F8_E5M2FNUZ": torch.float8_e5m2fnuz,
}

with open(sys.argv[1], "w") as file:
    for name, dtype in TYPES.items():
        codes = torch.arange(256, dtype=torch.int16).to(torch.uint8)
        values = codes.view(dtype).float().tolist()
        file.write(name + " " + " ".join("%.9g" % x for x in values) + "\n")
