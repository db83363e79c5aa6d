"""What a program calls itself is told by its class, and no honest program by a part of its name."""

from __future__ import annotations

import pytest

from ledger_client.evidence.vocabulary import classify_software, is_generator_text, is_program_key


@pytest.mark.parametrize(
    ("name", "its_class"),
    [
        ("OpenAI Sora 2", "ai_generator"),
        ("KLING-v2", "ai_generator"),
        ("即梦AI", "ai_generator"),
        ("Photoshop2026", "editor"),
        ("Editor de Imagen 3.2", "other"),
        ("Individual Photo Lab 2.0", "other"),
        ("Twinkling Camera", "other"),
        ("Bernie's RAW Converter", "other"),
        ("Sorane Viewer", "other"),
    ],
)
def test_program_is_told_by_whole_words(name: str, its_class: str) -> None:
    assert classify_software([name], has_make=False, has_generator_text=False) == its_class


def test_person_who_made_a_picture_is_no_program() -> None:
    assert not is_program_key("Creator")
    assert is_program_key("Software")


@pytest.mark.parametrize(
    ("keyword", "text", "is_generated"),
    [
        ("parameters", "a crab\nSteps: 20, Sampler: Euler a", True),
        ("prompt", '{"3": {"class_type": "KSampler"}}', True),
        ("parameters", "scale=2", False),
        ("Comment", "Steps: 20", False),
    ],
)
def test_settings_of_a_generator_are_told_by_what_they_say(
    keyword: str, text: str, is_generated: bool
) -> None:
    assert is_generator_text(keyword, text) is is_generated
