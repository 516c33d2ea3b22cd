"""The comparison of networks at equal CPU time: what it trains, keeps and prints."""

import pytest

from benchmarks import networks
from tests.tiny_run import images_in_folders

TINY = {
    "encoder": "tests.tiny_encoder:encoder",
    "image_size": 16,
    "train_batch_size": 8,
    "proj_out_dim": 8,
}


@pytest.mark.slow
@pytest.mark.one_stack
def test_networks_train_as_many_steps_as_their_seconds_allow_and_once(
    tmp_path, monkeypatch, capsys
):
    names = ["auto", "averaged weights"]
    monkeypatch.setattr(networks, "NETWORKS", {"auto": TINY, names[1]: {**TINY, "ema_momentum": 0.9}})  # fmt: skip
    folder = str(tmp_path / "shapes")
    images_in_folders(folder, {"bar": 16, "disc": 16})
    output = str(tmp_path / "out")
    costs = {"shapes": {"auto": 0.25, "averaged weights": 0.5}}
    arguments = ([folder], output, names, [1], [0], "0/1", costs)
    networks.measure(*arguments)
    rows = networks.rows_of(output)
    assert [(row["network"], row["steps"]) for row in rows] == [
        ("auto", 4),
        ("averaged weights", 2),
    ]
    for row in rows:
        assert 0 <= row["figures"]["few_shot_1"] <= 1 and row["seconds"] == 1
    networks.measure(*arguments)
    assert len(networks.rows_of(output)) == 2
    networks.print_tables(rows)
    said = capsys.readouterr().out
    assert "1 CPU seconds" in said
    for row in rows:
        assert f"{networks.accuracy(row['figures']):.3f}" in said
