"""A recipe of `teddy pretrain` that is done in a second; its text is in text.txt."""

PRETRAINING = """
name = "encoder"
[pretrain]
name = "bears"
licence = "CC0"
text = ["text.txt"]
objective = "masked"
held_out_every = 12
words = 1000
batch_words = 100
warmup_steps = 2
evaluation_words = 8
[pieces]
vocabulary = 300
[features]
shape_rows = 8
affix_rows = 16
[network]
embedding_width = 8
hidden_width = 4
layers = 1
"""
