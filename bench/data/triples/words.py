"""Small closed classes of English words, and the opinion words of VADER's lexicon."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntFlag

import numpy as np
from numpy.typing import NDArray

from bench.errors import MissingInputError

__all__ = [
    "CLOSED",
    "FUNCTION",
    "LY_ADJECTIVES",
    "NO_FEATURES",
    "NO_NOUNS",
    "SUPERLATIVES",
    "Word",
    "has",
    "opinion_words",
]


class Word(IntFlag):
    """What a word can be; decides which nouns an opinion may be about."""

    BREAK = 1  # ends a clause: conjunctions, punctuation
    DETERMINER = 2
    ARTICLE = 4  # determiners that only a noun phrase follows
    PREPOSITION = 8
    OBJECT = 16  # prepositions that psych opinions take: "happy with the sound"
    PRONOUN = 32
    LINK = 64  # ties a subject to what is said of it: "the case is sturdy", "the strings sound great"
    ASPECT = 128  # links that name an aspect themselves: "smells great"
    VERBAL = 256  # other words that stand before verbs and adjectives
    NEGATION = 512
    EXCESS = 1024  # "too bright"
    PSYCH = 2048  # opinions whose object follows a preposition
    TRANSITIVE = 4096  # opinions whose object follows directly: "love this smell"
    LIKE = 8192  # an opinion after "I" or "really", else a preposition
    BEFORE_LIKE = 16384
    ADVERB = 32768  # opinions on how something is done: "works perfectly"
    GOOD = 65536
    BAD = 131072
    NOUN = 262144  # learned
    WEAK = 524288  # learned: nouns only in a noun's place
    FEATURE = 1048576  # learned
    PERSON = 2097152  # pronouns for people: "I feel great" speaks of no product
    ONLY = 4194304  # takes a negation back: "not only great"
    WITHIN = 8388608  # "of": what follows can still be the subject
    JOINING = 16777216  # "and", "or", a comma: may stand between two adjectives
    DEGREE = 33554432  # words before an adjective: "very"
    MODAL = 67108864  # words before a verb: "to", "will"


#: Words that carry no content of their own.
FUNCTION = (
    Word.BREAK | Word.DETERMINER | Word.PREPOSITION | Word.PRONOUN | Word.LINK | Word.VERBAL | Word.NEGATION
)  # fmt: skip

_CLASSES: Mapping[Word, str] = {
    Word.BREAK: """and or but nor yet so although though however because since unless until whereas while which who
        whom whose that what where when how why if than as plus except whether otherwise therefore then once etc ,""",
    Word.DETERMINER: """the a an this that these those my your his her its our their some any each every another no
        such all both""",
    Word.ARTICLE: "the a an my your his its our their",
    Word.PREPOSITION: """of in on at by for with from to into onto over under about after before between through
        during against within without across behind beside near off out up down per around along inside outside upon
        via despite""",
    Word.OBJECT: "with by in about of",
    Word.PRONOUN: """i you he she it we they me him them us myself yourself itself i'm i've i'd i'll you're you've
        you'd you'll he's she's it's it'd it'll we're we've we'd we'll they're they've they'd they'll im ive there
        there's that's here let's someone anyone everyone everybody nobody somebody anybody everything something
        anything nothing""",
    Word.LINK: """is are was were be been being am isn't aren't wasn't weren't it's that's they're seems seem seemed
        sounds sounded looks looked feels felt smells smelled tastes tasted works worked fits fitted performs
        performed stays stayed remains remained became becomes become gets got turned runs holds held plays played
        arrived came comes sound look feel smell taste work fit play stay""",
    Word.ASPECT: "sound sounds look looks feel feels smell smells taste tastes fit fits",
    Word.WEAK: "sound look feel smell taste work fit play",
    Word.PERSON: "i you we he she me him her us myself i'm",
    Word.ONLY: "only just",
    Word.WITHIN: "of",
    Word.JOINING: "and or ,",
    Word.DEGREE: "very too really quite so more pretty super extremely incredibly rather fairly bit",
    Word.MODAL: "to can could will would should may might must do does did don't doesn't didn't can't won't",
    Word.VERBAL: """can could will would shall should may might must do does did have has had can't couldn't won't
        wouldn't shouldn't don't doesn't didn't haven't hasn't hadn't very too really quite so more most less rather
        fairly extremely incredibly super pretty always often usually just only even still already almost actually
        definitely absolutely highly truly completely totally way much also be been being is are was were seems looks
        sounds feels to gonna wanna let lets""",
    Word.NEGATION: """no not never none neither nor nothing nowhere nobody cannot without hardly barely rarely seldom
        aint lacks lacked lacking dont doesnt didnt isnt wasnt cant couldnt wont wouldnt ain't can't couldn't won't
        wouldn't shouldn't don't doesn't didn't haven't hasn't hadn't isn't aren't wasn't weren't""",
    Word.EXCESS: "too",
    Word.PSYCH: """happy happier unhappy pleased satisfied dissatisfied impressed unimpressed disappointed thrilled
        delighted annoyed excited amazed frustrated glad""",
    Word.TRANSITIVE: """love loved loves loving like liked likes enjoy enjoyed enjoying enjoys hate hated hates
        dislike disliked adore adored appreciate appreciated recommend recommended prefer trust""",
    Word.LIKE: "like",
    Word.BEFORE_LIKE: """i we they you he she really do don't didn't doesn't did does not also especially particularly
        still always""",
    Word.ADVERB: "well better best",
}


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _closed() -> dict[str, Word]:
    flags: dict[str, Word] = {}
    for kind, words in _CLASSES.items():
        for word in words.split():
            flags[word] = flags.get(word, Word(0)) | kind
    return flags


#: Every word of a closed class, lower case, with all its classes.
CLOSED: Mapping[str, Word] = _closed()

#: Words that look like nouns by their company and are not, or measure out other nouns ("a bit stiff").
NO_NOUNS = _set("""
    bit little lot few couple same other others own first last next only second least most single main whole
    entire extra overall usual particular one ones two three four five half such very old new big large long
    short high low hard dark black white red blue green gold silver pink purple yellow orange brown grey gray
""")

#: Nouns that name no aspect of a product or a place: time, people, talk about the review or the purchase.
NO_FEATURES = _set("""
    time times day days week weeks month months year years hour hours minute minutes moment today yesterday
    tomorrow night morning evening weekend people person guy guys man men woman women girl girls boy boys kid
    kids child children husband hubby wife son daughter mom mother dad father sister brother friend friends
    family thing things stuff lots way ways kind sort type types bunch number rest end part parts side sides
    reason reasons fact idea point problem problems issue issues question choice choices decision
    review reviews reviewer reviewers star stars opinion opinions amazon order orders purchase purchases buy try
    use uses need needs want hope thanks place world life job deal difference amount experience result results
    condition luck money gift gifts past future beginning middle top bottom front back left right market
    internet web website site christmas birthday fan fans bang buck bucks
""")

#: Opinions that only an article announces, so that their company is that of a noun.
SUPERLATIVES = _set("best worst greatest nicest finest easiest favorite favourite fav")

#: Opinions in -ly that are adjectives.
LY_ADJECTIVES = _set("lovely friendly ugly silly heavenly costly lively deadly lonely smelly")

# Words of the lexicon that, in reviews, say nothing of a thing's worth: intensifiers, politeness, comments on the
# sentence, events, and words of another trade ("fire", "drop").
_NO_OPINIONS = _set("""
    pretty super no yes yeah please thanks thank sure hope hopes hoped hoping hopefully want wants wanted wish
    wished help helps helped helping number share shared sharing cut cuts cutting hand certain certainly sorry
    save saved saving matter matters natural normal stop stopped alone kind haha lol god gods guess active agree
    agreed accept accepted won win wins winning party parties lost lose losing leave leaves dear dead drop
    dropped drag straight ease eased care careful carefully chance challenge challenged forgot forget forgotten
    hey huge significant true truly definitely definite demand dare doubt wow worry worries worried surprised
    surprise surprising surprisingly supposed top trying limited miss missed missing pay paid relax resolve
    resolved shock shocked solution solutions support supported supports desire desired determine determined
    exploring grand greet granted admit admits protected protect protects vision free increase increased fire
    fired lower low honest honestly unfortunately luckily thankfully sadly clearly importantly fortunately
    strongly seriously interested ready wise original giving allow allows allowed create created kill killed
    crash cry screwed block cheers cares skeptical suspect convinced argue tired capable worth worthy easily
    greatly warning tops play playing played plays fit interest interesting novel creative heart okay ok fine
    alright
""")

_WEAKEST = 0.5  # mean valence; the lexicon's scale is -4 to 4


def has(flags: NDArray[np.int32], kind: Word) -> NDArray[np.bool_]:
    """Whether each word is of (one of) the given classes."""
    held: NDArray[np.bool_] = (flags & np.int32(kind)) != 0
    return held


def opinion_words() -> dict[str, int]:
    """Words of VADER's lexicon (Hutto & Gilbert, 2014) that say good (+1) or bad (-1) of a thing.

    Raises
    ------
    MissingInputError
        The package is not installed.
    """
    try:
        from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer
    except ImportError:
        raise MissingInputError("opinion words need vaderSentiment: pip install 'llm-rec-bench[text]'") from None
    lexicon: dict[str, float] = SentimentIntensityAnalyzer().lexicon
    return {
        word: 1 if valence > 0 else -1
        for word, valence in lexicon.items()
        if abs(valence) >= _WEAKEST and len(word) > 2 and word.isascii() and word.isalpha() and word not in _NO_OPINIONS
    }
