"""The fake DAG: numbers -> offset; squares.plain and squares.shifted, two nodes of one stage; report."""

from pathlib import Path

from stages.plan.dag import Node

PRESET = str(Path(__file__).parent / "fake.yaml")

NODES = (
    Node("numbers", "tests.fakes.numbers", "numbers"),
    Node("offset", "tests.fakes.offset", "offset", {"numbers": "numbers"}),
    Node("squares.plain", "tests.fakes.squares", "squares", {"numbers": "numbers"}),
    Node("squares.shifted", "tests.fakes.squares", "squares", {"numbers": "numbers", "offset": "offset"}),
    Node("report", "tests.fakes.report", "report", {"plain": "squares.plain", "shifted": "squares.shifted"}),
)
