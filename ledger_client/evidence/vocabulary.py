"""The closed lists by which free texts of a file are told, so that no text itself is reported.

The IPTC list is that of the NewsCodes `digitalsourcetype`; the programs are those that forged
claims and honest photos come from most, by judgement. A program that isn't listed is `other`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ledger_client.evidence.attributes import SoftwareClass

if TYPE_CHECKING:
    from collections.abc import Iterable

_SOURCE_TYPES = {
    "digitalCapture", "computationalCapture", "negativeFilm", "positiveFilm", "print",
    "minorHumanEdits", "humanEdits", "compositeCapture", "algorithmicallyEnhanced",
    "dataDrivenMedia", "digitalArt", "digitalCreation", "virtualRecording", "compositeSynthetic",
    "composite", "softwareImage", "algorithmicMedia", "screenCapture", "trainedAlgorithmicMedia",
    "compositeWithTrainedAlgorithmicMedia", "trainedAlgorithmicData", "empty",
}  # fmt: skip
OTHER = "other"  # what IPTC doesn't list
_AI_SOURCE_TYPES = {"trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia"}
_BY_FOLDED = {one.casefold(): one for one in _SOURCE_TYPES}
# In the order of what it means for evidence: the first class that any of the texts has counts.
_PROGRAMS = (
    (SoftwareClass.AI_GENERATOR, (
        "stable diffusion", "comfyui", "automatic1111", "invokeai", "novelai", "fooocus",
        "midjourney", "dall-e", "dall·e", "openai", "chatgpt", "gpt-4o", "gpt-image", "sora",
        "firefly", "google imagen", "google gemini", "google ai", "made with google",
        "bing image creator",
        "leonardo.ai", "ideogram", "black forest labs", "recraft", "grok", "runwayml",
        "kling", "jimeng", "dreamina", "doubao", "seedream", "wanx", "tongyi", "qwen", "hunyuan",
        "yuanbao", "ernie", "wenxin", "yiyan", "hailuo", "minimax", "pixverse", "vidu", "liblib",
        "即梦", "豆包", "可灵", "通义", "文心", "混元", "元宝",
    )),
    (SoftwareClass.EDITOR, (
        "photoshop", "lightroom", "gimp", "affinity", "pixelmator", "snapseed", "picsart", "canva",
        "meitu", "美图", "xingtu", "醒图", "facetune", "vsco", "paint.net", "krita", "figma",
        "capcut", "jianying", "剪映", "premiere", "final cut", "davinci", "inshot", "photoroom",
        "luminar", "darktable", "capture one", "photopea", "acdsee", "picasa", "google photos",
    )),
    (SoftwareClass.ENCODER, (
        "imagemagick", "graphicsmagick", "lavf", "lavc", "ffmpeg", "libvips", "pillow", "handbrake",
        "gstreamer", "mp4box", "gpac", "x264", "opencv", "matplotlib",
    )),
)  # fmt: skip
# Texts of a PNG by which generators tell what they did, and what such a text has in it: settings of
# a sampler, or a graph of nodes. Other programs write words like "parameters" too.
_GENERATOR_KEYS = {"parameters", "prompt", "workflow", "invokeai_metadata", "sd-metadata", "dream"}
_GENERATED = re.compile(
    r"\bsteps\b|\bsampler\b|\bcfg[ _]?scale\b|\bseed\b|class_type|\"nodes\"", re.IGNORECASE
)
_PROGRAM_KEYS = {
    "software", "creatortool", "encoder", "tool",
    "©too", "©swr", "com.apple.quicktime.software",
}  # fmt: skip


def name_source_type(text: str) -> str | None:
    """Give an IPTC digital source type by its code, `other` where IPTC has none such, or None."""
    code = text.strip().rstrip("/").rpartition("/")[2].rpartition(":")[2]
    return _BY_FOLDED.get(code.casefold(), OTHER) if code else None


def is_source_type(name: str | None) -> bool:
    """Tell whether a text is a code that `name_source_type` gives."""
    return name == OTHER or name in _SOURCE_TYPES


def is_ai_source_type(name: str | None) -> bool:
    """Tell whether a source type says that a trained model made the media or a part of it."""
    return name in _AI_SOURCE_TYPES


def is_program_key(keyword: str) -> bool:
    """Tell whether a text under this keyword names the program that wrote the file."""
    return keyword.casefold() in _PROGRAM_KEYS


def is_generator_text(keyword: str, text: str) -> bool:
    """Tell whether a text is what an image generator writes of its settings."""
    return keyword.casefold() in _GENERATOR_KEYS and _GENERATED.search(text) is not None


def classify_software(
    programs: Iterable[str], *, has_make: bool, has_generator_text: bool
) -> SoftwareClass:
    """Tell the class of what wrote a file, by what it says of programs and of a camera."""
    texts = [one.casefold() for one in programs if one.strip()]
    if has_generator_text:
        return SoftwareClass.AI_GENERATOR
    for its_class, names in _PROGRAMS:
        if any(_names(text, name) for text in texts for name in names):
            return its_class
    if has_make:
        return SoftwareClass.CAMERA
    return SoftwareClass.OTHER if texts else SoftwareClass.NONE


def _names(text: str, name: str) -> bool:
    """Tell whether a text has a name in it as words of its own; Chinese has no such bounds."""
    if not name.isascii():
        return name in text
    return re.search(rf"(?<![a-z]){re.escape(name)}(?![a-z])", text) is not None
