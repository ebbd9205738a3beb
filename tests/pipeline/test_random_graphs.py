"""Any graph gives what evaluating it by hand gives, whatever the order of the file."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from cuvis_ai_schemas.pipeline import PortSpec
from hypothesis import given
from hypothesis import strategies as st

from cuvis_ai_core.node import ArrayNode
from cuvis_ai_core.pipeline import Pipeline


class Weigh(ArrayNode):
    """A weight times one plus the sum of the inputs."""

    INPUT_SPECS: ClassVar[Mapping[str, Any]] = {
        "terms": {"dtype": np.int64, "shape": (2,), "optional": True, "variadic": True}
    }
    OUTPUT_SPECS: ClassVar[Mapping[str, Any]] = {"total": PortSpec(dtype=np.int64, shape=(2,))}

    def __init__(self, weight: int, **base: Any) -> None:
        super().__init__(weight=weight, **base)

    def forward(self, terms: Any = ()) -> dict[str, Any]:
        """Return the product."""
        return {"total": np.asarray(self.hparams["weight"] * (1 + sum(terms)) * np.ones(2, dtype=np.int64))}


class OneClass:
    """A registry that knows one class."""

    def get(self, name: str) -> type:
        """Return it, whatever the name."""
        return Weigh


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, Any]:
    """Pipeline files of up to eight nodes, each fed by any of those before it, nodes and edges shuffled."""
    count = draw(st.integers(1, 8))
    pairs = [(source, target) for target in range(count) for source in range(target)]
    chosen = draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []
    nodes = [
        {"name": f"n{number}", "class_name": "Weigh", "params": {"weight": draw(st.integers(-3, 3))}}
        for number in draw(st.permutations(range(count)))
    ]
    edges = [{"source": f"n{source}.total", "target": f"n{target}.terms"} for source, target in chosen]
    return {"nodes": nodes, "edges": edges}


def by_hand(config: dict[str, Any]) -> dict[str, int]:
    """Evaluate a graph without the pipeline: nodes are numbered so that sources come first."""
    totals: dict[str, int] = {}
    for node in sorted(config["nodes"], key=lambda node: str(node["name"])):
        sources = [edge["source"] for edge in config["edges"] if edge["target"] == f"{node['name']}.terms"]
        terms = sum(totals[source.partition(".")[0]] for source in sources)
        totals[node["name"]] = node["params"]["weight"] * (1 + terms)
    return totals


@given(graphs())
def test_a_graph_gives_what_its_evaluation_by_hand_gives(config: dict[str, Any]) -> None:
    """Every node runs once, after all that feed it."""
    registry: Any = OneClass()
    pipeline = Pipeline.from_dict(config, node_registry=registry)
    for edge in pipeline.edges:
        assert pipeline.order.index(edge.source) < pipeline.order.index(edge.target)
    answer = pipeline.forward({})
    assert {node: int(value[0]) for (node, _), value in answer.items()} == by_hand(config)


def test_a_chain_may_be_as_long_as_it_likes() -> None:
    """Nothing recurses: three thousand nodes in a row."""
    length = 3000
    registry: Any = OneClass()
    nodes = [{"name": f"n{number}", "class_name": "Weigh", "params": {"weight": 1}} for number in range(length)]
    edges = [{"from": f"n{number}.total", "to": f"n{number + 1}.terms"} for number in range(length - 1)]
    answer = Pipeline.from_dict({"nodes": nodes, "edges": edges}, node_registry=registry).forward({})
    assert answer[f"n{length - 1}", "total"][0] == length
