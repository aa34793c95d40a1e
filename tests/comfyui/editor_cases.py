"""Small workflows as ComfyUI's editor saves them, each with its API graph, written by hand."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from editor_graphs import EMPTY, IMAGE, IMAGE_OF_1, api, canvas, empty, node, primitive, show, shown, workflow


@dataclass
class Case:
    """A workflow of the editor and its API graph.

    Attributes
    ----------
    notes
        The notes of the conversion.
    differs
        Why the editor itself makes another graph; empty if it makes the same.
    """

    name: str
    editor: dict[str, Any]
    api: dict[str, Any]
    notes: list[str] = field(default_factory=list)
    differs: str = ""


_INK = {"on": True, "lora": "ink.safetensors", "strength": 0.8, "strengthTwo": None}
_WASH = {"on": False, "lora": "wash.safetensors", "strength": 1}

CASES = [
    Case(
        "positional values, with the control of a seed",
        workflow(
            node(4, "CheckpointLoaderSimple", ["a.safetensors"]),
            node(5, "EmptyLatentImage", [512, 768, 1]),
            node(6, "CLIPTextEncode", ["ein Bär im Wald, 森の熊 🐻"], {"clip": (4, 1, "CLIP")}, title="Prompt, größer"),
            node(
                *(3, "KSampler", [42, "randomize", 20, 7.5, "euler", "normal", 1]),
                {
                    "model": (4, 0, "MODEL"),
                    "positive": (6, 0, "CONDITIONING"),
                    "negative": (6, 0, "CONDITIONING"),
                    "latent_image": (5, 0, "LATENT"),
                },
            ),
            node(8, "VAEDecode", [], {"samples": (3, 0, "LATENT"), "vae": (4, 2, "VAE")}),
            node(9, "SaveImage", ["ComfyUI"], {"images": (8, 0, "IMAGE")}),
        ),
        {
            "4": api("CheckpointLoaderSimple", "Load Checkpoint", ckpt_name="a.safetensors"),
            "5": api("EmptyLatentImage", "Empty Latent Image", width=512, height=768, batch_size=1),
            "6": api("CLIPTextEncode", "Prompt, größer", text="ein Bär im Wald, 森の熊 🐻", clip=["4", 1]),
            "3": api(
                "KSampler",
                seed=42,
                steps=20,
                cfg=7.5,
                sampler_name="euler",
                scheduler="normal",
                denoise=1,
                model=["4", 0],
                positive=["6", 0],
                negative=["6", 0],
                latent_image=["5", 0],
            ),
            "8": api("VAEDecode", "VAE Decode", samples=["3", 0], vae=["4", 2]),
            "9": api("SaveImage", "Save Image", filename_prefix="ComfyUI", images=["8", 0]),
        },
    ),
    Case(
        "values by name",
        workflow(node(1, "Roll", {"sides": 20, "preview": {"hidden": True}}), show(2, 1)),
        {"1": api("Roll", noise_seed=1, sides=20), "2": shown("1")},
        differs="an extension reads them, not the editor itself",
    ),
    Case(
        "a converted widget keeps its position, and its link takes precedence",
        workflow(
            node(1, "Count", [8]),
            node(2, "EmptyImage", [64, 32, 1, 255], {"height": (1, 0, "INT")}, widgets=("height",)),
            show(3, 2),
        ),
        {
            "1": api("Count", number=8),
            "2": api("EmptyImage", width=64, height=["1", 0], batch_size=1, color=255),
            "3": shown("2"),
        },
    ),
    Case(
        "missing values are the defaults of the class, and surplus ones are ignored",
        workflow(node(1, "Roll"), node(2, "Roll", [5, "fixed", 20, "image", 3])),
        {"1": api("Roll", noise_seed=1, sides=6), "2": api("Roll", noise_seed=5, sides=20)},
    ),
    Case(
        "a seed without a control",
        workflow(node(1, "Plain", [5, 20])),
        {"1": api("Plain", seed=5, sides=20)},
    ),
    Case(
        "the controls of a choice",
        workflow(node(1, "Cycle", ["green", "fixed", "", 0.5])),
        {"1": api("Cycle", word="green", strength=0.5)},
    ),
    Case(
        "a list as the value of a widget",
        workflow(node(1, "Words", [["red", "blue"], "end"])),
        {"1": api("Words", words={"__value__": ["red", "blue"]}, last="end")},
    ),
    Case(
        "values of inputs that take only links, from an older editor",
        workflow(node(1, "Forced", ["old", 9, True, "green", 2.5]), node(2, "Forced", [9, True, "green", 2.5])),
        {
            "1": api("Forced", steps=9, on=True, word="green", number=2.5),
            "2": api("Forced", steps=9, on=True, word="green", number=2.5),
        },
    ),
    Case(
        "the upload button follows all inputs",
        workflow(node(1, "Upload", ["b.png", 9, "image"])),
        {"1": api("Upload", image="b.png", size=9)},
    ),
    Case(
        "the controls of choices that the server lists elsewhere",
        workflow(node(1, "Remote", ["m.bin", False, "refresh", "n.bin", False, 9])),
        {"1": api("Remote", model="m.bin", other="n.bin", size=9)},
    ),
    Case(
        "a choice whose options have inputs",
        workflow(
            node(1, "Format", ["jpeg", 70, False, "n"], {"format.mask": (3, 0, "MASK")}),
            node(2, "Format", ["png", "16", "m"]),
            node(3, "Split"),
        ),
        {
            "1": api(
                "Format",
                **{"format": "jpeg", "format.quality": 70, "format.fast": False, "format.mask": ["3", 0], "name": "n"},
            ),
            "2": api("Format", **{"format": "png", "format.bits": "16", "name": "m"}),
            "3": api("Split"),
        },
    ),
    Case(
        "a list of LoRAs, and values of another extension's controls",
        workflow(
            node(1, "Power Lora Loader (rgthree)", [{}, {"type": "Header"}, _INK, _WASH, {}, ""]),
            node(2, "Roll", [5, "fixed", 20, {"points": [1]}]),
        ),
        {
            "1": api("Power Lora Loader (rgthree)", lora_1=_INK, lora_2=_WASH),
            "2": api("Roll", noise_seed=5, sides=20),
        },
        ["left out values that only an extension's controls in the editor read: 2 (Roll)"],
        differs="extensions add these controls",
    ),
    Case(
        "comments and escaped braces in prompts",
        workflow(node(1, "Prompt", ["a cat // not a dog\nin \\{braces\\} /* no\nmore */ end", "// stays"])),
        {"1": api("Prompt", text="a cat \nin {braces}  end", plain="// stays")},
    ),
    Case(
        "choices in a prompt",
        workflow(node(1, "Prompt", ["a {red|blue} cat", "{a|b}"])),
        {"1": api("Prompt", text="a {red|blue} cat", plain="{a|b}")},
        ["kept braces such as {a|b} in 1::text, of which the editor would choose a part at each run"],
        differs="the editor chooses at random",
    ),
    Case(
        "names of files with values and the date",
        workflow(
            node(1, "EmptyImage", [96, 32, 1, 2], title="my: image"),
            node(2, "SaveImage", ["%date:yyyy-MM-dd%/%my: image.width%x%EmptyImage.height% %width%"], IMAGE_OF_1),
            node(3, "Store", ["%date:yyyy%"], IMAGE_OF_1),
        ),
        {
            "1": api("EmptyImage", "my: image", width=96, height=32, batch_size=1, color=2),
            "2": api("SaveImage", "Save Image", filename_prefix="%year%-%month%-%day%/96x32 %width%", images=["1", 0]),
            "3": api("Store", filename_prefix="%date:yyyy%", images=["1", 0]),
        },
        differs="the editor writes the date itself",
    ),
    Case(
        "muted nodes, and links from them",
        workflow(
            empty(1),
            node(2, "ImageInvert", [], {"image": (1, 0, "IMAGE")}, mode=2),
            node(3, "Mix", [0.25], {"b": (2, 0, "IMAGE"), "a": (1, 0, "IMAGE")}),
            node(4, "Count", [8], mode=2, title="Height"),
            node(5, "EmptyImage", [64, 32, 1, 255], {"height": (4, 0, "INT")}, widgets=("height",)),
            node(6, "Reroute", [], {"": (1, 0, "*")}, outputs=IMAGE, mode=2),
            node(7, "Either", [], {"other": (6, 0, "IMAGE")}),
        ),
        {
            "1": EMPTY,
            "3": api("Mix", amount=0.25, a=["1", 0]),
            "5": api("EmptyImage", width=64, height=32, batch_size=1, color=255),
            "7": api("Either"),
        },
        ["left out 2 muted nodes: 2 (ImageInvert), 4 'Height' (Count)"],
    ),
    Case(
        "a bypassed node passes on the input in the place of the output, else the first of its type",
        workflow(
            empty(1),
            empty(2),
            node(3, "Mix", [0.25], {"b": (1, 0, "IMAGE"), "a": (2, 0, "IMAGE")}, mode=4),
            show(4, 3),
            node(5, "Split", [], {"image": (2, 0, "IMAGE")}, mode=4, outputs=[{"name": "M", "type": "MASK"}, *IMAGE]),
            show(6, 5, 1),
            node(7, "Count", [8], mode=4),
            node(8, "EmptyImage", [64, 32, 1, 255], {"height": (7, 0, "INT")}, widgets=("height",)),
            node(9, "Either", [], {"one": (5, 1, "IMAGE")}),
            node(10, "Pass", [], {"image": (1, 0, "IMAGE")}, mode=4),
            node(11, "Either", [], {"one": (10, 0, "IMAGE")}),
        ),
        {
            "1": EMPTY,
            "2": EMPTY,
            "4": shown("1"),
            "6": shown("2"),
            "8": api("EmptyImage", width=64, height=32, batch_size=1, color=255),
            "9": api("Either", one=["2", 0]),
            "11": api("Either"),
        },
        ["bypassed 4 nodes: 3 (Mix), 5 (Split), 7 (Count), 10 (Pass)"],
    ),
    Case(
        "reroutes, also bypassed ones, and one without an input",
        workflow(
            empty(1),
            node(2, "Reroute", [], {"": (1, 0, "*")}, outputs=IMAGE),
            node(3, "Reroute", [], {"": (2, 0, "*")}, outputs=IMAGE, mode=4),
            show(4, 3),
            node(5, "Reroute", [], outputs=IMAGE, inputs=[{"name": "", "type": "*", "link": None}]),
            node(6, "Mix", [0.5], {"b": (5, 0, "IMAGE"), "a": (3, 0, "IMAGE")}),
        ),
        {"1": EMPTY, "4": shown("1"), "6": api("Mix", amount=0.5, a=["1", 0])},
    ),
    Case(
        "a primitive gives its value, also if it is muted or bypassed",
        workflow(
            primitive(1, 96),
            primitive(2, 97, mode=2),
            primitive(3, 98, mode=4),
            *(
                node(4 + i, "EmptyImage", [64, 32, 1, i], {"width": (i, 0, "INT")}, widgets=("width",))
                for i in (1, 2, 3)
            ),
        ),
        {
            "5": api("EmptyImage", width=96, height=32, batch_size=1, color=1),
            "6": api("EmptyImage", width=97, height=32, batch_size=1, color=2),
            "7": api("EmptyImage", width=98, height=32, batch_size=1, color=3),
        },
    ),
    Case(
        "nodes that name a link, and nodes that get it by the name, also in a subgraph",
        workflow(
            empty(1),
            node(2, "SetNode", ["pic"], {"IMAGE": (1, 0, "IMAGE")}, outputs=IMAGE),
            node(3, "GetNode", ["pic"], outputs=IMAGE),
            show(4, 3),
            node(5, "easy setNode", ["pic 2"], {"IMAGE": (3, 0, "IMAGE")}, outputs=IMAGE),
            node(6, "easy getNode", ["pic 2"], outputs=IMAGE),
            show(7, 6),
            show(8, 2),
        ),
        {"1": EMPTY, "4": shown("1"), "7": shown("1"), "8": shown("1")},
        differs="extensions add these nodes",
    ),
    Case(
        "notes, and nodes that only control the editor",
        workflow(
            empty(1),
            show(2, 1),
            node(3, "Note", ["read this"]),
            node(4, "MarkdownNote", ["# and this"]),
            node(5, "Fast Groups Muter (rgthree)", [], outputs=[{"name": "OPT_CONNECTION", "type": "*"}]),
        ),
        {"1": EMPTY, "2": shown("1")},
        ["left out 2 notes"],
        differs="an extension adds the last one",
    ),
    Case(
        "links as objects",
        workflow(empty(1), show(2, 1)) | canvas(empty(1), show(2, 1), as_objects=True) | {"version": 1},
        {"1": EMPTY, "2": shown("1")},
    ),
    Case(
        "inputs that the class lacks, added by an extension",
        workflow(empty(1), node(2, "Show", [], {"images": (1, 0, "IMAGE"), "image_2": (1, 0, "IMAGE")})),
        {"1": EMPTY, "2": api("Show", "Show the Image", images=["1", 0], image_2=["1", 0])},
    ),
]
