"""P5: recommendation as text in, id text out, by a T5 encoder-decoder."""
