"""The label that GB 45438-2025 (Annex E) wants in the metadata of AI-made content, as it is found.

The standard knows one spelling; programs write many. It reads the object with and without its outer
`AIGC`, as JSON inside JSON, with entities, and the fields of broken JSON. It knows no file format,
and judges nothing: a label proves what a program wrote, and touching up a photo writes one too.
"""

from __future__ import annotations

import html
import json
import re
from typing import TYPE_CHECKING

from ledger_client.evidence.attributes import (
    AigcLabel,
    Declaration,
    Place,
    ProducerClass,
    ProviderRecord,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

FIELDS = (
    "Label",
    "ContentProducer",
    "ProduceID",
    "ReservedCode1",
    "ContentPropagator",
    "PropagateID",
    "ReservedCode2",
)
_DECLARATIONS = {
    "1": Declaration.GENERATED,
    "2": Declaration.POSSIBLE,
    "3": Declaration.SUSPECTED,
}
_DENIALS = {"", "0", "false", "no", "none", "null"}
RAW_MAX = 16
_TEXT_MAX, _KEPT_MAX, _DEPTH_MAX = 65_536, 256, 4
_FIELD = re.compile(r'"(Label|ContentProducer|ProduceID)"\s*:\s*"?([^",{}\[\]]{0,512})')
# 00, a subject's type (1 organisation, 2 person) and how it is bound, 18 characters that name it, a
# service's type and 4 characters of its own; TC260-PG-20252A.
_PROVIDER_CODE = re.compile(r"00([12])\d[0-9A-Z]{18}\d[0-9A-Z]{4}")
_CLASSES = {"1": ProducerClass.ORGANISATION, "2": ProducerClass.PERSON}

Found = tuple[AigcLabel, ProviderRecord]


def is_candidate(text: str) -> bool:
    """Tell whether a text may hold a label, so that a refusal to read it must be told."""
    return "AIGC" in text or "ContentProducer" in text


def parse_label(text: str, place: Place) -> Found | None:
    """Read the label in a text, or give None where there is none."""
    fields = parse_fields(text)
    return judge_fields(fields, place) if fields is not None else None


def judge_fields(fields: Mapping[str, object], place: Place) -> Found:
    """Tell what the fields of a label say, the provider's own apart."""
    label, producer = _spell(fields.get("Label")), _spell(fields.get("ContentProducer"))
    complete = all(isinstance(fields.get(name), str) for name in FIELDS)
    judged = AigcLabel(
        place=place,
        declaration=_DECLARATIONS.get(label, Declaration.OTHER),
        raw=label[:RAW_MAX],
        producer_class=_classify(producer),
        is_well_formed=complete and label in _DECLARATIONS and set(fields) == set(FIELDS),
    )
    kept = ProviderRecord(producer[:_KEPT_MAX], _spell(fields.get("ProduceID"))[:_KEPT_MAX])
    return judged, kept


def declares_ai(label: AigcLabel) -> bool:
    """Tell whether a label says that AI made, may have made or seems to have made the content."""
    return label.raw.casefold() not in _DENIALS


def parse_fields(text: str) -> Mapping[str, object] | None:
    """Find the object of a label in a text. Broken JSON gives the fields that can be told."""
    if len(text) > _TEXT_MAX:
        return None
    shown = html.unescape(text) if "&" in text else text
    start = shown.find("{")
    if start < 0:
        return None
    try:
        found, _ = json.JSONDecoder(strict=False).raw_decode(shown, start)
    except (ValueError, RecursionError):
        found = dict(_FIELD.findall(shown))
    return _unwrap(found, _DEPTH_MAX)


def _unwrap(found: object, depth: int) -> Mapping[str, object] | None:
    """Take a label out of the objects and strings that it is wrapped in."""
    if isinstance(found, str) and depth:
        return parse_fields(found) if found.lstrip().startswith("{") else None
    if not isinstance(found, dict):
        return None
    if "Label" in found or "ContentProducer" in found:
        return found
    return _unwrap(found.get("AIGC"), depth - 1) if depth else None


def _classify(producer: str) -> ProducerClass:
    code = _PROVIDER_CODE.fullmatch(producer)
    if code:
        return _CLASSES[code[1]]
    return ProducerClass.UNCODED if producer else ProducerClass.NONE


def _spell(value: object) -> str:
    """Give a field as a printable text, whatever was written there."""
    text = value if isinstance(value, str) else "" if value is None else json.dumps(value)
    return "".join(one for one in text[:_TEXT_MAX] if one.isprintable()).strip()
