"""Reviews cut into sentences and words, by regular expressions that polars runs over whole columns.

A sentence splitter of our own, because ``pysbd`` cuts about 600 reviews a second and this about 100,000; and because
reviews break the rules such tools know: in Amazon's older files the space after a full stop is often lost.
"""

from __future__ import annotations

import polars as pl

from bench.data.triples.words import Word

__all__ = ["flag", "split_sentences", "tokenise"]

# Stand-ins while cutting (unit and record separator): a place to cut, and a full stop that ends no sentence.
_CUT, _STOP = "\x1f", "\x1e"
_LINE = r"\s*(?:<br\s*/?>|[\r\n]+)\s*"
_TITLE = r"\b((?i:mr|mrs|ms|dr|st|vs|e\.g|i\.e|eg|ie))\.(\s)"
_UNIT = r"\b((?i:etc|approx|oz|lbs?|ft|inc|vol|a\.m|p\.m|max|avg))\.(\s+[\p{Ll}\d])"
_TRAILING_OFF = r"\.{3}(\s*\p{Ll})"
_END = r"""([.!?\x{2026}]+["'\x{201d}\x{2019})\]]*(?:\s*[:;]-?[)D(\]])?)\s+"""
_GLUED = r"""([\p{Ll}\d)][\p{Ll})]?[.!?]+["\x{201d})]*)(\p{Lu}['\x{2019}\p{Ll}\s])"""
_WORD = r"\p{L}[\p{L}'\x{2019}]*(?:-\p{L}+)*|\d+(?:[.,]\d+)*|[^\s\p{L}\d]+"


def split_sentences(texts: pl.Series) -> pl.DataFrame:
    """Cut every text into sentences, as written but for runs of white space, which become one space.

    Returns
    -------
    polars.DataFrame
        ``row`` (UInt32, position in ``texts``) and ``sentence`` (String, stripped, never empty), in reading order.
    """
    # Rust's expressions know no look-around, so that full stops to be kept are swapped for another character and back.
    pieces = (
        pl.col("sentence")
        .str.replace_all(f"[{_CUT}{_STOP}]", " ")
        .str.replace_all(_LINE, _CUT)
        .str.replace_all(_TITLE, f"${{1}}{_STOP}${{2}}")
        .str.replace_all(_UNIT, f"${{1}}{_STOP}${{2}}")
        .str.replace_all(_TRAILING_OFF, f"{_STOP * 3}${{1}}")
        .str.replace_all(_END, f"${{1}}{_CUT}")
        .str.replace_all(_GLUED, f"${{1}}{_CUT}${{2}}")
        .str.split(_CUT)
    )
    table = pl.DataFrame({"sentence": texts.cast(pl.String)}).with_row_index("row").drop_nulls()
    sentence = pl.col("sentence").str.replace_all(_STOP, ".", literal=True)
    return (
        table.with_columns(pieces)
        .explode("sentence")
        .with_columns(sentence.str.replace_all(r"\s+", " ").str.strip_chars())
        .filter(pl.col("sentence").str.len_bytes() > 0)
    )


def tokenise(sentences: pl.Series) -> pl.DataFrame:
    """Cut sentences into words, numbers and runs of punctuation.

    Returns
    -------
    polars.DataFrame
        ``sentence`` (UInt32, position in ``sentences``), ``token`` (String, lower case, straight apostrophes),
        ``first`` (Boolean: of its sentence) and ``title`` (Boolean: one capital, then small letters).
    """
    words = pl.DataFrame({"token": sentences}).with_row_index("sentence")
    flat = words.with_columns(pl.col("token").str.extract_all(_WORD)).explode("token").drop_nulls()
    return flat.with_columns(
        pl.col("token").str.to_lowercase().str.replace_all("\u2019", "'", literal=True),
        (pl.col("sentence") != pl.col("sentence").shift(1)).fill_null(True).alias("first"),
        pl.col("token").str.contains(r"^\p{Lu}[\p{Ll}'\x{2019}]+$").alias("title"),
    )


def flag(tokens: pl.DataFrame, words: dict[str, int]) -> pl.DataFrame:
    """Add ``flags`` (Int32, bits of :class:`Word`) to tokens; punctuation, but for quotation marks, is a break."""
    table = pl.DataFrame(
        {"token": list(words), "flags": list(words.values())}, schema={"token": pl.String, "flags": pl.Int32}
    )
    known = tokens.join(table, on="token", how="left", maintain_order="left")
    punctuation = (
        pl.when(pl.col("token").str.contains(r"""^[^\p{L}\d"\x{201c}\x{201d}]""")).then(int(Word.BREAK)).otherwise(0)
    )
    return known.with_columns(pl.col("flags").fill_null(punctuation.cast(pl.Int32)))
