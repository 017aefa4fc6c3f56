from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from bench.data.card import Reading
from bench.data.content import Content
from bench.data.readers.base import Ask, Rows
from bench.data.readers.movielens import read_interactions, read_items
from bench.errors import DataError

# Lines as GroupLens' READMEs describe them; the second film is latin-1 in 100K, the third has no known genre.
GENRES_100K = {"Animation": 3, "Children's": 4, "Comedy": 5, "unknown": 0, "Western": 18}


def film(item: str, title: str, *genres: str) -> str:
    flags = ["0"] * 19
    for genre in genres:
        flags[GENRES_100K[genre]] = "1"
    return "|".join([item, title, "01-Jan-1995", "", "http://us.imdb.com/M/title-exact?x", *flags])


FILMS_100K = "\n".join(
    [
        film("1", "Toy Story (1995)", "Animation", "Children's", "Comedy"),
        film("543", "Misérables, Les (1995)", "Western"),
        film("267", "unknown", "unknown"),
        film("4", "Land, The: Giving (1994) (V)"),
    ]
)
FILMS_1M = (
    "1::Toy Story (1995)::Animation|Children's|Comedy\n"
    "2::Misérables, Les (1995)::Drama\n3::2001: A Space Odyssey (1968)::(no genres listed)"
)


def read(function, folder: Path, raw: bytes, *, columns=None, drop=False, **reading) -> tuple[pl.DataFrame, Rows]:
    path = folder / "ml"
    path.write_bytes(raw)
    content = Content(path)
    rows = Rows(content, drop=drop)
    return pl.concat(function(content, Ask(columns or {}, Reading(**reading)), rows)), rows


@pytest.mark.parametrize("separator", ["\t", "::"])
def test_ratings_of_both_sizes(tmp_path, separator):
    lines = [["196", "242", "3", "881250949"], ["186", "302", "4.5", "891717742"]]
    table, rows = read(read_interactions, tmp_path, "\r\n".join(separator.join(line) for line in lines).encode())
    assert table.rows() == [("196", "242", 3.0, 881250949), ("186", "302", 4.5, 891717742)]
    assert table.schema == {"user_id": pl.String, "item_id": pl.String, "rating": pl.Float32, "time": pl.Int64}
    assert rows.read == 2


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_films_of_100k(tmp_path, encoding):
    table, _ = read(read_items, tmp_path, FILMS_100K.encode(encoding))
    assert table.rows() == [
        ("1", "Toy Story (1995)", ["Animation", "Children's", "Comedy"], "1995"),
        ("543", "Misérables, Les (1995)", ["Western"], "1995"),
        ("267", "unknown", None, None),
        ("4", "Land, The: Giving (1994) (V)", None, "1994"),
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_films_of_1m(tmp_path, encoding):
    table, _ = read(read_items, tmp_path, FILMS_1M.encode(encoding))
    assert table.rows() == [
        ("1", "Toy Story (1995)", ["Animation", "Children's", "Comedy"], "1995"),
        ("2", "Misérables, Les (1995)", ["Drama"], "1995"),
        ("3", "2001: A Space Odyssey (1968)", None, "1968"),
    ]


GOOD = "1::2::3::10\n"
GOOD_FILM = "1::Toy Story (1995)::Comedy\n"


@pytest.mark.parametrize(
    ("function", "text", "said", "reason"),
    [
        (
            read_interactions,
            GOOD + "1::2::3\n",
            "row 2: 3 fields where a line of ratings.dat has 4",
            "wrong number of fields",
        ),
        (
            read_interactions,
            GOOD + "1\t2\t3\t4\n",
            "row 2: 1 fields where a line of ratings.dat has 4",
            "wrong number of fields",
        ),
        (read_interactions, GOOD + "::2::3::4\n", "row 2, column 'user': empty id", "empty id"),
        (
            read_interactions,
            GOOD + "1::2::x::4\n",
            "row 2, column 'rating': 'x' is not a finite number",
            "rating is not a finite number",
        ),
        (
            read_interactions,
            GOOD + "1::2::3::1.5\n",
            "column 'time': '1.5' is not a whole",
            "time is not a whole number of seconds",
        ),
        (read_items, GOOD_FILM + GOOD_FILM, "row 2: item '1' stands on row 1 already", "repeated item"),
        (
            read_items,
            GOOD_FILM + "2::x\n",
            "row 2: 2 fields where a line of movies.dat has 3",
            "wrong number of fields",
        ),
        (
            read_items,
            FILMS_100K + "\n" + film("9", "T").replace("|0|", "|2|", 1),
            "row 5: a genre flag is not 0 or 1",
            "genre flag is not 0 or 1",
        ),
    ],
)
def test_bad_lines_are_told_or_counted(tmp_path, function, text, said, reason):
    with pytest.raises(DataError, match="ml, row") as caught:
        read(function, tmp_path, text.encode())
    assert said in str(caught.value)
    table, rows = read(function, tmp_path, text.encode(), drop=True)
    assert rows.dropped == {reason: 1}
    assert rows.read == table.height + 1


def test_other_files_are_told_apart(tmp_path):
    with pytest.raises(DataError, match=r"row 1: 'userId,movieId,rating,timestamp' has neither 4 fields between '::'"):
        read(read_interactions, tmp_path, b"userId,movieId,rating,timestamp\n1,2,3,4\n")
    with pytest.raises(DataError, match="files with a header are read by 'table'"):
        read(read_items, tmp_path, GOOD.encode())
    with pytest.raises(DataError, match="no columns to map"):
        read(read_interactions, tmp_path, GOOD.encode(), columns={"user": "u"})
    with pytest.raises(DataError, match="the file is empty"):
        read(read_items, tmp_path, b"\n")
