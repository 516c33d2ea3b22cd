"""What a study is: rows (runs), cells (figures of a run) and findings (what the paper says)."""

import dataclasses
from typing import Any, Callable, Dict, Mapping, Tuple

Place = Tuple[str, str]
"""(row, column) of a table."""


@dataclasses.dataclass(frozen=True)
class Measure:
    """Where a figure comes from.

    Attributes:
        mode: the evaluation that measures it; "" is the run itself.
        keys: where it stands in results.json of that mode.
        settings: of the evaluation.
        percent: whether it is a share, which tables show times 100.
    """

    mode: str
    keys: Tuple[str, ...]
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    percent: bool = True


@dataclasses.dataclass(frozen=True)
class Row:
    """One run of a study.

    Attributes:
        name: of its folder.
        settings: those that the study sets beside the scale's.
        cells: {place in the table: Measure}.
        mode: "pretrain", or "finetune" for a training from random weights with all labels.
    """

    name: str
    settings: Mapping[str, Any]
    cells: Mapping[Place, Measure]
    mode: str = "pretrain"


@dataclasses.dataclass(frozen=True)
class Finding:
    """A sentence of the paper: the mean of some cells is above that of others."""

    sentence: str
    better: Tuple[Place, ...]
    worse: Tuple[Place, ...]


@dataclasses.dataclass(frozen=True)
class Plan:
    """A study at one scale.

    Attributes:
        rows: in the order in which they run.
        findings: what can be looked for in them.
        corner: what the rows of the table are.
    """

    rows: Tuple[Row, ...]
    findings: Tuple[Finding, ...] = ()
    corner: str = ""

    @property
    def places(self) -> Tuple[Place, ...]:
        """Every cell of the table, in the order of the rows."""
        return tuple(dict.fromkeys(place for row in self.rows for place in row.cells))


@dataclasses.dataclass(frozen=True)
class Scale:
    """How much a study may cost.

    Attributes:
        name: tiny, small or paper.
        pretrain: settings of a pretraining.
        supervised: settings of a training with labels from random weights.
        main: Measure of a pretrained encoder.
        words: what `main` is, for the table.
        digits: whether the images are the embedded digits.
        evaluation: settings of the evaluations, by mode.
    """

    name: str
    pretrain: Mapping[str, Any]
    supervised: Mapping[str, Any]
    main: Measure
    words: str
    digits: bool
    evaluation: Mapping[str, Mapping[str, Any]]

    def pick(self, tiny: Any, small: Any, paper: Any) -> Any:
        """The value of this scale."""
        return {"tiny": tiny, "small": small, "paper": paper}[self.name]


@dataclasses.dataclass(frozen=True)
class Study:
    """One study of the paper.

    Attributes:
        name: what `--study` calls it.
        title: in words.
        source: where it is in the paper.
        make: function from a Scale to its Plan.
        paper: {place: number of the paper} in the paper's own rows and columns.
        kind: "heat" is drawn as a heat map, "bars" as bars.
        note: what the reader must know, or "".
    """

    name: str
    title: str
    source: str
    make: Callable[[Scale], Plan]
    paper: Mapping[Place, float]
    kind: str = "bars"
    note: str = ""


def grid(text: str) -> Dict[Place, float]:
    """{(row, column): number} of a table: a line of columns, then one a row; - is no number.

    Cells are separated by |.
    """
    lines = [[cell.strip() for cell in line.split("|")] for line in text.strip().splitlines()]
    columns = lines[0][1:]
    found = {}
    for name, *cells in lines[1:]:
        for column, cell in zip(columns, cells):
            if cell not in ("", "-"):
                found[name, column] = float(cell)
    return found
