#!/usr/bin/env python3
"""contains.py HEARD SAID MS: whether MS milliseconds of SAID stand in HEARD bit for bit (both u-law without a header;
the two zeros of u-law count as one)."""

import sys

heard, said = (open(path, "rb").read().replace(b"\x7f", b"\xff") for path in sys.argv[1:3])
size = int(sys.argv[3]) * 8
windows = (said[at : at + size] for at in range(0, len(said) - size + 1, 160))
if not any(len(set(window)) > 16 and window in heard for window in windows):
    sys.exit(f"{sys.argv[2]} is not heard in {sys.argv[1]} ({len(heard) // 8} ms)")
