"""A stack as a language model: next-token logits, likelihoods of sentences, and texts that are written."""
