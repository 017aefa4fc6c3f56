"""SASRec with full cross-entropy, or a loss on drawn negatives, at all positions."""
