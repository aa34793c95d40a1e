"""Small workflows with subgraphs as ComfyUI's editor saves them, each with its API graph, written by hand."""

from __future__ import annotations

from editor_cases import Case
from editor_graphs import EMPTY, UUID, api, empty, node, primitive, show, shown, subgraph, uses, workflow

BLUR = subgraph(
    *(UUID.format(1), "Blur", {"image": "IMAGE", "radius": "INT", "sigma": "FLOAT"}, {"IMAGE": (71, 0, "IMAGE")}),
    node(
        *(71, "ImageBlur", [3, 1.5]),
        {"image": (-10, 0, "IMAGE"), "blur_radius": (-10, 1, "INT"), "sigma": (-10, 2, "FLOAT")},
        widgets=("blur_radius", "sigma"),
    ),
)
TWICE = subgraph(
    *(UUID.format(2), "Twice", {"image": "IMAGE", "radius": "INT"}, {"IMAGE": (73, 0, "IMAGE")}),
    uses(72, 1, [5, 2.5], {"image": (-10, 0, "IMAGE"), "radius": (-10, 1, "INT")}, widgets=("radius",)),
    uses(73, 1, [6, 3.5], {"image": (72, 0, "IMAGE")}),
)
PASSING = subgraph(UUID.format(3), "Passing", {"image": "IMAGE"}, {"IMAGE": (-10, 0, "IMAGE")})
PROXIED = subgraph(
    *(UUID.format(4), "Proxied", {"image": "IMAGE"}, {"IMAGE": (74, 0, "IMAGE")}),
    node(74, "ImageBlur", [3, 1.5], {"image": (-10, 0, "IMAGE")}),
)
NESTED = subgraph(
    *(UUID.format(5), "Nested", {"image": "IMAGE"}, {"IMAGE": (75, 0, "IMAGE")}),
    uses(75, 4, [7, 2.5], {"image": (-10, 0, "IMAGE")}, proxies=[("74", "blur_radius"), ("74", "sigma")]),
)
MODES = subgraph(
    *(UUID.format(6), "Modes", {"image": "IMAGE"}, {"IMAGE": (78, 0, "IMAGE")}),
    node(76, "ImageBlur", [3, 1.5], {"image": (-10, 0, "IMAGE")}, mode=4),
    node(77, "ImageInvert", [], {"image": (76, 0, "IMAGE")}, mode=2),
    node(78, "ImageInvert", [], {"image": (76, 0, "IMAGE")}),
)


def blur(radius, sigma, origin="1"):
    """Return the API form of the node in `BLUR`."""
    return api("ImageBlur", blur_radius=radius, sigma=sigma, image=[origin, 0])


SUBGRAPH_CASES = [
    Case(
        "a subgraph with promoted widgets, one of them linked",
        workflow(
            empty(1),
            node(2, "Count", [11]),
            uses(5, 1, [9, 4.5]),
            uses(6, 1, [8, 3.5], {"image": (5, 0, "IMAGE"), "radius": (2, 0, "INT")}, widgets=("radius",)),
            show(8, 6),
            uses(9, 1, []),
            subgraphs=[BLUR],
        ),
        {
            "1": EMPTY,
            "2": api("Count", number=11),
            "5:71": blur(9, 4.5),
            "6:71": blur(["2", 0], 3.5, "5:71"),
            "8": shown("6:71"),
            "9:71": blur(3, 1.5),
        },
    ),
    Case(
        "subgraphs in subgraphs",
        workflow(empty(1), uses(2, 2, [15]), show(5, 2), subgraphs=[BLUR, TWICE]),
        {"1": EMPTY, "2:72:71": blur(15, 2.5), "2:73:71": blur(6, 3.5, "2:72:71"), "5": shown("2:73:71")},
    ),
    Case(
        "widgets of inner nodes on the node that uses the subgraph",
        workflow(
            empty(1),
            uses(2, 4, [9], proxies=[("74", "blur_radius")]),
            uses(3, 5, [11], proxies=[("75", "blur_radius")]),
            uses(4, 1, [4.5, 9], proxies=[("-1", "sigma"), ("-1", "radius")]),
            uses(5, 1, [9, 4.5], proxies=[("-1", "radius"), ("71", "sigma")]),
            subgraphs=[BLUR, PROXIED, NESTED],
        ),
        {
            "1": EMPTY,
            "2:74": blur(9, 1.5),
            "3:75:74": blur(11, 2.5),
            "4:71": blur(9, 4.5),
            "5:71": blur(9, 4.5),
        },
    ),
    Case(
        "muted and bypassed nodes in a subgraph",
        workflow(empty(1), uses(2, 6), show(3, 2), subgraphs=[MODES]),
        {"1": EMPTY, "2:78": api("ImageInvert", "Invert Image", image=["1", 0]), "3": shown("2:78")},
        ["left out 1 muted node: 2:77 (ImageInvert)", "bypassed 1 node: 2:76 (ImageBlur)"],
    ),
    Case(
        "muted and bypassed subgraphs",
        workflow(empty(1), uses(2, 4, mode=4), show(3, 2), uses(4, 4, mode=2), show(5, 4), subgraphs=[PROXIED]),
        {"1": EMPTY, "3": shown("1"), "5": api("Show", "Show the Image")},
        ["left out 1 muted node: 4 (Proxied)", "bypassed 1 node: 2 (Proxied)"],
    ),
    Case(
        "a subgraph that passes its input on",
        workflow(empty(1), uses(2, 3), show(3, 2), subgraphs=[PASSING]),
        {"1": EMPTY, "3": shown("1")},
        differs="the editor reports an error",
    ),
    Case(
        "a primitive that gives its value to a widget of a subgraph",
        workflow(
            empty(1),
            primitive(2, 12),
            uses(5, 1, [9, 4.5], {"image": (1, 0, "IMAGE"), "radius": (2, 0, "INT")}),
            subgraphs=[BLUR],
        ),
        {"1": EMPTY, "5:71": blur(12, 4.5)},
        differs="versions of the editor give different values",
    ),
]
