"""Feature, opinion and sentence triples of reviews, without a download and without a tagger.

P5 explains with what the Sentires toolkit (Java) found: per review (feature, opinion, sentence, polarity). This package
finds the like with kept tools. ``RECIPE`` says how in a form that can be stored; in words:

1. **Sentences** are cut by regular expressions (``tokens``).
2. **Nouns** are learned from the company words keep in training reviews (``learn.nouns``); **features** are the nouns,
   and pairs of them, that YAKE names as keywords, without brands and without words for time and people.
3. **Opinions** are the words of VADER's lexicon that are no nouns in these reviews, and adjectives that are joined to
   them there ("sturdy and good", ``learn.adjectives``).
4. **Triples** come from a few shapes of clause (``match``), each of which says which noun the opinion is about. "Not"
   and "too" turn the polarity. A verb of perception may be the feature where nothing else is: "it smells wonderful".
5. Of several triples of a review, one is drawn by a hash of (seed, text).

Nothing is learned from reviews other than those given to ``Extractor.learn``: give it training reviews. The polarity is
that of the opinion word, whatever the feature: "light" has one sign for a whole data set.
"""

from bench.data.triples.extractor import RECIPE, Extractor

__all__ = ["RECIPE", "Extractor"]
