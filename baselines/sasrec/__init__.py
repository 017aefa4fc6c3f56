"""SASRec with full cross-entropy at all positions."""
