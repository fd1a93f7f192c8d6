import subprocess
import sys

import pytest

import hexarec.data


def test_the_import_is_light():
    heavy = ("polars", "matplotlib", "jinja2", "rich", "torch")
    code = f"import sys, hexarec.data; print([m for m in {heavy} if m in sys.modules])"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )


def test_every_name_is_there_and_others_are_not():
    for name in hexarec.data.__all__:
        assert getattr(hexarec.data, name).__name__ == name
    with pytest.raises(AttributeError):
        hexarec.data.nothing  # noqa: B018
