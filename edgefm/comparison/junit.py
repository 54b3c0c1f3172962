"""A gate's result as JUnit XML, which CI systems show beside the tests."""

from __future__ import annotations

import re
from pathlib import Path

from junitparser import Error, Failure, JUnitXml, TestCase, TestSuite

from edgefm.comparison.gate_result import BROKEN, UNCHECKED, UNDECIDED, GateResult, LimitCheck, bound, sentence
from edgefm.core import artefacts

# A terminal's colours, and all else that XML 1.0 forbids (https://www.w3.org/TR/xml/#charsets). The first goes, of the
# others it is told that they were there.
_COLOURS = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write(path: Path, result: GateResult) -> Path:
    """Write a test case for each limit: broken is a failure, not checked an error, undecided passes and says so."""
    suite = TestSuite("edgefm gate")
    suite.add_property("record", _allowed(result.record))
    if result.baseline is not None:
        suite.add_property("baseline", _allowed(result.baseline))
    for place, note in enumerate(result.notes):
        suite.add_property(f"note {place + 1}", _allowed(note))
    for check in result.checks:
        suite.add_testcase(_case(check))
    whole = JUnitXml("edgefm")
    whole.add_testsuite(suite)
    for counted in (suite, whole):
        counted.update_statistics()  # type: ignore[no-untyped-call]  # junitparser types a part of itself
    content: bytes = whole.tostring()  # type: ignore[no-untyped-call]
    return artefacts.write_bytes(path, content)


def _case(check: LimitCheck) -> TestCase:
    case = TestCase(_allowed(f"{check.key}, {bound(check)}"))
    case.classname = _allowed(f"edgefm.gate.{check.model}")
    message = _allowed(sentence(check))
    if check.state == BROKEN:
        case.result = [Failure(message, "broken")]
    elif check.state == UNCHECKED:
        case.result = [Error(message, "not checked")]
    elif check.state == UNDECIDED:
        case.system_out = f"undecided: {message}"
    else:
        case.system_out = message
    return case


def _allowed(text: str) -> str:
    """Return a text without the characters that XML cannot hold, e.g. of a library's coloured message."""
    return _FORBIDDEN.sub("\ufffd", _COLOURS.sub("", text))
