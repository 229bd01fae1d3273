"""How a tagger is made: corpora and recipes in, measured model files out."""

import os

# Asks the kernel for memory in pages of 2 MB, where it has them; torch reads this before its first tensor. The
# gradient of an embedding is as large as the embedding and lives for one update: in pages of 4 KB, fetching and
# clearing them was more than half of the backward pass of a bag of words (75,000 rows of 128: 223 ms, and 87 with
# this, on a busy machine). Letting the C library keep freed blocks was as fast, and grew to 5 GB within an hour.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
