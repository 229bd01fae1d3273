"""Why a tagger finds what it finds: what it would find without a word, and what else it might."""
