"""A folder that lists its modules lists each of them."""

import ast
import re
from pathlib import Path

import pytest

import qmon

PACKAGE = Path(qmon.__file__).parent


@pytest.mark.parametrize("room", ["monitor", "network"])
def test_every_module_is_listed_once(room: str) -> None:
    text = ast.get_docstring(ast.parse((PACKAGE / room / "__init__.py").read_text())) or ""
    listed = re.findall(r"^(\w+) {2,}\S", text, re.MULTILINE)
    there = {path.stem for path in (PACKAGE / room).glob("*.py")} - {"__init__"}
    assert sorted(listed) == sorted(there)
