"""Names of files and classes on terminals and in tables."""

import csv
import io

import pytest

from simclr_tf import names

HOSTILE = [
    "a\nb.jpg",
    "a\tb.jpg",
    "\x1b[2J\x1b]0;title\x07.jpg",
    "\u202egpj.exe",
    "\x9b31m.png",
    "line\u2028separator",
    "caf\udce9",
    "lone\ud800surrogate",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_shown_name_is_one_harmless_line_and_stays_the_same(name):
    text = names.shown(name)
    assert text.isprintable() and len(text.splitlines()) == 1 and text.encode("utf-8")
    assert names.shown(text) == text


def test_names_of_any_script_stay_as_they_are():
    for name in ("Ünï çødé 漢字.jpeg", "هند", "👩\u200d🔬", "a b\\c", "50 % + more"):
        assert names.shown(name) == name


def test_bytes_that_are_no_text_become_escapes():
    assert names.shown(b"caf\xe9") == names.shown("caf\udce9") == "caf\\xe9"
    assert names.as_text("a\nb\udce9") == "a\nb\\xe9"


@pytest.mark.parametrize(
    "name", ["=1+1", "+A1", "-2", "@SUM(A1)", "\t=1", "plain", "a=b", *HOSTILE]
)
def test_a_cell_is_one_row_and_no_formula(name):
    text = io.StringIO()
    csv.writer(text, delimiter="\t", lineterminator="\n").writerow([names.cell(name), "next"])
    assert text.getvalue().count("\n") == 1 and text.getvalue().count("\t") == 1
    assert names.cell(name)[0] not in "=+-@"


def test_many_names_are_counted():
    assert names.listing(["a", "b", "c"], 2) == "a, b and 1 more"
    assert names.listing(["a", "b\n"], 2) == "a, b\\n"


def test_tables_write_names_in_one_cell(tmp_path):
    import numpy as np

    from simclr_tf.embedding.duplicates import write_duplicates
    from simclr_tf.embedding.projector import _metadata
    from simclr_tf.evaluation.results import confusion_csv

    paths = ["=cmd|' /C calc'!A0.jpg", "a\nb\t.jpg"]
    write_duplicates(str(tmp_path / "pairs.tsv"), ([1.0], [0], [1]), paths)
    (_, row) = csv.reader(open(tmp_path / "pairs.tsv", newline=""), delimiter="\t")
    assert row == ["1.000000", "'=cmd|' /C calc'!A0.jpg", "a\\nb\\t.jpg"]
    assert _metadata(paths[1], 0, ("-x\n",)) == "a\\nb\\t.jpg\t'-x\\n"
    table = confusion_csv(np.eye(2), np.arange(2), ("+a", "caf\\xe9"))
    assert table.splitlines() == ["true \\ predicted,'+a,caf\\xe9", "'+a,1,0", "caf\\xe9,0,1"]
